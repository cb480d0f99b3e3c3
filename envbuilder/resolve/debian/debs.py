"""Locked .deb files into the store, through apt's own transport and checked by hash."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from envbuilder.model.errors import BuildError, EnvbuilderError, NetworkError, ResolutionError
from envbuilder.model.lock import DebPackage
from envbuilder.model.progress import Step
from envbuilder.resolve.context import Context
from envbuilder.storage.store import Store

from .apt import complaints, download, forged, unreachable
from .archives import Archive
from .distribution import Distribution

_Wanted = tuple[Archive, DebPackage]

_CONNECTIONS = 4
_BATCH = 16 << 20  # bytes: one apt-helper for many small files, and progress that moves


def fetch_debs(
    context: Context, debs: Iterable[DebPackage], *, archives: Sequence[Archive]
) -> None:
    """Put those ``debs`` into the store that it lacks, from the first archive that has each.

    Raises ResolutionError that names a file which no archive has (any more) or whose content
    does not match its hash, NetworkError if an archive cannot be reached, BuildError if
    the disk is full.
    """
    store = context.store
    missing = sorted(set(_absent(debs, store)), key=lambda deb: (deb.size, deb))
    if not missing:
        return
    said: list[str] = []
    with (
        context.progress.step(
            "fetch", f"{len(missing)} Debian packages", total=sum(deb.size for deb in missing)
        ) as step,
        store.scratch() as folder,
        ThreadPoolExecutor(_CONNECTIONS) as pool,
    ):
        for turn in range(len(archives)):
            left = [(_ordered(archives, deb)[turn], deb) for deb in _absent(missing, store)]
            batches = _batches(left)
            said += pool.map(lambda batch: _fetch_batch(batch, folder, store, step), batches)
    if lost := _absent(missing, store):
        raise _failure(lost, "\n".join(filter(None, said)), archives[0].of)


def _fetch_batch(wanted: list[_Wanted], folder: Path, store: Store, step: Step) -> str:
    """Download one batch; return what apt said about those that failed."""
    targets = {deb: folder / f"{deb.sha256.hex}.deb" for _, deb in wanted}
    done = download(
        (f"{archive.uri}/{deb.filename}", targets[deb], deb.sha256.hex) for archive, deb in wanted
    )
    for deb, path in targets.items():
        if path.exists():
            store.adopt(path, deb.sha256)
            path.unlink()
            step.advance(deb.size)
    return complaints(done.stderr) if done.returncode else ""


def _ordered(archives: Sequence[Archive], deb: DebPackage) -> list[Archive]:
    """Put the archives first whose pool the file's path belongs to."""
    security = deb.filename.startswith("pool/updates/")
    return sorted(archives, key=lambda archive: archive.security != security)


def _absent(debs: Iterable[DebPackage], store: Store) -> list[DebPackage]:
    return [deb for deb in debs if not store.has(deb.sha256)]


def _batches(wanted: Iterable[_Wanted]) -> list[list[_Wanted]]:
    batches: list[list[_Wanted]] = []
    room = 0
    for archive, deb in wanted:
        if deb.size > room:
            batches.append([])
            room = _BATCH
        batches[-1].append((archive, deb))
        room -= deb.size
    return batches[::-1]  # the largest first: they take longest


def _failure(lost: list[DebPackage], said: str, of: Distribution) -> EnvbuilderError:
    named = ", ".join(f"{deb.name} {deb.version}" for deb in lost[:5])
    more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
    if forged(said):
        return ResolutionError(
            f"a mirror's content is not what the lock says for {named}{more}:\n{said}",
            hint="do not trust that mirror; lock again only if you know why the file changed",
        )
    if "No space left on device" in said:
        return BuildError(
            f"the disk is full: cannot download {named}{more}",
            hint="free some space, run `envbuilder cache prune`, or set ENVBUILDER_CACHE elsewhere",
        )
    if re.search("404 +Not Found|File not found", said) and not unreachable(said):
        return ResolutionError(
            f"no mirror has {named}{more} any longer",
            hint="lock again to take the current versions, or set "
            f"{of.mirror} to a snapshot mirror of the lock's date",
        )
    return NetworkError(
        f"cannot download {named}{more}:\n{said}",
        hint=f"check the network and apt's sources, or set {of.mirror} to another mirror",
    )
