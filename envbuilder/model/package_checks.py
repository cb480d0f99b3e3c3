"""What types cannot say of a spec's packages and indexes: each problem, its place and a cure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name

from .errors import SpecError
from .filenames import parse_wheel_filename
from .git_url import Address
from .own_files import pattern_problems
from .package_spec import SOURCE_PLACE, GitPackage, GitPin, Package, SourceBuild
from .spec import Requirements, Spec, name_of, requirement
from .yaml_document import KeyPath

Problem = tuple[KeyPath, str, str]
"""Where in the spec, what is wrong, and what would be right."""

_OF_GIT = ("tag", "branch", "commit", "subdirectory", "submodules")
_ARCHIVES = (".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz", ".tar")
_DEFAULT = Package()


def package_problems(spec: Spec) -> Iterator[Problem]:
    """Yield what is wrong with ``packages``, ``overrides`` and ``constraints``."""
    seen: dict[str, str] = {}
    for key, pin in spec.packages.items():
        at: KeyPath = ("packages", key)
        yield from _key_problems(at, key)
        if (name := _name(key)) is None:
            continue
        if name in seen:
            yield at, f"{key} and {seen[name]} are the same package", "keep one of them"
        seen[name] = key
        if isinstance(pin, str):
            yield from _specifier_problems(at, key, pin)
        else:
            yield from _table_problems(at, key, pin, spec)
    yield from _sdist_problems(spec)
    for where in ("overrides", "constraints"):
        yield from _line_problems((where,), getattr(spec, where))


def index_problems(spec: Spec) -> Iterator[Problem]:
    """Yield what is wrong with ``index``."""
    index = spec.index
    urls: list[tuple[KeyPath, str]] = [(("url",), index.url)] if index.url is not None else []
    urls += [(("extra_urls", number), url) for number, url in enumerate(index.extra_urls)]
    urls += [(("named", name), url) for name, url in index.named.items()]
    for at, url in urls:
        yield from _url_problems(("index", *at), url, "index URL", "https://HOST/simple")
    if index.exclude_newer is not None and not _is_moment(index.exclude_newer):
        message = f"{index.exclude_newer!r} is not an RFC 3339 moment"
        yield ("index", "exclude_newer"), message, "2025-06-29T00:00:00Z"
    for number, name in enumerate(index.exempt):
        at = ("index", "exempt", number)
        if name not in index.named and _name(name) != canonicalize_name(name):
            yield at, f"{name!r} is neither a package nor a named index", "a name alone, like torch"
        elif index.exclude_newer is None:
            yield at, "without exclude_newer nothing need be exempt from it", "leave it out"


def _key_problems(at: KeyPath, key: str) -> Iterator[Problem]:
    try:
        parsed = Requirement(key)
    except InvalidRequirement:
        hint = "name or name[extra]; the version goes behind the colon"
        yield at, f"{key!r} is not a package name", hint
        return
    if parsed.url or parsed.marker or parsed.specifier:
        yield at, f"{key!r} is more than a package name", "the version goes behind the colon"


def _name(key: str) -> str | None:
    try:
        return name_of(key)
    except InvalidRequirement:
        return None


def _specifier_problems(at: KeyPath, key: str, pin: str) -> Iterator[Problem]:
    name = _name(key)
    if name is None or _is_specifier(name, pin):
        return
    if "://" in pin:
        hint = f"an address is a key of its own: {key}: {{url: …}}, or {{git: …}}"
    elif pin.endswith((".whl", *_ARCHIVES)) or pin.startswith("."):
        hint = f"a file is a key of its own: {key}: {{path: {pin}}}"
    elif pin[:1].isdigit():
        hint = f'did you mean "=={pin}"?'
    else:
        hint = '"==1.2.3", or "*" for any'
    yield at, f"{key}: {pin!r} is not a version specifier", hint


def _is_specifier(name: str, pin: str) -> bool:
    """Return whether ``pin`` is ``*`` or a version specifier; a marker may follow."""
    try:
        parsed = requirement(name, pin)
    except InvalidRequirement:
        return False
    anything = pin.partition(";")[0].strip() == "*"
    return parsed.url is None and not parsed.extras and (anything or bool(parsed.specifier))


def _table_problems(at: KeyPath, key: str, pin: Package, spec: Spec) -> Iterator[Problem]:
    given = [name for name in ("version", "git", "url", "path") if getattr(pin, name) is not None]
    if len(given) != 1:
        hint = f'{key}: {{version: "==1.2.3", index: NAME}}'
        yield at, "expected exactly one of version, git, url and path", hint
        return
    of_git = [name for name in _OF_GIT if getattr(pin, name) != getattr(_DEFAULT, name)]
    if pin.filename.endswith(".whl") and pin.build != _DEFAULT.build:
        yield (*at, "build"), "a wheel is built already", "leave build out, or name an sdist"
    if pin.git is None and of_git:
        yield (*at, of_git[0]), f"{of_git[0]} goes with git", "leave it out"
    if pin.version is not None:
        yield from _specifier_problems((*at, "version"), key, pin.version)
    yield from _chosen_problems((*at, "index"), pin, spec)
    if pin.url is not None:
        hint = "https://HOST/NAME-VERSION-TAGS.whl"
        yield from _url_problems((*at, "url"), pin.url, "address of a file", hint)
        yield from _file_problems((*at, "url"), key, pin, (".whl", *_ARCHIVES))
    if pin.path is not None:
        yield from _path_problems((*at, "path"), pin.path)
        yield from _file_problems((*at, "path"), key, pin, (".whl",))
    if pin.git is not None:
        yield from _git_problems(at, spec.sources[name_of(key)])
    yield from _exclude_problems((*at, "exclude"), pin)
    yield from _build_problems((*at, "build"), pin.build)


def _exclude_problems(at: KeyPath, pin: Package) -> Iterator[Problem]:
    if pin.exclude and (pin.path is None or pin.filename.endswith((".whl", *_ARCHIVES))):
        yield at, "exclude goes with the path of a folder", "leave it out"
    yield from pattern_problems(at, pin.exclude)


def _chosen_problems(at: KeyPath, pin: Package, spec: Spec) -> Iterator[Problem]:
    if pin.index is None:
        return
    if pin.version is None:
        yield at, "an index goes with a version", 'version: "*" takes any'
    elif pin.index not in spec.index.named:
        hint = f"index: {{named: {{{pin.index}: https://HOST/simple}}}}"
        yield at, f"no index is named {pin.index!r}", hint


def _sdist_problems(spec: Spec) -> Iterator[Problem]:
    """Yield what is wrong with ``build.sdists``."""
    for number, name in enumerate(() if spec.build.sdists == "all" else spec.build.sdists):
        if _name(name) != canonicalize_name(name):
            hint = "a name alone, like antlr4-python3-runtime, or `sdists: all`"
            yield ("build", "sdists", number), f"{name!r} is not a package", hint


def _file_problems(
    at: KeyPath, key: str, pin: Package, endings: tuple[str, ...]
) -> Iterator[Problem]:
    """Yield what is wrong with the name of a file, which must end as one of ``endings``."""
    filename = pin.filename
    if not filename.endswith(endings):
        if pin.url is not None:  # a path may be a folder; what else it is, is seen there
            hint = f"an address that ends in {', '.join(endings)}; a repository is `git: …`"
            yield at, f"{filename!r} is the file name of neither a wheel nor an sdist", hint
        return
    if not filename.endswith(".whl"):
        return
    try:
        name = parse_wheel_filename(filename)[0]
    except InvalidWheelFilename:
        yield at, f"{filename!r} is not the file name of a wheel", "NAME-VERSION-TAGS.whl"
        return
    if name != name_of(key):
        yield at, f"{filename} is a wheel of {name}, not of {key}", f"call it {name}"


def _path_problems(at: KeyPath, path: str) -> Iterator[Problem]:
    pure = PurePosixPath(path)
    if path.startswith("~") or pure.is_absolute():
        hint = "count from the folder of the spec: ../wheels/x.whl"
        yield at, f"{path!r} is another file on every machine", hint


def _pin_problems(at: KeyPath, pin: GitPin) -> Iterator[Problem]:
    if pin.tag is None and pin.branch is None and pin.commit is None:
        yield at, "a git package needs a tag, a branch or a commit", "commit: <full id> is firmest"
    try:
        Address.parse(pin.git)
    except SpecError as error:
        yield (*at, "git"), error.message, error.hint


def _git_problems(at: KeyPath, pin: GitPackage) -> Iterator[Problem]:
    yield from _pin_problems(at, pin)
    if pin.subdirectory is not None:
        path = Path(pin.subdirectory)
        plain = str(path) == pin.subdirectory and path.parts and ".." not in path.parts
        if not plain or path.is_absolute():
            hint = "a plain relative path, like python/package"
            yield (*at, "subdirectory"), "must be a folder inside the repository", hint


def _build_problems(at: KeyPath, build: SourceBuild) -> Iterator[Problem]:
    for name, source in build.sources.items():
        yield from _pin_problems((*at, "sources", name), source)
    for variable, value in build.env.items():
        for name in sorted(set(SOURCE_PLACE.findall(value)) - build.sources.keys()):
            near = difflib.get_close_matches(name, build.sources, n=1)
            known = ", ".join(sorted(build.sources)) or "none"
            hint = f"did you mean {near[0]}?" if near else f"build.sources has: {known}"
            yield (*at, "env", variable), f"there is no further source {name!r}", hint
    for number, line in enumerate(build.requires):
        if not _is_named_requirement(line):
            hint = 'NAME, or "NAME>=VERSION", from a package index'
            yield (*at, "requires", number), f"{line!r} is not a requirement", hint


def _line_problems(at: KeyPath, given: Requirements) -> Iterator[Problem]:
    if isinstance(given, dict):
        for key, pin in given.items():
            yield from _key_problems((*at, key), key)
            yield from _specifier_problems((*at, key), key, pin)
    elif not isinstance(given, str):
        for number, line in enumerate(given):
            if not _is_named_requirement(line):
                hint = 'NAME and a version, like "numpy<2.3"'
                yield (*at, number), f"{line!r} is not a requirement", hint


def _is_named_requirement(line: str) -> bool:
    """Return whether ``line`` asks an index for a package; an address would float."""
    try:
        return Requirement(line).url is None
    except InvalidRequirement:
        return False


def _url_problems(at: KeyPath, url: str, what: str, example: str) -> Iterator[Problem]:
    if re.match(r"\w+://[^/]*@", url):  # never shown: it holds a secret
        hint = "use the machine's own means: netrc, keyring or UV_INDEX_* variables"
        yield at, f"an {what} in a spec must not hold credentials", hint
    elif not re.match(r"(https?|file)://", url):
        yield at, f"{url!r} is not an {what}", example


def _is_moment(text: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?", text):
        return False
    try:
        datetime.fromisoformat(text) + timedelta(days=1)  # a date counts with its whole day
    except (ValueError, OverflowError):
        return False
    return True
