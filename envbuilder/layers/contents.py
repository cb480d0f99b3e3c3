"""What layers hold, read from their tars as they stream by: files, packages, caches.

Nothing is unpacked: paths, sizes and the few small documents that name packages are kept.
Whiteouts are those of the OCI image-spec 1.1 ("Layers", "Whiteouts").
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesHeaderParser
from tarfile import TarInfo

from packaging.utils import canonicalize_name

from envbuilder.model.codec import any_json
from envbuilder.model.reference import Digest

from .installed import is_system_document
from .untar import Untar

WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
# Bytes; a large Debian's dpkg status has 10 MB, the longest of README's in a METADATA a tenth.
_STATUS_LIMIT, _DOCUMENT_LIMIT = 24 << 20, 4 << 20
_PYC_HEAD = 16  # bytes that say what bytecode was made of
# What Python sees by itself; setuptools, for one, carries others' metadata below _vendor.
_SITE = r"(?:.*/)?(?:site|dist)-packages/[^/]+"
_METADATA = re.compile(rf"{_SITE}\.(?:dist-info/METADATA|egg-info/PKG-INFO)")
_ORIGIN = re.compile(rf"{_SITE}\.dist-info/direct_url\.json")
_DPKG = re.compile(r"var/lib/dpkg/(?:status|status\.d/[^/.]+)")
_COMMIT = re.compile(r"[0-9A-Za-z]{1,64}")
_EXTENDED = re.compile(r"var/lib/apt/extended_states")
_LOCK = re.compile(r"usr/share/envbuilder/pylock\.[^/]+\.toml")
_PYC = re.compile(r"((?:.*/)?)__pycache__/([^/]+?)\.[^/.]+(?:\.opt-[^/.]+)?\.pyc")
_ANY = r"(?:.*/)?"  # a home may be anywhere
_CACHES = {
    "pip": re.compile(rf"{_ANY}\.cache/pip/.*|tmp/pip-.*"),
    "uv": re.compile(rf"{_ANY}\.cache/uv/.*"),
    "huggingface": re.compile(rf"{_ANY}\.cache/(?:huggingface|modelscope)/.*"),
    "torch": re.compile(rf"{_ANY}(?:\.cache/torch(?:_extensions)?|\.triton)/.*"),
    "vllm": re.compile(rf"{_ANY}\.cache/(?:vllm|flashinfer)/.*"),
    "cuda": re.compile(rf"{_ANY}\.nv/.*"),
    "conda": re.compile(rf"{_ANY}[^/]*(?:conda|mamba|forge)\d?/pkgs/.*"),
    "npm": re.compile(rf"{_ANY}\.npm/_cacache/.*"),
    "cargo": re.compile(rf"{_ANY}\.?cargo/registry/.*"),
    "apk": re.compile(r"var/cache/apk/.*"),
    "apt": re.compile(
        r"var/lib/apt/lists/(?:partial/)?[^/]+_.*"
        r"|var/cache/apt/(?:archives/(?:partial/)?[^/]+\.deb|[^/]+\.bin)"
    ),
    "dnf": re.compile(r"var/cache/(?:dnf|yum|libdnf5)/.*"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFile:
    """One path: tar's type letter, mode, size in bytes; ``target`` of links; hash if asked.

    ``source_size`` is what bytecode that trusts its source's time says of it (PEP 552). Whose it
    is makes no difference between two files.
    """

    kind: str
    mode: int
    size: int
    target: str = ""
    sha256: Digest | None = None
    source_size: int | None = None
    uid: int = field(default=0, compare=False)
    gid: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One installed package: of Python (with its commit, where it came from git) or of Debian."""

    kind: str
    name: str
    version: str
    commit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What one layer adds and removes, or what a stack of them shows."""

    files: dict[str, LayerFile] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    emptied: frozenset[str] = frozenset()

    def distributions(self) -> tuple[Distribution, ...]:
        """List the packages that the documents name, sorted."""
        return tuple(sorted(set(_distributions(self.documents)), key=_order))

    def python_metadata(self) -> dict[str, Message]:
        """Return the core metadata of the Python packages, by canonical name."""
        heads = _python_heads(self.documents)
        return {canonicalize_name(str(head["Name"])): head for _, head in heads}

    def lock_text(self) -> bytes | None:
        """Return the lock that an image of ours carries, in its last layer; None elsewhere."""
        return next((text for path, text in self.documents.items() if _LOCK.fullmatch(path)), None)

    def caches(self) -> dict[str, int]:
        """Add up the bytes that each tool's cache left behind, by tool."""
        found: dict[str, int] = {}
        for path, file in self.files.items():
            tool = cache_of(path)
            if tool is not None and file.size:
                found[tool] = found.get(tool, 0) + file.size
        return found


