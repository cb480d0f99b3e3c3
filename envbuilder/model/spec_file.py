"""Reading a spec file: what types cannot check, and errors that a tired user understands."""

from __future__ import annotations

import difflib
import inspect
import re
from datetime import datetime
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import msgspec
from msgspec import Struct
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from .errors import SpecError, UsageError
from .git_url import Address
from .reference import ImageRef
from .resources import families
from .samples import sample_problems
from .spec import IN_WORDS, SOURCE_PLACE, GitPackage, GitPin, Spec
from .yaml_document import Document, KeyPath, excerpt, read_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def load(path: Path) -> Spec:
    """Read and check the spec at ``path``.

    Raises SpecError with file, line, column, what was expected, and the likely meant name.
    """
    document = read_document(path)
    spec = parse(document)
    if spec.name != path.stem:  # its lock, ledger and answers lie beside it under one name
        message = f"the name is {spec.name}, and the file is called {path.name}"
        raise document.error(("name",), message, hint=f"rename one: {spec.name}{path.suffix}")
    return spec


def parse(document: Document) -> Spec:
    """Check a document that was read already; raises SpecError."""
    _check_quoting(document)
    try:
        spec = msgspec.convert(document.value, Spec)
    except msgspec.ValidationError as error:
        raise _explain(document, str(error)) from error
    problems = [document.error(path, message, hint=hint) for path, message, hint in _check(spec)]
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
                f"{path[-1]} is the number {excerpt(node.value)}, and YAML drops digits of "
                "numbers (3.10 becomes 3.1): expected a string",
                hint=f'quote it: "{excerpt(node.value)}"',
            )


def _check(spec: Spec) -> Iterator[Problem]:
    """Yield what types cannot say: path, message, hint."""
    checks: tuple[Callable[[Spec], Iterator[Problem]], ...] = (
        _check_base,
        _check_packages,
        _check_index,
        _check_smoke,
        _check_samples,
        _check_build,
    )
    for check in checks:
        yield from check(spec)


def _check_base(spec: Spec) -> Iterator[Problem]:
    if (spec.base.debian is None) == (spec.base.image is None):
        yield ("base",), "expected exactly one of debian and image", "base: {debian: trixie}"
    if spec.build.system.packages and spec.build.image is None:
        hint = "name the image to compile in, or add them to `system: packages:`"
        yield ("build", "system"), "build.system is laid on build.image, which is not there", hint
    if spec.base.image is not None and spec.system.site_packages:
        hint = "leave it out, or use base: {debian: …}"
        yield ("system", "site_packages"), "site_packages needs a Debian base", hint
    yield from _check_image(("base", "image"), spec.base.image)


def _check_image(at: KeyPath, image: str | None) -> Iterator[Problem]:
    try:
        if image is not None:
            ImageRef.parse(image)
    except UsageError as error:
        yield at, error.message, error.hint


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


def _check_pin(at: KeyPath, pin: GitPin) -> Iterator[Problem]:
    if pin.tag is None and pin.branch is None and pin.commit is None:
        yield at, "a git package needs a tag, a branch or a commit", "commit: <full id> is firmest"
    try:
        Address.parse(pin.git)
    except SpecError as error:
        yield (*at, "git"), error.message, error.hint


def _check_git(at: KeyPath, pin: GitPackage) -> Iterator[Problem]:
    yield from _check_pin(at, pin)
    for name, source in pin.build.sources.items():
        yield from _check_pin((*at, "build", "sources", name), source)
    for variable, value in pin.build.env.items():
        for name in sorted(set(SOURCE_PLACE.findall(value)) - pin.build.sources.keys()):
            near = difflib.get_close_matches(name, pin.build.sources, n=1)
            known = ", ".join(sorted(pin.build.sources)) or "none"
            hint = f"did you mean {near[0]}?" if near else f"build.sources has: {known}"
            yield (*at, "build", "env", variable), f"there is no further source {name!r}", hint
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
    """Return whether ``line`` asks an index for a package; an address would float."""
    try:
        return Requirement(line).url is None
    except InvalidRequirement:
        return False


def _check_index(spec: Spec) -> Iterator[Problem]:
    index = spec.index
    urls: list[tuple[KeyPath, str]] = [(("url",), index.url)] if index.url is not None else []
    urls += [(("extra_urls", number), url) for number, url in enumerate(index.extra_urls)]
    for at, url in urls:
        if re.match(r"\w+://[^/]*@", url):  # never shown: it holds a secret
            hint = "use the machine's own means: netrc, keyring or UV_INDEX_* variables"
            yield ("index", *at), "an index URL in a spec must not hold credentials", hint
        elif not re.match(r"(https?|file)://", url):
            yield ("index", *at), f"{url!r} is not an index URL", "https://HOST/simple"
    if index.exclude_newer is not None and not _is_moment(index.exclude_newer):
        message = f"{index.exclude_newer!r} is not an RFC 3339 moment"
        yield ("index", "exclude_newer"), message, "2025-06-29T00:00:00Z"


