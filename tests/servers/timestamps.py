"""A time stamp authority (RFC 3161) on loopback: OpenSSL signs, under a root of its own."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .scripted import scripted

_CONFIG = """\
[tsa]
default_tsa = mine
[mine]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1
ordering = no
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


@dataclass(kw_only=True)
class StampAuthority:
    """Its certificates (the stamping one first, the root last), and a folder with all it needs.

    Its clock stands at ``at``; None if it is right.
    """

    folder: Path
    chain: list[x509.Certificate]
    at: datetime | None = None

    @property
    def file(self) -> Path:
        """The certificates in PEM, as a policy names them."""
        return self.folder / "chain.pem"

    def stamp(self, query: bytes) -> bytes:
        """Answer a query."""
        asked = self.folder / "query"
        asked.write_bytes(query)
        command = [
            "openssl", "ts", "-reply", "-config", self.folder / "config", "-section", "mine",
            "-queryfile", asked, "-signer", self.folder / "tsa.pem",
            "-inkey", self.folder / "tsa.key",
        ]  # fmt: skip
        if self.at is not None:
            moment = self.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
            command = ["faketime", moment, *command]
        return subprocess.run(command, capture_output=True, check=True).stdout


def new_authority(folder: Path, *, purpose=ExtendedKeyUsageOID.TIME_STAMPING) -> StampAuthority:
    """Make a root, and the certificate of an authority that it signs for ``purpose``."""
    folder.mkdir()
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = certificate(root_key.public_key(), "stamps' root", by=root_key)
    usage = x509.ExtendedKeyUsage([purpose])
    leaf = certificate(key.public_key(), "stamps", by=root_key, issuer=root, more=[(usage, True)])
    chain = [leaf, root]
    (folder / "chain.pem").write_bytes(b"".join(map(pem, chain)))
    (folder / "tsa.pem").write_bytes(pem(leaf))
    (folder / "tsa.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "config").write_text(_CONFIG.format(folder=folder))
    (folder / "serial").write_text("01\n")
    return StampAuthority(folder=folder, chain=chain)


def pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def certificate(key, name, *, by, issuer=None, more=(), days=3650) -> x509.Certificate:
    """Certify ``key``, as a root or under ``issuer``; ``more`` are extensions, critical or not."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.now(UTC) - timedelta(days=days)
    ca = issuer is None
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + 2 * timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(key_usage(ca=ca), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
        )
    )
    for extension, critical in more:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(by, hashes.SHA256())


def key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


@contextlib.contextmanager
def stamping(authority: StampAuthority) -> Iterator[str]:
    """Serve ``authority`` on loopback; give its address."""
    with scripted(
        lambda call, request: call.answer(
            200, authority.stamp(request.body), Content_Type="application/timestamp-reply"
        )
    ) as server:
        yield f"http://{server.host}/api/v1/timestamp"
