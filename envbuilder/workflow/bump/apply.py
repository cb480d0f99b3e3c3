"""Write pins into a spec's document, and tell which locked versions to let go for them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from packaging.specifiers import SpecifierSet

from envbuilder.model.errors import UsageError
from envbuilder.model.lock import Lock
from envbuilder.model.package_spec import Package
from envbuilder.model.spec import Spec
from envbuilder.model.yaml_document import Document, KeyPath
from envbuilder.model.yaml_edit import rename_key, set_scalar

from .git_pins import AskRefs, set_git
from .pins import BASE, HINT, SETTINGS, SYSTEM, Pin

_SUITE = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactPin:
    """A version that stands in a spec exactly: where, and the whole text, marker included."""

    path: KeyPath
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BumpRequest:
    """A document with the wishes written in.

    ``release`` are the names to let go when locking; ``repin`` gives by name the exact pins,
    each to become ``==`` what the resolution finds without it.
    """

    document: Document
    release: frozenset[str] = frozenset()
    repin: Mapping[str, ExactPin] = field(default_factory=dict)


def apply_pins(
    document: Document, spec: Spec, pins: Sequence[Pin], *, lock: Lock | None, refs: AskRefs
) -> BumpRequest:
    """Write ``pins`` into ``document``, whose spec is ``spec``.

    A pin with a version counts more than the bare name beside it, as ``--all`` adds them. ``lock``,
    if there is one, tells which packages come along with those that the spec names.
    Raises UsageError for a name that neither the spec nor the lock knows, or that a pin of this
    kind does not fit; ResolutionError for a git ref that the server does not have.
    """
    request = BumpRequest(document=document)
    pinned = {pin.name for pin in pins if pin.specifier is not None}
    for pin in pins:
        if pin == Pin(name=pin.name) and pin.name in pinned:
            continue
        if pin.name == SYSTEM:
            _only_name(pin)
            request = _release(request, SYSTEM)
        elif pin.name == BASE:
            request = _base(request, spec, pin)
        elif pin.name in SETTINGS and pin.value is not None:
            edited = set_scalar(request.document, SETTINGS[pin.name], pin.value)
            request = replace(request, document=edited)
        elif pin.name in spec.sources:
            request = _git(request, spec, pin, refs)
        else:
            request = _package(request, spec, pin, lock)
    return request


def _only_name(pin: Pin) -> None:
    if pin.specifier is not None or pin.ref is not None:
        raise UsageError(f"{pin.name} stands alone, without a version", hint=HINT)


def _release(request: BumpRequest, name: str) -> BumpRequest:
    return replace(request, release=request.release | {name})


def _base(request: BumpRequest, spec: Spec, pin: Pin) -> BumpRequest:
    """Refresh the base, or set it: a suite stays a suite, anything else is an image."""
    if pin.value is None:
        _only_name(pin)
        return _release(request, SYSTEM)
    suites = {"debian": spec.base.debian, "ubuntu": spec.base.ubuntu}
    had = next((name for name, suite in suites.items() if suite is not None), "image")
    wants = had if _SUITE.fullmatch(pin.value) else "image"
    document = request.document
    if wants != had:
        document = rename_key(document, ("base", had), wants)
    return replace(request, document=set_scalar(document, ("base", wants), pin.value))


def _package(request: BumpRequest, spec: Spec, pin: Pin, lock: Lock | None) -> BumpRequest:
    key = spec.key_of(pin.name)
    if pin.ref is not None:
        known = "an index" if key is not None else "neither git nor the spec"
        raise UsageError(f"{pin.name} comes from {known}, so @ does not fit", hint=HINT)
    if key is None:
        return _dependency(request, spec, pin, lock)
    current = spec.packages[key]
    path: KeyPath = ("packages", key)
    if isinstance(current, Package):
        if current.place is not None:
            hint = "write the new place into the spec, then run envbuilder lock"
            raise UsageError(f"{pin.name} comes from {current.place}", hint=hint)
        path, current = (*path, "version"), current.version or "*"
    if pin.specifier is not None:
        edited = set_scalar(request.document, path, with_version(current, pin.specifier))
        return _release(replace(request, document=edited), pin.name)
    if _is_exact(current):
        exact = ExactPin(path=path, text=current)
        request = replace(request, repin={**request.repin, pin.name: exact})
    return _release(request, pin.name)


def _dependency(request: BumpRequest, spec: Spec, pin: Pin, lock: Lock | None) -> BumpRequest:
    """Let go of a package that only comes along: it moves as far as its users allow."""
    locked = set[str]()
    if lock is not None:
        locked = {wheel.name for wheel in lock.wheels} | {each.name for each in lock.archives}
    if pin.name not in locked:
        known = sorted({*spec.requested, *locked})
        near = difflib.get_close_matches(pin.name, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "it is written under packages:"
        raise UsageError(f"{spec.name} has no package {pin.name}", hint=hint)
    if pin.specifier is not None:
        raise UsageError(
            f"{pin.name} is not named in the spec of {spec.name}, it comes along with others",
            hint=f'write {pin.name}: "{pin.specifier}" under packages, or bump {pin.name} alone',
        )
    return _release(request, pin.name)


def with_version(text: str, version: str) -> str:
    """Return the pin ``text`` with another version: where it holds, its marker, is not asked."""
    _, semicolon, marker = text.partition(";")
    return f"{version}{semicolon}{marker}"


def _is_exact(specifier: str) -> bool:
    bare = specifier.partition(";")[0].strip()
    only = [*SpecifierSet(bare)] if bare != "*" else []
    return len(only) == 1 and only[0].operator in {"==", "==="} and "*" not in only[0].version


def _git(request: BumpRequest, spec: Spec, pin: Pin, ask: AskRefs) -> BumpRequest:
    if pin.specifier is not None:
        raise UsageError(f"{pin.name} comes from git", hint=f"{pin.name}@COMMIT, @TAG or @BRANCH")
    path = ("packages", spec.key_of(pin.name) or pin.name)
    edited = set_git(request.document, path, spec.sources[pin.name], pin, ask)
    return _release(replace(request, document=edited), pin.name)
