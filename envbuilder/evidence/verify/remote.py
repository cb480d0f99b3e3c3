"""``verify``: ask a registry, level by level, whether an image is the sealed one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from envbuilder.evidence.keys import PublicKey
from envbuilder.evidence.read import is_signed, read_evidence
from envbuilder.evidence.statements import NAMES
from envbuilder.layers.contents import Contents, scan
from envbuilder.layers.untar import untar
from envbuilder.model.errors import BuildError, LockError, MismatchError, NetworkError, UsageError
from envbuilder.model.image import Image, Layer
from envbuilder.model.lock import ImageBase, Lock, Seal
from envbuilder.model.progress import Progress
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.registry.client import Client
from envbuilder.registry.images import read_image
from envbuilder.registry.manifests import Manifest, Platform
from envbuilder.registry.open_image import in_registry
from envbuilder.registry.repository import Repository
from envbuilder.registry.streams import scan_layer
from envbuilder.storage.store import Store

from .content import compare_content, unproven
from .findings import Finding, FindingStatus, Level, Verdict
from .packages import compare_base, compare_packages
from .policy import SIGNATURE, Policy
from .statements import judge_evidence

_ATTESTATION = Platform(os="unknown", architecture="unknown")  # as BuildKit marks its own


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
    manifests: tuple[Manifest, ...] = (manifest,)
    if manifest.is_index:
        children = (child for child in manifest.children if child.platform != _ATTESTATION)
        first = next(children, None)
        if first is None:
            raise NetworkError(f"{ref} is an index that lists no image")
        manifest = repository.manifest(first.digest)
        manifests = (*manifests, manifest)
    return Seen(manifests=manifests, image=read_image(repository, manifest))


def verify(
    client: Client,
    ref: ImageRef,
    lock: Lock,
    *,
    level: Level,
    progress: Progress,
    policy: Policy | None = None,
    key: PublicKey | None = None,
    seen: Seen | None = None,
    store: Store | None = None,
) -> Verdict:
    """Compare the image at ``ref`` with the sealed ``lock``, down to ``level``; pull nothing.

    What does not match, and what could not be looked at, becomes a finding; nothing is raised for
    it. Evidence is looked at where a ``key`` is given. What was ``seen`` is not asked for again,
    and layers that ``store`` holds are read there. Raises LockError for a lock without a seal,
    UsageError where evidence is asked for but no key is named.
    """
    if lock.seal is None:
        raise LockError(
            f"the lock of {lock.spec.name} has no seal: nothing says what its image should be",
            hint=f"envbuilder build {lock.spec.name}",
        )
    if key is None and (level is Level.EVIDENCE or policy is not None):
        raise UsageError(
            "evidence is only as good as the key that signed it, and none is named",
            hint="name the public key with --key FILE, or look less deep with --level 1",
        )
    repository = client.repository(ref)
    running = _Verification(
        repository=repository,
        lock=lock,
        seal=lock.seal,
        progress=progress,
        seen=seen,
        store=store,
    )
    running.look_up(ref.digest or ref.tag or "latest")
    if level >= Level.CONTENT:
        running.read_content(Platform.parse(lock.spec.platform))
    if level >= Level.EVIDENCE:
        running.read_evidence(policy or Policy(), key)
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
    progress: Progress
    seen: Seen | None
    store: Store | None
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
        same = self.digest == self.seal.manifest
        self.findings.append(
            Finding(
                level=Level.DIGEST,
                subject="digest",
                status=FindingStatus.OK if same else FindingStatus.MISMATCH,
                expected=str(self.seal.manifest),
                actual=str(self.digest),
                explanation="" if same else "names another manifest than the sealed one",
            )
        )

    def _find(self, reference: str | Digest) -> Digest | None:
        if self.seen is not None:
            return self.seen.manifests[0].digest
        return self.repository.find(reference)

    # -- level 1 ----------------------------------------------------------------------------

    def read_content(self, platform: Platform) -> None:
        """Read manifest and config, and compare them with the seal."""
        if self.digest is None:
            return
        try:
            manifest = self._choose(self._manifest(self.digest), platform)
            if manifest is None:
                return
            self.image = self._image(manifest)
        except NetworkError as error:
            self._add(Level.CONTENT, "content", FindingStatus.UNKNOWN, error.message)
            return
        self.findings += compare_content(self.lock, self.seal, self.image)
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
        fitting = [
            child
            for child in manifest.children
            if child.platform is None or platform.accepts(child.platform)
        ]
        if len(fitting) != 1:
            what = f"the tag names an index with {len(fitting)} images for {platform}"
            self._add(Level.CONTENT, "index", FindingStatus.MISMATCH, what)
        sealed = [child for child in fitting if child.digest == self.seal.manifest]
        return self._manifest((sealed or fitting)[0].digest) if fitting else None

    def _excuse(self) -> None:
        """Turn another manifest digest into a note where all that it names is as sealed."""
        others = [each for each in self.findings[1:] if each.level <= Level.CONTENT]
        if self.findings[0].status is FindingStatus.MISMATCH and not any(
            each.status is FindingStatus.MISMATCH for each in others
        ):
            self.findings[0] = replace(
                self.findings[0],
                status=FindingStatus.NOTE,
                explanation="another manifest, or an index, of the very same content",
            )

    # -- level 2 ----------------------------------------------------------------------------

    def read_evidence(self, policy: Policy, key: PublicKey | None) -> None:
        """Read what ``key`` has signed about the image, and hold it against the policy."""
        if self.digest is None:
            return
        if key is None:
            why = "not looked at: no key is named"
            self._add(Level.EVIDENCE, "evidence", FindingStatus.NOTE, why)
            return
        subject = self.digest if self.image is None else self.image.digest
        try:
            if SIGNATURE in policy.required:
                signed = is_signed(self.repository, subject, key)
                status = FindingStatus.OK if signed else FindingStatus.MISMATCH
                why = "signed" if signed else "no signature of this image by this key"
                self._add(Level.EVIDENCE, SIGNATURE, status, why)
            wanted = [NAMES[name] for name in policy.required if name in NAMES]
            evidence = read_evidence(self.repository, subject, key, wanted)
        except NetworkError as error:
            self._add(Level.EVIDENCE, "evidence", FindingStatus.UNKNOWN, error.message)
            return
        self.findings += judge_evidence(evidence, policy, self.lock, datetime.now(UTC))

    # -- level 3 ----------------------------------------------------------------------------

    def read_packages(self) -> None:
        """Read the layers that the seal does not prove, and compare what is in them."""
        if self.image is None:
            return
        sealed, found = self.seal.layers, self.image.layers
        if [each.diff_id for each in sealed] == [each.diff_id for each in found]:
            for number, layer in unproven(sealed, found):
                self._prove(f"layer {number}", layer)
            self._add(
                Level.PACKAGES, "packages", FindingStatus.OK, "in the sealed layers, as locked"
            )
            self._excuse()
            return
        if isinstance(self.lock.base, ImageBase):
            self.findings.append(compare_base(self.lock.base, self.image))
        opened = in_registry(self.repository, self.image)
        opened = replace(opened, scan_layer=lambda layer, _hashed: self._scan(layer))
        try:
            contents = opened.contents(self.progress)
        except MismatchError as error:
            self._add(Level.PACKAGES, "layers", FindingStatus.MISMATCH, error.message)
        except NetworkError as error:
            self._add(Level.PACKAGES, "layers", FindingStatus.UNKNOWN, error.message)
        else:
            self.findings += compare_packages(self.lock, contents)

    def _scan(self, layer: Layer) -> Contents:
        """Read a layer: in the store where that holds it, and nothing of it is wrong."""
        if self.store is not None and self.store.has(layer.digest):
            path = self.store.path(layer.digest)
            with suppress(BuildError), untar(path, layer.media_type, layer.diff_id) as tar:
                return scan(tar)
        return scan_layer(self.repository, layer)

    def _prove(self, subject: str, layer: Layer) -> None:
        """Read a blob that claims a sealed layer's content, and settle what was said of it."""
        place = next(n for n, each in enumerate(self.findings) if each.subject == subject)
        try:
            with self.progress.step("read", layer.title or subject, total=layer.size) as step:
                self._scan(layer)
                step.advance(layer.size)
        except MismatchError as error:
            settled = replace(self.findings[place], explanation=error.message)
        except NetworkError as error:
            settled = replace(
                self.findings[place], status=FindingStatus.UNKNOWN, explanation=error.message
            )
        else:
            why = "compressed anew; its content was read, and is the sealed one"
            settled = replace(self.findings[place], status=FindingStatus.NOTE, explanation=why)
        self.findings[place] = settled

    def _add(self, level: Level, subject: str, status: FindingStatus, explanation: str) -> None:
        self.findings.append(
            Finding(level=level, subject=subject, status=status, explanation=explanation)
        )
