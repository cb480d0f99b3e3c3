"""A git pin of a spec -> one commit, with proof that it is what the spec means.

Tags move, branches get rewritten, short ids become ambiguous, and servers hand out commits of
forks as if they were their own. Each of these is found here, and said with what was found.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from envbuilder.model.errors import ResolutionError
from envbuilder.model.lock import LockedCommit
from envbuilder.model.package_spec import GitPin

from .mirror import Mirror
from .repository import GitRepository

_FULL = (40, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """What a pin came to: ``requested`` is the pin's own word; ``time`` is seconds since 1970."""

    requested: str
    commit: str
    tree: str
    time: int


def resolve_git(
    name: str, pin: GitPin, *, mirror: Mirror, locked: LockedCommit | None = None
) -> Revision:
    """Find the one commit that ``pin`` names.

    ``locked`` is what the pin came to before: a branch that only grew keeps that commit, and a tag
    that moved since, or a branch that lost it, is an error. Raises ResolutionError that says what
    was found, and what Mirror raises.
    """
    before = locked if locked and _same_pin(pin, locked, mirror) else None
    commit = _commit(name, pin, mirror=mirror, before=before)
    if pin.tag is None and pin.branch is None and (before is None or before.commit != commit):
        _check_reachable(name, commit, mirror)
    if pin.branch is not None:
        _check_branch(name, pin.branch, commit, mirror, before)
    return _revision(name, pin, commit, mirror)


def requested(pin: GitPin) -> str:
    """Return the firmest word that a pin uses: its tag, else its commit, else its branch."""
    return pin.tag or pin.commit or pin.branch or ""


def _same_pin(pin: GitPin, locked: LockedCommit, mirror: Mirror) -> bool:
    return locked.repository == mirror.address.text and locked.requested == requested(pin)


def _commit(name: str, pin: GitPin, *, mirror: Mirror, before: LockedCommit | None) -> str:
    if pin.tag is not None:
        return _tagged(name, pin, pin.tag, mirror, before)
    if pin.commit is not None and len(pin.commit) in _FULL:
        return pin.commit
    if pin.commit is not None:
        if before is not None and before.commit.startswith(pin.commit):
            return before.commit  # the same digits may fit more commits by now, or none
        return _unshortened(name, pin.commit, pin.branch, mirror)
    tip = _named(name, "branch", pin.branch or "", mirror.refs.heads, mirror)
    return tip if before is None else before.commit


def _tagged(name: str, pin: GitPin, tag: str, mirror: Mirror, before: LockedCommit | None) -> str:
    if before is not None and tag not in mirror.refs.tags:
        raise _tag_is_gone(name, tag, before.commit, mirror)
    commit = _named(name, "tag", tag, mirror.refs.tags, mirror)
    if before is not None and before.commit != commit:
        raise ResolutionError(
            f"{name}: tag {tag} of {mirror.address} moved: {before.commit} was locked, it names "
            f"{commit} now",
            hint=f"envbuilder lock NAME --upgrade-package {name} takes the new one",
        )
    if pin.commit is not None and not commit.startswith(pin.commit):
        raise ResolutionError(
            f"{name}: tag {tag} of {mirror.address} names commit {commit}, the spec says "
            f"{pin.commit}",
            hint="correct the tag or the commit in the spec, or leave one of them out",
        )
    return commit


def _tag_is_gone(name: str, tag: str, commit: str, mirror: Mirror) -> ResolutionError:
    holders = _holders(mirror.history, commit)
    found = f"{', '.join(holders)} still holds it" if holders else "nothing else holds it"
    hint = f"pin `commit: {commit}`" if holders else "ask who removed it, or pin a fork that has it"
    return ResolutionError(
        f"{name}: tag {tag} of {mirror.address} is gone: it named {commit} when it was locked, "
        f"and {found}",
        hint=hint,
    )


