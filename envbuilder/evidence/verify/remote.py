"""``verify``: ask a registry, level by level, whether an image is the sealed one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from envbuilder.evidence.keyring import Keyring
from envbuilder.evidence.read import is_signed, read_evidence
from envbuilder.evidence.standing import Standings
from envbuilder.evidence.statements import NAMES
from envbuilder.model.errors import LockError, NetworkError, UsageError
from envbuilder.model.image import Image
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Progress
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.model.seal import Seal
from envbuilder.registry.client import Client
from envbuilder.registry.images import read_image
from envbuilder.registry.manifests import INDEX_TYPES, Manifest, NoImageError, Platform
from envbuilder.registry.repository import Repository
from envbuilder.storage.store import Store

from .content import compare_content
from .findings import Finding, FindingStatus, Level, Verdict
from .index import choose, entry_fault
from .layers import LayerReader
from .manifest import compare_manifest
from .policy import SIGNATURE, Policy
from .statements import judge_evidence
from .tables import TableNote, table_note

_ATTESTATION = Platform(os="unknown", architecture="unknown")  # as BuildKit marks its own
_MOST_CHILDREN = 32  # that are looked at for an image


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was read of an image: the manifest, an index before it if there is one, the config."""

    manifests: tuple[Manifest, ...]
    image: Image


def look(client: Client, ref: ImageRef) -> Seen:
    """Read what ``ref`` names, whatever its platform; of an index, the first image that it lists.

    For whoever must know an image's labels to tell which lock it is to be compared with. Raises
    NetworkError.
    """
    repository = client.repository(ref)
    manifest = repository.manifest(ref.digest or ref.tag or "latest")
    if not manifest.is_index:
        return Seen(manifests=(manifest,), image=read_image(repository, manifest))
    for child in manifest.children[:_MOST_CHILDREN]:
        if child.platform != _ATTESTATION:
            with suppress(NoImageError):
                inner = repository.manifest(child.digest)
                return Seen(manifests=(manifest, inner), image=read_image(repository, inner))
    raise NoImageError(
        f"{ref} is an index that lists no image",
        hint="name the lock with --lock NAME to see how it differs",
    )


def verify(
    client: Client,
    ref: ImageRef,
    lock: Lock,
    *,
    level: Level,
    progress: Progress,
    policy: Policy | None = None,
    keyring: Keyring | None = None,
    seen: Seen | None = None,
    store: Store | None = None,
) -> Verdict:
    """Compare the image at ``ref`` with the sealed ``lock``, down to ``level``; pull nothing.

    What does not match, and what could not be looked at, becomes a finding; nothing is raised for
    it. Evidence is looked at where a ``keyring`` is given. What was ``seen`` is not asked again;
    layers that the seal does not prove are read, from ``store`` where it holds them, which forgets
    what it remembers of evidence that is missing. Raises LockError for a lock without a seal,
    UsageError if evidence is asked for but no key is named.
    """
    if lock.seal is None:
        raise LockError(
            f"the lock of {lock.spec.name} has no seal: nothing says what its image should be",
            hint=f"envbuilder build {lock.spec.name}",
        )
    if keyring is None and (level is Level.EVIDENCE or policy is not None):
        raise UsageError(
            "evidence is only as good as the key that signed it, and none is named",
            hint="name the public key with --key FILE, or look less deep with --level 1",
        )
    repository = client.repository(ref)
    running = _Verification(
        repository=repository,
        lock=lock,
        seal=lock.seal,
        reader=LayerReader(repository=repository, store=store, progress=progress),
        seen=seen,
    )
    running.look_up(ref.digest or ref.tag or "latest")
    if level >= Level.CONTENT:
        running.read_content(Platform.parse(lock.spec.platform))
    if level >= Level.EVIDENCE:
        running.read_evidence(policy or Policy(), keyring)
        if store is not None:
            running.doubt_memory(store)
    if level >= Level.PACKAGES:
        running.read_packages()
    return Verdict(
        reference=str(ref), digest=running.digest, level=level, findings=tuple(running.findings)
    )