Reader = Callable[[Iterable[bytes]], bytes]
"""Takes a file's content, and returns what to keep of it."""


def scan(
    tar: Untar, *, hashed: bool = False, asked: Callable[[str], Reader | None] = lambda _: None
) -> Contents:
    """Read one layer to its end; with ``hashed`` every file's content is hashed as well.

    ``asked`` says how to read a path that counts as a document, too.
    """
    files: dict[str, LayerFile] = {}
    documents: dict[str, bytes] = {}
    removed, emptied = set(), set()
    for entry in tar.entries():
        path = _normal(entry.info.name)
        folder, _, name = path.rpartition("/")
        if name == _OPAQUE:
            emptied.add(folder)
        elif name.startswith(WHITEOUT):
            removed.add(f"{folder}/{name[len(WHITEOUT) :]}".lstrip("/"))
        elif path:
            document = entry.info.isreg() and _is_document(path)
            bytecode = path.endswith(".pyc")
            keep = entry.info.size if document else _PYC_HEAD if bytecode else 0
            if document:
                limit = _STATUS_LIMIT if _DPKG.fullmatch(path) else _DOCUMENT_LIMIT
                tar.budget.hold(path, keep, limit=limit)
            reader = asked(path) if entry.info.isreg() else None
            if reader is not None:
                documents[path] = reader(tar.content())
                tar.budget.hold(path, len(documents[path]), limit=_DOCUMENT_LIMIT)
            digest, data = _content(tar, keep=keep, hashed=hashed)
            files[path] = _file(entry.info, digest, _source_size(data) if bytecode else None)
            if document:
                documents[path] = data
    return Contents(
        files=files, documents=documents, removed=frozenset(removed), emptied=frozenset(emptied)
    )


def hidden(layers: Sequence[Contents]) -> list[set[str]]:
    """Say of each of ``layers``, the lowest first, which of its paths those above it hide."""
    cover, found = _Cover(), []
    for layer in reversed(layers):
        known: dict[str, bool] = {}
        found.append({path for path, file in layer.files.items() if cover.hides(path, file, known)})
        cover.add(layer)
    return found[::-1]


def stacked(layers: Sequence[Contents]) -> Contents:
    """Lay contents over each other, the lowest first, as an overlay mount shows them."""
    files: dict[str, LayerFile] = {}
    documents: dict[str, bytes] = {}
    for layer, below in zip(layers, hidden(layers), strict=True):
        files |= {path: file for path, file in layer.files.items() if path not in below}
        documents |= {path: text for path, text in layer.documents.items() if path not in below}
    return Contents(files=files, documents=documents)


@dataclass(slots=True)
class _Cover:
    """What lies above a layer: paths that are gone, folders that are there, and emptied ones."""

    gone: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    emptied: set[str] = field(default_factory=set)

    def hides(self, path: str, file: LayerFile, known: dict[str, bool]) -> bool:
        """Return whether ``path`` is not seen; ``known`` keeps what is found of its folders."""
        if path in self.gone or (path in self.folders and file.kind != "dir"):
            return True
        return self._closes(path.rpartition("/")[0], known)

    def add(self, layer: Contents) -> None:
        """Lay ``layer`` over what lies further below."""
        for path, file in layer.files.items():
            (self.folders if file.kind == "dir" else self.gone).add(path)
        self.gone |= layer.removed
        self.emptied |= layer.emptied

    def _closes(self, folder: str, known: dict[str, bool]) -> bool:
        if folder not in known:
            known[folder] = folder in self.emptied or (
                folder != ""
                and (folder in self.gone or self._closes(folder.rpartition("/")[0], known))
            )
        return known[folder]


