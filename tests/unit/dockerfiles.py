"""Reading a rendered Dockerfile back with Docker's own parser, and its words with a real sh."""

import subprocess

import dockerfile

NASTY = (
    "'", '"', "$", "`", "\\", "#", " ", "\t", "=", ";", "&", "|", ">", "<<EOF", "EOF", "STEP",
    "{{ name }}", "{% raw %}", "${PATH}", "$(id)", "RUN ", "é", "中", "\u00a0", "\u2028", "x", "-",
)  # fmt: skip
"""Pieces that mean something to Docker, to sh or to Jinja, or look like it."""


def instructions(text: str) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """List the instructions as (name, flags, words)."""
    return [
        (command.cmd.upper(), command.flags, command.value)
        for command in dockerfile.parse_string(text)
    ]


def heredocs(text: str) -> list[str]:
    """List the bodies of all here-documents, in order."""
    return [
        document.content
        for command in dockerfile.parse_string(text)
        for document in command.heredocs
    ]


def sh_words(words: list[str]) -> list[str]:
    """Let sh take quotes off ``words``; one that became two, or a command, would show."""
    script = "printf '%s\\0' " + " ".join(words)
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]