@dataclass(kw_only=True)
class _Verification:
    """One verification under way: what was found so far, and what the next level stands on."""

    repository: Repository
    lock: Lock
    seal: Seal
    reader: LayerReader
    seen: Seen | None
    findings: list[Finding] = field(default_factory=list)
    digest: Digest | None = None
    image: Image | None = None

    # -- level 0 ----------------------------------------------------------------------------

    def look_up(self, reference: str | Digest) -> None:
        """Ask which manifest ``reference`` names now."""
        try:
            self.digest = self._find(reference)
        except NetworkError as error:
            self._add(Level.DIGEST, "digest", FindingStatus.UNKNOWN, error.message)
            return
        if self.digest is None:
            missing = f"{self.repository} has no {reference}"
            self._add(Level.DIGEST, "digest", FindingStatus.UNKNOWN, missing)
            return
        same = self.digest in self.seal.manifests | self.seal.indexes
        self.findings.append(
            Finding(
                level=Level.DIGEST,
                subject="digest",
                status=FindingStatus.OK if same else FindingStatus.MISMATCH,
                expected=str(self.digest if same else self.seal.index or self.seal.manifest),
                actual=str(self.digest),
                explanation=self._form() if same else "names another manifest than the sealed one",
            )
        )

    def _form(self) -> str:
        """Say which form of the sealed image was found, if it is not its own."""
        forms = (each for each in self.seal.forms if self.digest in {each.manifest, each.index})
        return next((f"the sealed image as {each.compression}" for each in forms), "")

    def _find(self, reference: str | Digest) -> Digest | None:
        if self.seen is not None:
            return self.seen.manifests[0].digest
        return self.repository.find(reference)

    # -- level 1 ----------------------------------------------------------------------------

    def read_content(self, platform: Platform) -> None:
        """Read manifest and config, and blobs that are not sealed; compare them with the seal."""
        if self.digest is None:
            return
        try:
            manifest = self._choose(self._manifest(self.digest), platform)
            if manifest is None:
                return
            self.findings += compare_manifest(self.seal, manifest)
            self.image = self._image(manifest)
        except NoImageError as error:
            self._add(Level.CONTENT, "content", FindingStatus.MISMATCH, error.message)
            return
        except NetworkError as error:
            self._add(Level.CONTENT, "content", FindingStatus.UNKNOWN, error.message)
            self._excuse()
            return
        self.findings += compare_content(self.lock, self.seal, self.image)
        if _same_content(self.seal, self.image) and manifest.digest not in self.seal.manifests:
            notes = _table_notes(manifest)
            self.findings += self.reader.prove(self.seal.layers, self.image.layers, notes)
        self._excuse()

    def _manifest(self, digest: Digest) -> Manifest:
        for known in self.seen.manifests if self.seen is not None else ():
            if known.digest == digest:
                return known
        return self.repository.manifest(digest)

    def _image(self, manifest: Manifest) -> Image:
        if self.seen is not None and self.seen.image.digest == manifest.digest:
            return self.seen.image
        return read_image(self.repository, manifest)

    def _choose(self, manifest: Manifest, platform: Platform) -> Manifest | None:
        """Follow an index, which must leave no choice to whoever pulls."""
        if not manifest.is_index:
            return manifest
        choice = choose(manifest, platform, self.seal.manifests)
        self.findings += choice.findings
        if choice.entry is None or choice.entry.media_type in INDEX_TYPES:
            return None
        chosen = self._manifest(choice.entry.digest)
        if fault := entry_fault(choice.entry, chosen):
            self._add(Level.CONTENT, "index", FindingStatus.MISMATCH, fault)
        return None if chosen.is_index else chosen

    def _excuse(self) -> None:
        """Turn another manifest digest into a note where nothing that it names is wrong."""
        found = {each.status for each in self.findings[1:] if each.level <= Level.CONTENT}
        if (
            self.findings[0].status is FindingStatus.MISMATCH
            and FindingStatus.MISMATCH not in found
        ):
            unread = FindingStatus.UNKNOWN in found
            why = "what it names could not be read" if unread else "of the very same content"
            self.findings[0] = replace(
                self.findings[0],
                status=FindingStatus.NOTE,
                explanation=f"another manifest, or an index: {why}",
            )

    # -- level 2 ----------------------------------------------------------------------------

    def read_evidence(self, policy: Policy, keyring: Keyring | None) -> None:
        """Read what ``keyring`` has signed about the image, and hold it against the policy."""
        if self.digest is None:
            return
        if keyring is None:
            why = "not looked at: no key is named"
            self._add(Level.EVIDENCE, "evidence", FindingStatus.NOTE, why)
            return
        subject = self.digest if self.image is None else self.image.digest
        try:
            if SIGNATURE in policy.required:
                signed = is_signed(self.repository, subject, keyring)
                status = FindingStatus.OK if signed else FindingStatus.MISMATCH
                why = "signed" if signed else "no signature of this image by this key"
                self._add(Level.EVIDENCE, SIGNATURE, status, why)
            wanted = [NAMES[name] for name in policy.required if name in NAMES]
            if not wanted:
                return
            evidence = read_evidence(self.repository, subject, keyring, wanted)
        except NetworkError as error:
            self._add(Level.EVIDENCE, "evidence", FindingStatus.UNKNOWN, error.message)
            return
        self.findings += judge_evidence(evidence, policy, self.lock, datetime.now(UTC))

    def doubt_memory(self, store: Store) -> None:
        """Have the next push look at the evidence itself if some is missing here."""
        subject = self.digest if self.image is None else self.image.digest
        lacking = (Level.EVIDENCE, FindingStatus.MISMATCH)
        if subject and any((each.level, each.status) == lacking for each in self.findings):
            Standings(store, self.repository).forget(subject)

    # -- level 3 ----------------------------------------------------------------------------

    def read_packages(self) -> None:
        """Compare packages with the lock, reading all layers where the content is not sealed."""
        if self.image is None:
            return
        if _same_content(self.seal, self.image):
            why = "in the sealed layers, as locked"
            self._add(Level.PACKAGES, "packages", FindingStatus.OK, why)
            return
        self.findings += self.reader.packages(self.lock, self.image)

    def _add(self, level: Level, subject: str, status: FindingStatus, explanation: str) -> None:
        self.findings.append(
            Finding(level=level, subject=subject, status=status, explanation=explanation)
        )


def _table_notes(manifest: Manifest) -> list[TableNote | None]:
    """Return what each layer's annotations say of a table; what does not fit was told before."""
    notes: list[TableNote | None] = []
    for layer in manifest.layers:
        try:
            notes.append(table_note(layer.annotations))
        except ValueError:
            notes.append(None)
    return notes


def _same_content(seal: Seal, image: Image) -> bool:
    """Return whether the layers claim the sealed content, in the sealed order."""
    return [each.diff_id for each in seal.layers] == [each.diff_id for each in image.layers]
