"""COPY and USER: files of the build context, and the user that an image runs as."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from envbuilder.workflow.adopt.own_files import ignored, own_files
from envbuilder.workflow.adopt.statements import At, Setting, Statement, left, taken

from .stage import Account, Stage
from .syntax import Instruction

_READ_LATER = re.compile(
    r"(.*/)?(.*requirements.*|pyproject\.toml|uv\.lock|setup\.(py|cfg)|pylock.*)"
)
_FOLDERS = {  # what every base has: a file that is copied to one goes into it
    "/bin", "/etc", "/home", "/lib", "/opt", "/root", "/sbin", "/srv", "/usr", "/usr/bin",
    "/usr/lib", "/usr/local", "/usr/local/bin", "/usr/local/lib", "/usr/share", "/var", "/var/lib",
}  # fmt: skip
_FIRST = 1000  # what useradd gives the first user
_WITH_VALUE = {
    "-u", "--uid", "-g", "--gid", "-d", "--home-dir", "--home", "-s", "--shell", "-G", "--groups",
    "-c", "--comment", "--gecos", "-b", "-k", "--ingroup",
}  # fmt: skip


def copied_files(
    stage: Stage, at: At, sources: Sequence[str], to: str, each: Instruction
) -> Statement:
    """Read what COPY lays into the image from the build context."""
    if all(_READ_LATER.fullmatch(source) for source in sources):
        return taken(at, note="read by what installs from it")
    found = [(source, stage.find(source)) for source in sources]
    if missing := [source for source, paths in found if not paths]:
        return left(at, f"{missing[0]} is not in the build context")
    paths = [path for _, each_found in found for path in each_found]
    place = posixpath.normpath(to)
    folder = place in {*_FOLDERS, stage.folder} or len(paths) > 1 or to.endswith(("/", "/."))
    place += "/" if folder and place != "/" else ""
    return taken(at, *(_entry(stage, path, place, each) for path in paths))


def _entry(stage: Stage, path: Path, to: str, each: Instruction) -> Setting:
    if path.is_dir():
        to = to.rstrip("/") or "/"
    elif to == "/":
        to = f"/{path.name}"
    context = next(folder for folder in stage.contexts if path.is_relative_to(folder))
    mode = each.flag("chmod") if re.fullmatch(r"0?[0-7]{3}", each.flag("chmod")) else ""
    patterns = ignored(context) if path == context else ()
    return own_files(path, to, owner=_owner(stage, each.flag("chown")), mode=mode, exclude=patterns)


def _owner(stage: Stage, text: str) -> str:
    """Return the owner of --chown as numbers, which mean the same whoever the spec makes."""
    user, _, group = text.partition(":")
    account = stage.accounts.get(user)
    if account is not None:
        return str(account.uid) if account.gid is None else f"{account.uid}:{account.gid}"
    return text.rstrip(":") if user.isdigit() and (not group or group.isdigit()) else ""


def account(stage: Stage, at: At, words: list[str]) -> Iterator[Statement]:
    """Read the making of a user, told of when the stage ends, or of a group."""
    options, name = _arguments(words[1:])
    number = options.get("-u") or options.get("--uid") or ""
    group = options.get("-g") or options.get("--gid") or ""
    if words[0].rpartition("/")[2] in {"groupadd", "addgroup"}:
        stage.groups[name] = group
        yield taken(at)
        return
    group = stage.groups.get(group, group)
    stage.accounts[name] = Account(
        at=at,
        uid=int(number) if number.isdigit() else _FIRST,
        gid=int(group) if group.isdigit() else None,
        home=options.get("-d") or options.get("--home-dir") or options.get("--home") or "",
    )


def _arguments(words: list[str]) -> tuple[dict[str, str], str]:
    options, name, at = {}, "", 0
    while at < len(words):
        key, equals, value = words[at].partition("=")
        if key in _WITH_VALUE and not equals and at + 1 < len(words):
            options[key] = words[at + 1]
            at += 1
        elif key in _WITH_VALUE:
            options[key] = value
        elif not key.startswith("-"):
            name = words[at]
        at += 1
    return options, name


def user_setting(stage: Stage, at: At, text: str) -> Statement:
    """Read whom the image runs as: a user that a command made is made by the spec."""
    name = text.partition(":")[0]
    numbered = (key for key, each in stage.accounts.items() if str(each.uid) == name)
    name = next(numbered, name)
    stage.user = name
    made = stage.accounts.get(name)
    if made is None:
        return taken(at, Setting(path=("user",), value=text))
    value: dict[str, object] = {"name": name, "uid": made.uid}
    value |= {"gid": made.gid} if made.gid not in {None, made.uid} else {}
    value |= {"home": made.home} if made.home not in {"", f"/home/{name}"} else {}
    return taken(at, Setting(path=("user",), value=value))
