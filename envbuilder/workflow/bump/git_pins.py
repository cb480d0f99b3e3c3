"""Write a pin of a git package into the spec: which of tag, branch and commit says what.

``NAME@REF`` takes a tag or branch of that name, else a commit; plain ``NAME`` takes its branch's
newest commit. A key changes its name where it must (``tag:`` becomes ``commit:``).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

from envbuilder.model.errors import ResolutionError, UsageError
from envbuilder.model.package_spec import GitPackage
from envbuilder.model.yaml_document import Document, KeyPath
from envbuilder.model.yaml_edit import insert_key, rename_key, set_scalar
from envbuilder.resolve.git.mirror import Refs

from .pins import Pin

_COMMIT = re.compile(r"[0-9a-f]{7,64}")


AskRefs = Callable[[GitPackage], Refs]
"""Asks the server of a package's repository for its branches and tags; raises NetworkError."""


def set_git(
    document: Document, path: KeyPath, current: GitPackage, pin: Pin, ask: AskRefs
) -> Document:
    """Write ``pin`` into the git package at ``path``, which reads ``current`` now.

    Raises UsageError if the pin does not fit, ResolutionError if the server has no such ref.
    """
    ref = pin.ref or current.branch
    if ref is None:
        raise UsageError(
            f"{pin.name} follows no branch, so say which commit or tag: {pin.name}@REF",
            hint="envbuilder outdated NAME lists newer ones",
        )
    if pin.ref is None and current.commit is None:
        return document  # the branch stays; the lock lets go of its commit
    offered = ask(current)
    if ref in offered.tags:
        document = _set_ref(document, path, current, "tag", ref)
        return _follow(document, path, current, offered.tags[ref])
    if ref in offered.heads:
        document = _set_ref(document, path, current, "branch", ref)
        return _follow(document, path, current, offered.heads[ref])
    if _COMMIT.fullmatch(ref):
        return _set_commit(document, path, current, ref)
    near = difflib.get_close_matches(ref, [*offered.tags, *offered.heads], n=3)
    raise ResolutionError(
        f"{pin.name}: {current.git} has no tag or branch {ref}",
        hint=f"did you mean {' or '.join(near)}?" if near else "or give a commit of 7 to 40 digits",
    )


def _set_ref(
    document: Document, path: KeyPath, current: GitPackage, kind: str, ref: str
) -> Document:
    """Make ``kind`` (tag or branch) say ``ref``."""
    other = "branch" if kind == "tag" else "tag"
    if getattr(current, kind) is None and getattr(current, other) is None:
        return insert_key(document, (*path, "commit"), kind, ref)
    if getattr(current, kind) is None:
        document = rename_key(document, (*path, other), kind)
    return set_scalar(document, (*path, kind), ref)


def _follow(document: Document, path: KeyPath, current: GitPackage, commit: str) -> Document:
    """Let the commit beside a tag or branch say what that names now."""
    if current.commit is None:
        return document
    return set_scalar(document, (*path, "commit"), commit)


def _set_commit(document: Document, path: KeyPath, current: GitPackage, commit: str) -> Document:
    """Pin ``commit``: on the branch if there is one, and instead of a tag."""
    if current.commit is not None and current.tag is not None:
        raise UsageError(
            f"{path[-1]} is pinned by tag and commit, which must agree", hint="bump it to @TAG"
        )
    if current.commit is not None:
        return set_scalar(document, (*path, "commit"), commit)
    if current.tag is not None:
        renamed = rename_key(document, (*path, "tag"), "commit")
        return set_scalar(renamed, (*path, "commit"), commit)
    return insert_key(document, (*path, "branch"), "commit", commit)