def is_stale(path: str, file: LayerFile, shown: Mapping[str, LayerFile]) -> bool:
    """Return whether ``path`` is bytecode that Python ignores in an image that shows ``shown``.

    Its source is gone, or has another size than when it was compiled. What lies outside of
    ``__pycache__`` is a module by itself.
    """
    module = source_of(path)
    if module is None or file.kind != "file":
        return False
    source = shown.get(module)
    return source is None or (source.kind == "file" and file.source_size not in {None, source.size})


def source_of(path: str) -> str | None:
    """Return the module that ``path`` would be the bytecode of; None if it lies elsewhere."""
    match = _PYC.fullmatch(path)
    return None if match is None else f"{match[1]}{match[2]}.py"


def cache_of(path: str) -> str | None:
    """Name the tool whose cache ``path`` (relative to the root) belongs to, or None."""
    return next((tool for tool, pattern in _CACHES.items() if pattern.fullmatch(path)), None)


def _content(tar: Untar, *, keep: int, hashed: bool) -> tuple[Digest | None, bytes]:
    """Read the content's hash and its first ``keep`` bytes, where one of them is asked for."""
    if not keep and not hashed:
        return None, b""
    digest, kept = hashlib.sha256(), bytearray()
    for piece in tar.content():
        digest.update(piece)
        kept += piece[: keep - len(kept)]
    return Digest(digest.hexdigest()), bytes(kept)


def _source_size(pyc: bytes) -> int | None:
    """Read what a .pyc says of its source's size: nothing, where it holds the source's hash."""
    by_time = pyc[4:8] == bytes(4)
    return int.from_bytes(pyc[12:16], "little") if by_time and len(pyc) >= 16 else None


def _file(info: TarInfo, digest: Digest | None, source_size: int | None) -> LayerFile:
    kind = (
        "file" if info.isreg() else "dir" if info.isdir() else "link" if info.issym() else "other"
    )
    if info.islnk():
        kind = "hardlink"
    size = info.size if info.isreg() else 0
    return LayerFile(
        kind=kind,
        mode=info.mode & 0o7777,
        size=size,
        target=info.linkname,
        sha256=digest if kind == "file" else None,
        source_size=source_size,
        uid=info.uid,
        gid=info.gid,
    )


def _normal(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in {"", "."})


def _is_document(path: str) -> bool:
    ours = any(pattern.fullmatch(path) for pattern in (_METADATA, _ORIGIN, _EXTENDED, _LOCK))
    return ours or is_system_document(path)


def _distributions(documents: dict[str, bytes]) -> Iterator[Distribution]:
    for path, head in _python_heads(documents):
        origin = documents.get(path.rpartition("/")[0] + "/direct_url.json", b"")
        yield Distribution(
            kind="python",
            name=canonicalize_name(str(head["Name"])),
            version=str(head["Version"]),
            commit=_commit(origin),
        )
    for path, data in documents.items():
        if _DPKG.fullmatch(path):
            yield from _debian(data)


def _python_heads(documents: Mapping[str, bytes]) -> Iterator[tuple[str, Message]]:
    """Yield path and headers of each document that names a Python package and its version."""
    for path, data in documents.items():
        if _METADATA.fullmatch(path):
            head = BytesHeaderParser().parsebytes(data)
            if head["Name"] and head["Version"]:
                yield path, head


def _commit(origin: bytes) -> str:
    """Read the commit of a package from git (PEP 610); nothing if it is from elsewhere."""
    try:
        commit = any_json(origin)["vcs_info"]["commit_id"]
        return str(commit) if _COMMIT.fullmatch(commit) else ""
    except (ValueError, KeyError, TypeError):
        return ""


def _debian(status: bytes) -> Iterator[Distribution]:
    for paragraph in status.decode(errors="replace").split("\n\n"):
        lines = (line.partition(": ") for line in paragraph.split("\n") if line[:1].strip())
        fields = {key: value for key, _, value in lines}
        installed = fields.get("Status", "install ok installed").endswith(" installed")
        if installed and "Package" in fields and "Version" in fields:
            yield Distribution(kind="deb", name=fields["Package"], version=fields["Version"])


def _order(distribution: Distribution) -> tuple[str, str, str]:
    return distribution.kind, distribution.name, distribution.version