def _named(name: str, kind: str, wanted: str, known: Mapping[str, str], mirror: Mirror) -> str:
    if wanted in known:
        return known[wanted]
    near = difflib.get_close_matches(wanted, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"`git ls-remote {mirror.address}`"
    raise ResolutionError(f"{name}: {mirror.address} has no {kind} {wanted}", hint=hint)


def _unshortened(name: str, short: str, branch: str | None, mirror: Mirror) -> str:
    """Find the one commit that begins with ``short``, on ``branch`` or else on any ref."""
    history = mirror.history
    objects = (history.ask("rev-parse", f"--disambiguate={short}") or "").split()
    commits = [each for each in objects if history.ask("cat-file", "-t", each) == "commit"]
    reachable = [each for each in commits if _holders(history, each)]
    if branch is not None:
        tip = _named(name, "branch", branch, mirror.refs.heads, mirror)
        on_branch = [each for each in reachable if _contains(history, tip, each)]
        reachable = on_branch or reachable[:1]  # one that lies elsewhere is told so later
    if len(reachable) == 1:
        return reachable[0]
    where = f"branch {branch} of {mirror.address}" if branch else str(mirror.address)
    if not reachable:
        raise ResolutionError(
            f"{name}: no commit on {where} begins with {short}",
            hint="give the full id of a commit that a branch or a tag holds",
        )
    shown = "\n".join(f"  {_described(history, each)}" for each in sorted(reachable))
    raise ResolutionError(
        f"{name}: {short} is ambiguous on {where}, {len(reachable)} commits begin so:\n{shown}",
        hint="give more digits",
    )


def _check_reachable(name: str, commit: str, mirror: Mirror) -> None:
    """Refuse a commit that no branch or tag holds: servers give out those of any fork, too."""
    if commit in mirror.refs.tips.values() or commit in mirror.refs.tags.values():
        return
    if not _holders(mirror.history, commit):
        raise ResolutionError(
            f"{name}: no branch or tag of {mirror.address} holds commit {commit}",
            hint="was it force-pushed away, or is it a fork's? give that fork's address",
        )


def _check_branch(
    name: str, branch: str, commit: str, mirror: Mirror, before: LockedCommit | None
) -> None:
    tip = _named(name, "branch", branch, mirror.refs.heads, mirror)
    if commit == tip or _contains(mirror.history, tip, commit):
        return
    if before is not None and before.commit == commit:
        raise ResolutionError(
            f"{name}: branch {branch} was rewritten: {commit} was locked and is no longer on it; "
            f"its tip is now {tip}",
            hint=f"envbuilder lock NAME --upgrade-package {name} takes the new tip, if the spec "
            "names no commit",
        )
    holders = _holders(mirror.history, commit)
    found = f"it is on {', '.join(holders)}" if holders else "no branch or tag holds it"
    raise ResolutionError(
        f"{name}: branch {branch} of {mirror.address} (now {tip}) does not contain commit "
        f"{commit}; {found}",
        hint="name the branch that holds it, or a commit of this branch",
    )


def _contains(history: GitRepository, tip: str, commit: str) -> bool:
    return history.ask("merge-base", "--is-ancestor", commit, tip) is not None


def _holders(history: GitRepository, commit: str) -> list[str]:
    """Name up to five branches and tags that hold ``commit``; none if it is unknown."""
    asked = ("for-each-ref", "--count=5", "--format=%(refname:short)", f"--contains={commit}")
    return (history.ask(*asked) or "").split()


def _described(history: GitRepository, commit: str) -> str:
    return history.ask("log", "-1", "--format=%H  %cs  %s", commit) or commit


def _revision(name: str, pin: GitPin, commit: str, mirror: Mirror) -> Revision:
    content = mirror.content(commit)
    kind = content.ask("cat-file", "-t", commit)
    if kind != "commit":
        raise ResolutionError(
            f"{name}: {requested(pin)} of {mirror.address} names a {kind}, not a commit"
        )
    tree, time = content.run("log", "-1", "--format=%T %ct", commit).decode().split()
    return Revision(requested=requested(pin), commit=commit, tree=tree, time=int(time))
