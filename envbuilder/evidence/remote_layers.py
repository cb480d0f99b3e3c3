"""A registry as the store of many machines: layers by what they are made of, signed by the team.

What lies under a tag proves nothing. So each entry carries a statement, signed by a key of the
team, that names the layers (digest, size, diff_id) which somebody made of these very inputs; what
no trusted key has signed does not exist. The blobs prove themselves by their digests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from envbuilder.model.codec import MisfitError, from_plain, to_plain
from envbuilder.model.errors import UsageError
from envbuilder.model.image import OCI_MANIFEST, Layer, canonical_json
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.net.messages import MissingError
from envbuilder.registry.client import Client
from envbuilder.registry.images import layer_descriptor
from envbuilder.registry.manifests import EMPTY, EMPTY_TYPE, Manifest, NoImageError
from envbuilder.registry.repository import ForbiddenError, Repository
from envbuilder.registry.uploads import put_bytes

from . import dsse
from .bundle import Document
from .keyring import Keyring, Opened
from .keys import PrivateKey, read_private, read_public
from .statements import Statement, parse_statement

ARTIFACT = "application/vnd.gpu-envbuilder.layers.v1+json"
PREDICATE = "https://gpu-envbuilder.dev/layers/v1"
_STATEMENT = "dev.gpu-envbuilder.layers"
_WORKERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings:
    """Where a team shares its layers, whose signatures count there, and with which key we sign.

    ``trust`` names public keys, ``key`` the private one (files or ``env://NAME``); without it this
    machine only reads.
    """

    place: ImageRef
    trust: tuple[str, ...]
    key: str | None = None

    def open(self, registries: Client) -> SignedLayers:
        """Open the place; nothing is asked of it yet. Raises UsageError for unusable keys.

        What our own key has signed counts, too.
        """
        own = None if self.key is None else read_private(self.key)
        keys = [read_public(name) for name in self.trust]
        if own is not None:
            keys.append(own.public_key())
        if not keys:
            raise UsageError(
                f"the layers in {self.place} count for nothing without a key to trust",
                hint="name the team's public keys in ENVBUILDER_REMOTE_STORE_TRUST",
            )
        return SignedLayers(
            place=self.place, registries=registries, trusted=Keyring.of(*keys), key=own
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedLayers:
    """The layers in the repository ``place`` that a key of ``trusted`` vouches for.

    With ``key``, what this machine makes is put there as well.
    """

    place: ImageRef
    registries: Client
    trusted: Keyring
    key: PrivateKey | None = None

    @property
    def repository(self) -> Repository:
        """The place, opened: only now, since a login may be a program that takes its time."""
        return self.registries.repository(self.place)

    def find(self, keys: Sequence[str]) -> Mapping[str, tuple[Layer, ...]]:
        """Return the layers of those ``keys`` that are there and vouched for: a request for each.

        Raises NetworkError if the registry cannot be reached.
        """
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="remote") as pool:
            found = zip(keys, pool.map(self._find, keys), strict=True)
            return {key: layers for key, layers in found if layers is not None}

    def lacking(self, made: Mapping[str, tuple[Layer, ...]]) -> Mapping[str, tuple[Layer, ...]]:
        """Return what of ``made`` is not there yet; nothing without a key."""
        if self.key is None:
            return {}
        known = self.find(list(made))
        return {key: layers for key, layers in made.items() if key not in known}

    def vouch(self, made: Mapping[str, tuple[Layer, ...]]) -> None:
        """State what was ``made``, once its blobs are there; raises NetworkError."""
        if self.key is None:
            return
        target = self.repository.for_writing()
        for key, layers in made.items():
            self._state(target, key, layers, self.key)

    def _find(self, key: str) -> tuple[Layer, ...] | None:
        try:
            manifest = self.repository.manifest(_tag(key))
        except (MissingError, ForbiddenError, NoImageError):
            return None
        notes = manifest.content.get("annotations")
        envelope = notes.get(_STATEMENT) if isinstance(notes, dict) else None
        return self._vouched(key, envelope) if isinstance(envelope, str) else None

    def _vouched(self, key: str, envelope: str) -> tuple[Layer, ...] | None:
        """Return what a signed statement says of ``key``; None for anything else, or too old."""
        opened = self.trusted.open(Document(envelope=envelope.encode()))
        if not isinstance(opened, Opened):
            return None
        statement = parse_statement(opened.payload, _subject(key))
        if statement is None or statement.predicate_type != PREDICATE:
            return None
        try:
            stated = from_plain(dict(statement.predicate), _Stated)
        except MisfitError:  # what another version of us wrote is made again
            return None
        moment = _moment(stated.made)
        return stated.layers if any(each.holds(moment) for each in opened.signers) else None

    def _state(
        self, target: Repository, key: str, layers: tuple[Layer, ...], signing: PrivateKey
    ) -> None:
        made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        predicate = to_plain(_Stated(made=made, layers=layers))
        statement = Statement(subject=_subject(key), predicate_type=PREDICATE, predicate=predicate)
        envelope = dsse.sign(statement.payload("layers"), signing).decode()
        content = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": ARTIFACT,
            "config": put_bytes(target, EMPTY, EMPTY_TYPE).to_json(),
            "layers": [layer_descriptor(layer).to_json() for layer in layers],
            "annotations": {_STATEMENT: envelope},
        }
        manifest = Manifest(body=canonical_json(content), media_type=OCI_MANIFEST)
        target.put_manifest(manifest, _tag(key))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stated:
    """What a statement says: when (RFC 3339) which layers were made of the inputs."""

    made: str
    layers: tuple[Layer, ...]


def _subject(key: str) -> Digest:
    return Digest.of(key.encode())


def _tag(key: str) -> str:
    return f"layers-{_subject(key).hex}"


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
