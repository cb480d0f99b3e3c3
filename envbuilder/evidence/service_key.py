"""Signing keys that never leave a key service, by the addresses of cosign and through its program.

``awskms://…``, ``gcpkms://…``, ``azurekms://…``, ``hashivault://…``, or whatever plugin
``sigstore-kms-NAME`` serves as ``NAME://…``. The service's login is what its own variables say.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envbuilder.model.codec import any_json
from envbuilder.model.errors import MissingToolError, NetworkError, without_login

if TYPE_CHECKING:
    from .keys import PublicKey

_ADDRESS = re.compile(r"[a-z][a-z0-9-]*://\S+")
_SECONDS = 120
# No log, no time stamps, no certificates: a key alone signs, and nothing asks the network for them.
_CONFIG = {
    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
    "rekorTlogConfig": {},
    "tsaConfig": {},
}
_ROOT = {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceKey:
    """The key at ``address`` of a service, and its ``public`` half."""

    address: str
    public: PublicKey

    def public_key(self) -> PublicKey:
        """Return the public half."""
        return self.public

    def sign(self, data: bytes) -> str:
        """Return the service's signature of ``data``, in base64.

        Raises MissingToolError without cosign, NetworkError if the service does not sign.
        """
        with tempfile.TemporaryDirectory(prefix="envbuilder-") as folder:
            blob = Path(folder, "blob")
            blob.write_bytes(data)
            if b"--signing-config" in _cosign("sign-blob", "--help", doing="asking cosign"):
                return self._in_bundle(blob)
            return self._sign(blob, "--tlog-upload=false").decode().strip()

    def _in_bundle(self, blob: Path) -> str:
        """Sign as cosign 3 does, which gives no bare signatures any more."""
        config, root, bundle = (blob.with_name(name) for name in ("config", "root", "bundle"))
        config.write_text(json.dumps(_CONFIG))
        root.write_text(json.dumps(_ROOT))
        self._sign(blob, f"--signing-config={config}", f"--trusted-root={root}",
            f"--bundle={bundle}")  # fmt: skip
        try:
            return str(any_json(bundle.read_bytes())["messageSignature"]["signature"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NetworkError(f"cosign gave no signature by {self.address}") from error

    def _sign(self, blob: Path, *options: str) -> bytes:
        doing = f"signing with {self.address}"
        return _cosign(
            "sign-blob", "--yes", f"--key={self.address}", *options, str(blob), doing=doing
        )


def is_address(source: str) -> bool:
    """Return whether ``source`` names a key of a service, rather than a file or a variable."""
    return _ADDRESS.fullmatch(source) is not None and not source.startswith("env://")


def fetch_public(address: str) -> bytes:
    """Return the public key at ``address`` as PEM; raise MissingToolError, NetworkError."""
    return _cosign("public-key", f"--key={address}", doing=f"reading the key {address}")


def _cosign(*arguments: str, doing: str) -> bytes:
    program = shutil.which("cosign")
    if program is None:
        raise MissingToolError(
            f"{doing}: keys of a service are used through cosign, which is not installed",
            hint="apt-get install cosign",
        )
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NetworkError(f"{doing}: no answer within {_SECONDS} seconds") from None
    if done.returncode:
        raise NetworkError(
            f"{doing}: {_last_words(done.stderr) or f'cosign exited with {done.returncode}'}",
            hint="check the address and the service's login, with cosign public-key --key ADDRESS",
        )
    return done.stdout


def _last_words(stderr: bytes) -> str:
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return without_login(last).removeprefix("error during command execution: ")[:300]
