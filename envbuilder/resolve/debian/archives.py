"""Where the Debian archive lies for this machine: its own apt sources say, never this project.

Formats: sources.list(5), "ONE-LINE-STYLE" and "DEB822-STYLE". A lock names no mirror; this is
where a suite's mirrors come from when it is resolved and when its files are fetched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from envbuilder.model.errors import MissingToolError, UsageError

from .distribution import DEBIAN, Distribution

MIRROR_VARIABLE = DEBIAN.mirror

_ETC = Path("/etc/apt")
_ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<uri>\S+)\s+(?P<rest>\S.*)")
_SUITE = re.compile(r"[a-z]+(?P<pocket>-updates|-security)?")
_SNAPSHOT = re.compile(r"/[0-9]{8}T[0-9]{6}Z$")
_POCKETS = ("", "-updates", "-security")
_ROLLING = frozenset({"sid", "unstable", "experimental"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AptSource:
    """One entry of apt's sources; ``options`` has deb822 names in lower case (``signed-by``)."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """One mirror of a distribution's archive, and which suites and components to take from it.

    ``uri`` has no slash at its end; ``signed_by`` is a keyring's path or the key itself, as in
    sources.list(5); ``fresh`` says whether an expired Release file is refused.
    """

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    fresh: bool = True
    of: Distribution = DEBIAN

    @property
    def security(self) -> bool:
        """Whether this is the security archive, whose pool paths start ``pool/updates/``."""
        return all(suite.endswith("-security") for suite in self.suites)

    def deb822(self) -> str:
        """Write the archive as a deb822 stanza that asks for package lists only."""
        lines = [
            "Types: deb",
            f"URIs: {self.uri}",
            f"Suites: {' '.join(self.suites)}",
            f"Components: {' '.join(self.components)}",
            "Targets: Packages",
        ]
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        if not self.fresh:
            lines.append("Check-Valid-Until: no")
        return "\n".join(lines) + "\n"


def debian_archives(
    suite: str, *, etc: Path = _ETC, of: Distribution = DEBIAN
) -> tuple[Archive, ...]:
    """Find the mirrors that this machine would take ``suite`` from, with its pockets.

    ``$ENVBUILDER_DEBIAN_MIRROR`` (the archive's URI, then, after a space, the security archive's),
    or Ubuntu's, goes before the machine's apt sources, whose entries serve with the suite replaced.
    Raises MissingToolError if neither names a mirror.
    """
    mirror = os.environ.get(of.mirror, "")
    told = mirror_sources(mirror, of=of) if mirror.strip() else None
    sources = [each for each in read_sources(etc) if _is_of(each, of)] if told is None else told
    archives = _for_suite(suite, sources, of)
    if not archives:
        raise MissingToolError(
            f"this machine's apt sources name no mirror of the {of.name} archive to take {suite} "
            "from",
            hint=f"set {of.mirror} to the URI of a mirror, as in an apt source",
        )
    return archives


def mirror_sources(text: str, *, of: Distribution = DEBIAN) -> list[AptSource]:
    """Read ``$ENVBUILDER_DEBIAN_MIRROR``: the archive, then perhaps the security archive."""
    uris = [uri.rstrip("/") for uri in text.split()]
    if len(uris) > len(of.first):
        raise UsageError(
            f"{of.mirror} holds {len(uris)} URIs; expected the archive's and, after a space, "
            "the security archive's"
        )
    pockets = of.first if len(uris) > 1 else (of.alone,)
    return [
        AptSource(
            uris=(uri,),
            suites=tuple(f"stable{pocket}" for pocket in held),
            components=of.components,
            options={"signed-by": of.keyring},
        )
        for uri, held in zip(uris, pockets, strict=False)
    ]


def for_suite(
    suite: str, sources: list[AptSource], *, of: Distribution = DEBIAN
) -> tuple[Archive, ...]:
    """Turn the distribution's entries among ``sources`` into archives that serve ``suite``."""
    return _for_suite(suite, [each for each in sources if _is_of(each, of)], of)


