"""``git clone`` and what follows it: a repository becomes a package when it is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from envbuilder.workflow.adopt.statements import At, Statement, left, taken

from .stage import Clone, Stage

_WITH_VALUE = {
    "-b",
    "--branch",
    "--depth",
    "-c",
    "--config",
    "--jobs",
    "-j",
    "-C",
    "--filter",
    "-o",
}


def read_git(
    stage: Stage, at: At, words: list[str], _own: Mapping[str, str]
) -> Iterator[Statement]:
    """Read a command of git; a clone is told of when the stage ends, for only then it is clear."""
    verb, plain, options = _arguments(words[1:])
    if verb == "clone" and plain:
        folder = plain[1] if len(plain) > 1 else _name(plain[0])
        ref = options.get("-b") or options.get("--branch") or ""
        stage.clones[stage.inside(folder)] = Clone(
            at=at, url=plain[0], ref=ref, submodules=_recursive(words)
        )
        return
    found = stage.clone_at(options.get("-C", "."))
    if verb in {"checkout", "reset", "switch"} and found is not None and plain:
        found[0].ref = _whole_name(plain[-1])
        yield taken(at)
    elif verb == "submodule" and found is not None:
        found[0].submodules = True
        yield taken(at)
    elif verb in {"fetch", "config", "lfs", "pull"}:
        yield taken(at, note="envbuilder fetches what it builds from")
    else:
        yield left(at, f"git {verb} has no key in a spec")


def _whole_name(ref: str) -> str:
    """Spell out what a ref says of its kind: a server's ``origin/main`` is a branch."""
    kind, slash, name = ref.partition("/")
    kinds = {"origin": "heads", "heads": "heads", "tags": "tags"}
    return f"refs/{kinds[kind]}/{name}" if slash and kind in kinds else ref


def _recursive(words: list[str]) -> bool:
    return any(each.startswith(("--recursive", "--recurse-submodules")) for each in words)


def _name(url: str) -> str:
    return url.rstrip("/").removesuffix(".git").rpartition("/")[2]


def _arguments(words: list[str]) -> tuple[str, list[str], dict[str, str]]:
    plain, options, at = [], {}, 0
    while at < len(words):
        word = words[at]
        name, equals, value = word.partition("=")
        if word in _WITH_VALUE and at + 1 < len(words):
            options[word] = words[at + 1]
            at += 1
        elif name in _WITH_VALUE and equals:
            options[name] = value
        elif not word.startswith("-"):
            plain.append(word)
        at += 1
    return (plain[0] if plain else ""), plain[1:], options