def _is_moment(text: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?", text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _check_smoke(spec: Spec) -> Iterator[Problem]:
    model = spec.smoke.model
    if model is None:
        if spec.smoke.tokens:
            hint = "add model: {family: qwen2_5_omni}, or leave the tokens out"
            yield ("smoke", "tokens"), "without a model there is nothing to count", hint
        return
    given = [name for name in ("family", "path", "hub") if getattr(model, name) is not None]
    if len(given) != 1:
        hint = "model: {family: qwen2_5_omni}"
        yield ("smoke", "model"), "expected exactly one of family, path and hub", hint
    known = families()
    if model.family is not None and model.family not in known:
        near = difflib.get_close_matches(model.family, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        yield ("smoke", "model", "family"), f"no family is called {model.family!r}", hint
    if model.revision is not None and model.hub is None:
        yield ("smoke", "model", "revision"), "a revision goes with hub", "leave it out"


def _check_samples(spec: Spec) -> Iterator[Problem]:
    for number, message, hint in sample_problems(spec):
        yield ("smoke", "samples", number), message, hint


def _check_build(spec: Spec) -> Iterator[Problem]:
    yield from _check_image(("build", "image"), spec.build.image)
    for name, secret in spec.build.secrets.items():
        if (secret.env is None) == (secret.file is None):
            hint = f"{name}: {{env: VARIABLE}}"
            yield ("build", "secrets", name), "expected exactly one of env and file", hint


_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`")
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
_AT = re.compile(r" - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_PATTERN = re.compile(r"Expected `str` matching regex '(?P<pattern>.*)'$")
_UNQUOTED = re.compile(r"Expected `str[^`]*`, got `(int|float|bool)`$")
_WORDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "bytes": "bytes",
    "null": "nothing",
    "array": "a list",
    "object": "a mapping",
}


def _explain(document: Document, text: str) -> SpecError:
    """Turn msgspec's message into ours: with a place, and the likely meant name."""
    at = _AT.search(text)
    message = _AT.sub("", text)
    path, kind = _locate(document.value, at["path"] if at else "")
    if at and at["key"]:
        kind, _ = get_args(kind)
        entries = (p for p in document.keys if p[:-1] == path)
        path = next(p for p in entries if not _fits(p[-1], kind))
    dotted = ".".join(str(part) for part in path)
    unknown = _UNKNOWN.match(message)
    if unknown is not None:
        field, known = unknown["field"], list(_members(kind))
        near = difflib.get_close_matches(field, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        return document.error((*path, field), f"unknown key {excerpt(field)!r}", hint=hint)
    missing = _MISSING.match(message)
    if missing is not None:
        where = f" in {dotted}" if path else ""
        return document.error(path, f"the key {missing['field']!r} is missing{where}")
    found: Any = path[-1] if at and at["key"] else document.nodes[path].value
    shown = f", found {excerpt(found)!r}" if found and isinstance(found, str) else ""
    hint = f'quote it: "{excerpt(found)}"' if _UNQUOTED.match(message) else ""
    return document.error(path, f"{dotted}: {_humanise(message, kind)}{shown}", hint=hint)


def _humanise(message: str, kind: Any) -> str:  # noqa: ANN401 - any type of a spec's
    """Say in words what msgspec says with types and patterns."""
    pattern = _PATTERN.match(message)
    if pattern is not None:
        regex = pattern["pattern"].replace("\\\\", "\\")  # msgspec shows it escaped
        return f"expected {IN_WORDS.get(regex, f'text of the form {regex}')}"
    if message.startswith("Invalid enum value"):
        choices = [str(choice) for each in _options(kind) for choice in get_args(each)]
        return f"expected {'one of ' * (len(choices) > 1)}{', '.join(choices)}"
    for group in re.findall(r"`[^`]*`", message):
        words = (_WORDS.get(name, name) for name in group.strip("`").split(" | "))
        message = message.replace(group, " or ".join(words))
    return message[:1].lower() + message[1:]


def _locate(value: Any, text: str) -> tuple[KeyPath, Any]:  # noqa: ANN401 - YAML holds anything
    """Read msgspec's path (``.packages[...].tag``); give ours, and the type that is wanted there.

    ``[...]`` is some value of a mapping: the first that does not fit.
    """
    path: KeyPath = ()
    kind: Any = Spec
    for name, index in _STEP.findall(text):
        part: str | int
        if name:
            part, kind = name, _members(kind)[name]
        elif index == "...":
            _, kind = get_args(kind)
            part = next(key for key, item in value.items() if not _fits(item, kind))
        else:
            part, kind = int(index), get_args(kind)[0]
        path, value = (*path, part), value[part]
    return path, kind


def _fits(value: Any, kind: Any) -> bool:  # noqa: ANN401 - YAML holds anything
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _members(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - any type of a spec's
    """List the keys that ``kind`` knows with their types, if it is a struct or may be one."""
    structs = [
        each for each in _options(kind) if inspect.isclass(each) and issubclass(each, Struct)
    ]
    return {field.name: field.type for each in structs for field in msgspec.structs.fields(each)}


def _options(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401 - any type of a spec's
    """List what a union is made of; any other type is its own only option."""
    return get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)