def _for_suite(suite: str, sources: list[AptSource], of: Distribution) -> tuple[Archive, ...]:
    wanted = _POCKETS[:1] if suite in _ROLLING else _POCKETS
    merged: dict[tuple[str, bool], Archive] = {}
    for source in sources:
        held = {match["pocket"] or "" for match in map(_SUITE.fullmatch, source.suites) if match}
        suites = tuple(suite + pocket for pocket in wanted if pocket in held)
        for uri in _expanded(source.uris) if suites else ():
            archive = _archive(uri, suites, source, of)
            key = (archive.uri, archive.security)
            merged[key] = _merge(merged[key], archive) if key in merged else archive
    return tuple(merged.values())


def read_sources(etc: Path = _ETC) -> list[AptSource]:
    """Read ``sources.list`` and ``sources.list.d`` below ``etc``; what is unreadable is left out.

    apt itself complains about a malformed file when it is asked; entries are taken as they come.
    """
    folder = etc / "sources.list.d"
    files = [
        etc / "sources.list",
        *sorted(folder.glob("*.list")),
        *sorted(folder.glob("*.sources")),
    ]
    found: list[AptSource] = []
    for file in files:
        if file.is_file() and os.access(file, os.R_OK):
            text = file.read_text(encoding="utf-8", errors="replace")
            found += parse_deb822(text) if file.suffix == ".sources" else parse_one_line(text)
    return found


def parse_one_line(text: str) -> Iterator[AptSource]:
    """Parse ``deb [option=value …] URI SUITE COMPONENT…`` lines."""
    for line in text.splitlines():
        match = _ONE_LINE.fullmatch(line.partition("#")[0].strip())
        if match:
            suite, *components = match["rest"].split()
            pairs = (item.partition("=") for item in (match["options"] or "").split())
            yield AptSource(
                uris=(match["uri"].rstrip("/"),),
                suites=(suite,),
                components=tuple(components),
                options={key.lower(): value.replace(",", " ") for key, _, value in pairs},
            )


def parse_deb822(text: str) -> Iterator[AptSource]:
    """Parse the stanzas of a ``.sources`` file that are enabled and for binary packages."""
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n[ \t]*\n", kept):
        fields = _fields(stanza)
        enabled = fields.get("enabled", "yes").lower() not in {"no", "false", "off", "0"}
        if enabled and "deb" in fields.get("types", "").split():
            yield AptSource(
                uris=tuple(uri.rstrip("/") for uri in fields.get("uris", "").split()),
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                options=fields,
            )


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line[:1].isspace():
            if name:
                fields[name] += f"\n{line}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def _is_of(source: AptSource, of: Distribution) -> bool:
    """Tell a distribution's archive from other repositories that reuse its suites' names."""
    if "main" not in source.components:
        return False
    signed = of.mark in source.options.get("signed-by", "")
    return signed or any(of.place.search(uri) for uri in _expanded(source.uris))


def _expanded(uris: tuple[str, ...]) -> Iterator[str]:
    """Replace ``mirror+file:`` lists, which cloud images use, by the mirrors they name."""
    for uri in uris:
        scheme, _, path = uri.partition(":")
        if scheme != "mirror+file":
            yield uri
            continue
        listed = Path(f"/{path.lstrip('/')}")
        lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
        for words in map(str.split, lines):
            if words and not words[0].startswith("#"):
                yield words[0].rstrip("/")


def _archive(uri: str, suites: tuple[str, ...], source: AptSource, of: Distribution) -> Archive:
    expires = source.options.get("check-valid-until", "yes").lower() != "no"
    return Archive(
        uri=uri,
        suites=suites,
        components=source.components,
        signed_by=source.options.get("signed-by") or of.keyring,
        fresh=expires and not _SNAPSHOT.search(uri),
        of=of,
    )


def _merge(one: Archive, other: Archive) -> Archive:
    """Join two entries for one mirror: apt refuses to see a list twice."""
    return Archive(
        uri=one.uri,
        suites=tuple(dict.fromkeys(one.suites + other.suites)),
        components=tuple(dict.fromkeys(one.components + other.components)),
        signed_by=one.signed_by,
        fresh=one.fresh and other.fresh,
        of=one.of,
    )
