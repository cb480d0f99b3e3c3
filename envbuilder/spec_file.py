"""Reading a spec file: what types cannot check, and errors that a tired user understands."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from .document import Document, KeyPath, read_document
from .errors import SpecError
from .git_address import Address
from .sample_files import sample_problems
from .spec import (
    CHOICES,
    IN_WORDS,
    Base,
    Build,
    GitPackage,
    Index,
    Model,
    SampleFile,
    Secret,
    Smoke,
    SourceBuild,
    Spec,
    Steps,
    System,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def load(path: Path) -> Spec:
    """Read and check the spec at ``path``.

    Raises SpecError with file, line, column, what was expected, and the likely meant name.
    """
    return parse(read_document(path))


def parse(document: Document) -> Spec:
    """Check a document that was read already; raises SpecError."""
    _check_quoting(document)
    try:
        spec = msgspec.convert(document.value, Spec)
    except msgspec.ValidationError as error:
        raise _explain(document, str(error)) from error
    found = [*_check(spec), *_check_samples(spec, document.path.parent)]
    problems = [document.error(path, message, hint=hint) for path, message, hint in found]
    if problems:
        raise SpecError("\n".join(p.message for p in problems), hint=problems[0].hint)
    return spec


Problem = tuple[KeyPath, str, str]


def _check_quoting(document: Document) -> None:
    """Refuse versions that YAML turned into numbers: ``3.10`` is the float 3.1."""
    versions: list[KeyPath] = [("python",)]
    versions += [path for path in document.nodes if path[:1] == ("packages",) and len(path) == 2]
    for path in versions:
        node = document.nodes.get(path)
        if node is not None and node.tag in {
            "tag:yaml.org,2002:float",
            "tag:yaml.org,2002:int",
        }:
            raise document.error(
                path,
                f"{path[-1]} is the number {node.value}, and YAML drops digits of numbers "
                "(3.10 becomes 3.1): expected a string",
                hint=f'quote it: "{node.value}"',
            )


def _check(spec: Spec) -> Iterator[Problem]:
    """Yield what types cannot say: path, message, hint."""
    checks: tuple[Callable[[Spec], Iterator[Problem]], ...] = (
        _check_base,
        _check_packages,
        _check_index,
        _check_smoke,
        _check_build,
    )
    for check in checks:
        yield from check(spec)


def _check_base(spec: Spec) -> Iterator[Problem]:
    if (spec.base.debian is None) == (spec.base.image is None):
        yield ("base",), "expected exactly one of debian and image", "base: {debian: trixie}"
    if spec.base.image is not None and spec.system.site_packages:
        hint = "leave it out, or use base: {debian: …}"
        yield ("system", "site_packages"), "site_packages needs a Debian base", hint


def _check_packages(spec: Spec) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for key, pin in spec.packages.items():
        at: KeyPath = ("packages", key)
        try:
            parsed = Requirement(key)
        except InvalidRequirement:
            hint = "name or name[extra]; the version goes behind the colon"
            yield at, f"{key!r} is not a package name", hint
            continue
        if parsed.url or parsed.marker or parsed.specifier:
            yield at, f"{key!r} is more than a package name", "the version goes behind the colon"
        if isinstance(pin, str) and not _is_specifier(pin):
            hint = f'did you mean "=={pin}"?' if pin[:1].isdigit() else '"==1.2.3", or "*" for any'
            yield at, f"{key}: {pin!r} is not a version specifier", hint
        name = canonicalize_name(parsed.name)
        if name in seen:
            yield at, f"{key} and {seen[name]} are the same package", "keep one of them"
        seen[name] = key
        if isinstance(pin, GitPackage):
            yield from _check_git(at, pin)


def _is_specifier(pin: str) -> bool:
    if pin == "*":
        return True
    try:
        return bool(SpecifierSet(pin))
    except InvalidSpecifier:
        return False


def _check_git(at: KeyPath, pin: GitPackage) -> Iterator[Problem]:
    if pin.tag is None and pin.branch is None and pin.commit is None:
        yield at, "a git package needs a tag, a branch or a commit", "commit: <full id> is firmest"
    try:
        Address.parse(pin.git)
    except SpecError as error:
        yield (*at, "git"), error.message, error.hint
    for number, line in enumerate(pin.build.requires):
        if not _is_named_requirement(line):
            hint = 'NAME, or "NAME>=VERSION", from a package index'
            yield (*at, "build", "requires", number), f"{line!r} is not a requirement", hint
    if pin.subdirectory is not None:
        path = Path(pin.subdirectory)
        plain = str(path) == pin.subdirectory and path.parts and ".." not in path.parts
        if not plain or path.is_absolute():
            hint = "a plain relative path, like python/package"
            yield (*at, "subdirectory"), "must be a folder inside the repository", hint


def _is_named_requirement(line: str) -> bool:
    """Tell whether ``line`` asks an index for a package; an address would float."""
    try:
        return Requirement(line).url is None
    except InvalidRequirement:
        return False


def _check_index(spec: Spec) -> Iterator[Problem]:
    urls = [*spec.index.extra_urls, *([spec.index.url] if spec.index.url else [])]
    for url in urls:
        if not re.match(r"^(https?|file)://", url):
            yield ("index",), f"{url!r} is not an index URL", "https://HOST/simple"
        elif re.match(r"^[a-z]+://[^/@]*@", url):
            hint = "use the machine's own means: netrc, keyring or UV_INDEX_* variables"
            yield ("index",), "an index URL in a spec must not hold credentials", hint
    moment = spec.index.exclude_newer
    if moment is not None and not re.fullmatch(
        r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?", moment
    ):
        hint = "2025-06-29T00:00:00Z"
        yield ("index", "exclude_newer"), f"{moment!r} is not an RFC 3339 moment", hint


def _check_smoke(spec: Spec) -> Iterator[Problem]:
    model = spec.smoke.model
    if model is None:
        return
    given = [name for name in ("family", "path", "hub") if getattr(model, name) is not None]
    if len(given) != 1:
        hint = "model: {family: qwen2_5_omni}"
        yield ("smoke", "model"), "expected exactly one of family, path and hub", hint
    if model.revision is not None and model.hub is None:
        yield ("smoke", "model", "revision"), "a revision goes with hub", "leave it out"


def _check_samples(spec: Spec, folder: Path) -> Iterator[Problem]:
    for number, message, hint in sample_problems(spec, folder):
        yield ("smoke", "samples", number), message, hint


def _check_build(spec: Spec) -> Iterator[Problem]:
    for name, secret in spec.build.secrets.items():
        if (secret.env is None) == (secret.file is None):
            hint = f"{name}: {{env: VARIABLE}}"
            yield ("build", "secrets", name), "expected exactly one of env and file", hint


_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`")
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
_AT = re.compile(r" - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`$")
_PATTERN = re.compile(r"expected `str` matching regex '(?P<pattern>.*)'$", re.IGNORECASE)


def _explain(document: Document, text: str) -> SpecError:
    """Turn msgspec's message into ours: with a place, and the likely meant name."""
    at = _AT.search(text)
    path = _resolve(document, at["path"]) if at else ()
    if at and at["key"]:
        entries = (p for p in document.keys if p[:-1] == path)
        path = next((p for p in entries if not _fits(p, document)), path)
    message = _AT.sub("", text)
    unknown = _UNKNOWN.match(message)
    if unknown is not None:
        known = _fields_at(path)
        near = difflib.get_close_matches(unknown["field"], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        return document.error((*path, unknown["field"]), f"unknown key {unknown[1]!r}", hint=hint)
    missing = _MISSING.match(message)
    if missing is not None:
        return document.error(path, f"the key {missing['field']!r} is missing")
    key = path[-1] if at and at["key"] and path else None
    dotted = ".".join(str(part) for part in path) or "the spec"
    node = None if key is not None else document.nodes.get(path)
    found = key if key is not None else getattr(node, "value", None)
    shown = f", found {found!r}" if isinstance(found, str) else ""
    return document.error(path, f"{dotted}: {_humanise(message, path)}{shown}")


def _humanise(message: str, path: KeyPath) -> str:
    """Say in words what msgspec says with types and patterns."""
    pattern = _PATTERN.match(message)
    if pattern is not None:
        regex = pattern["pattern"].replace("\\\\", "\\")  # msgspec shows it escaped
        return f"expected {IN_WORDS.get(regex, f'text of the form {regex}')}"
    if message.startswith("Invalid enum value"):
        choices = next((CHOICES[str(part)] for part in reversed(path) if part in CHOICES), ())
        return f"expected one of {', '.join(choices)}"
    plain = {"`str`": "a string", "`int`": "a whole number", "`array`": "a list"}
    plain |= {"`object`": "a mapping", "`bool`": "true or false", "str |": "a string or"}
    for technical, word in plain.items():
        message = message.replace(technical, word)
    return message[:1].lower() + message[1:]


def _resolve(document: Document, text: str) -> KeyPath:
    """Read msgspec's path (``.packages[...].tag``); ``[...]`` is any key: find the first misfit."""
    parts = re.findall(r"\.([A-Za-z_]\w*)|\[(\d+|\.\.\.)\]", text)
    path: KeyPath = ()
    for name, index in parts:
        if index == "...":
            entries = (p for p in document.nodes if p and p[:-1] == path)
            path = next((p for p in entries if not _fits(p, document)), path)
        else:
            path = (*path, int(index) if index else name)
    return path


def _fits(path: KeyPath, document: Document) -> bool:
    """Tell whether the one entry at ``path`` converts, all its siblings left out."""
    value: Any = document.value
    for part in path:
        value = value[part]
    nested: Any = {path[-1]: value}
    for part in reversed(path[:-1]):
        nested = {part: nested}
    try:
        msgspec.convert(nested, Spec)
    except msgspec.ValidationError as error:
        # Left-out siblings are missed only after what is there has been read.
        return "missing required field" in str(error)
    return True


def _fields_at(path: KeyPath) -> list[str]:
    """List the keys that a spec knows at ``path``."""
    kind: type[Struct] = Spec
    nested: dict[str, type[Struct]] = {
        "base": Base,
        "system": System,
        "index": Index,
        "build": Build,
        "steps": Steps,
        "smoke": Smoke,
        "model": Model,
        "secrets": Secret,
        "samples": SampleFile,
        "packages": GitPackage,
    }
    for part in path:
        if part == "build" and kind is GitPackage:
            kind = SourceBuild
        else:
            kind = nested.get(str(part), kind)
    return [field.name for field in msgspec.structs.fields(kind)]
