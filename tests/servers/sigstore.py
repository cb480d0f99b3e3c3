"""A private Sigstore on loopback: a CA as Fulcio is, logs as Rekor's (version 1) and a CT log are.

All of it signs for real, under keys of its own, which ``root`` and ``config`` name in the forms
that sigstore and cosign read. What it certifies and logs can be bent, to see that refused.
"""

import base64
import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from .scripted import Call, Scripted, Seen, scripted
from .timestamps import StampAuthority, certificate, key_usage, new_authority, pem, stamping

ISSUER = "https://ci.example.com"
IDENTITY = "https://ci.example.com/acme/envs/build.yml@refs/heads/main"
PERSON = "ann@example.com"
START = "2020-01-01T00:00:00Z"
LOG = "127.0.0.1"  # the host of its address, by which cosign looks for its signature
_SCTS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _spki(key) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _signed(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def token(identity: str = IDENTITY, issuer: str = ISSUER, **more: Any) -> str:
    """Make an identity token as a CI system's provider does; nobody here asks who signed it."""
    now = int(time.time())
    claims = {"iss": issuer, "sub": identity, "aud": "sigstore", "iat": now, "exp": now + 600}
    parts = ({"alg": "RS256", "typ": "JWT"}, {**claims, **more})
    words = [base64.urlsafe_b64encode(_canonical(part)).rstrip(b"=").decode() for part in parts]
    return ".".join([*words, "c2ln"])


@dataclass(kw_only=True)
class Sigstore:
    """Keys of all parts, and the entries of the log; ``age`` is how old a new certificate is."""

    stamps: StampAuthority
    ca_key: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    ct_key: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    log_key: ec.EllipticCurvePrivateKey = field(default_factory=_key)
    entries: list[bytes] = field(default_factory=list)
    age: timedelta = timedelta()
    url: str = ""
    stamps_url: str = ""

    def __post_init__(self) -> None:
        self.ca = certificate(self.ca_key.public_key(), "people's root", by=self.ca_key)

    # -- what is trusted --------------------------------------------------------------------

    def root(self) -> dict[str, Any]:
        """Return all public keys, as ``trusted_root.json`` has them."""
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self._log(self.log_key)],
            "certificateAuthorities": [_authority([self.ca])],
            "ctlogs": [self._log(self.ct_key)],
            "timestampAuthorities": [_authority(self.stamps.chain)],
        }

    def config(self) -> dict[str, Any]:
        """Return the same with where to sign, as ``sigstore --trust-config`` takes it."""
        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.root(),
            "signingConfig": self.signing_config(),
        }

    def signing_config(self, *, stamped: bool = True) -> dict[str, Any]:
        """Return where to sign, as ``cosign --signing-config`` takes it."""
        service = {"majorApiVersion": 1, "validFor": {"start": START}, "operator": "example.com"}
        stamps = [{**service, "url": self.stamps_url}] if stamped else []
        return {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [{**service, "url": self.url}],
            "oidcUrls": [{**service, "url": self.url}],
            "rekorTlogUrls": [{**service, "url": self.url}],
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": stamps,
            "tsaConfig": {"selector": "ANY"} if stamped else {},
        }

    def _log(self, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
        spki = _spki(key.public_key())
        return {
            "baseUrl": self.url or "http://127.0.0.1:1",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": _b64(spki),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": START},
            },
            "logId": {"keyId": _b64(hashlib.sha256(spki).digest())},
        }

    # -- the CA -----------------------------------------------------------------------------

    def certify(self, key, claims: Mapping[str, Any]) -> x509.Certificate:
        """Certify for ten minutes that ``key`` is of whom ``claims`` name."""
        plain = self._certificate(key, claims, scts=None)
        return self._certificate(key, claims, scts=self._scts(plain), like=plain)

    def _certificate(self, key, claims, *, scts, like=None) -> x509.Certificate:
        issuer, identity = str(claims["iss"]), str(claims.get("email", claims["sub"]))
        name = (
            x509.RFC822Name(identity)
            if "@" in identity and "://" not in identity
            else x509.UniformResourceIdentifier(identity)
        )
        start = datetime.now(UTC).replace(microsecond=0) - self.age
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.ca.subject)
            .public_key(key)
            .serial_number(like.serial_number if like else x509.random_serial_number())
            .not_valid_before(like.not_valid_before_utc if like else start)
            .not_valid_after((like.not_valid_before_utc if like else start) + timedelta(minutes=10))
            .add_extension(key_usage(ca=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.ca.public_key()),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
        )
        utf8 = bytes([0x0C, len(issuer)]) + issuer.encode()  # short enough for one byte of length
        more = {_ISSUER: issuer.encode(), _ISSUER_V2: utf8}
        if scts is not None:
            more[_SCTS] = scts
        for oid, value in more.items():
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
        return builder.sign(self.ca_key, hashes.SHA256())

    def _scts(self, plain: x509.Certificate) -> bytes:
        """Promise to log a certificate: a list of one signed certificate timestamp (RFC 6962)."""
        moment = (int(time.time()) * 1000).to_bytes(8)
        body = plain.tbs_certificate_bytes
        issuer = hashlib.sha256(_spki(self.ca.public_key())).digest()
        entry = b"\0\1" + issuer + len(body).to_bytes(3) + body
        signature = _signed(self.ct_key, b"\0\0" + moment + entry + b"\0\0")
        log = hashlib.sha256(_spki(self.ct_key.public_key())).digest()
        sct = b"\0" + log + moment + b"\0\0" + b"\4\3" + len(signature).to_bytes(2) + signature
        listed = len(sct).to_bytes(2) + sct
        listed = len(listed).to_bytes(2) + listed
        assert len(listed) < 256
        head = bytes([4, len(listed)] if len(listed) < 128 else [4, 0x81, len(listed)])
        return head + listed

    # -- the log ----------------------------------------------------------------------------

    def log(self, proposed: Mapping[str, Any]) -> dict[str, Any]:
        """Log a DSSE envelope; give the entry with its promise and its proof."""
        content = proposed["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        payload = base64.b64decode(envelope["payload"])
        verifier = content["verifiers"][0]
        body = _canonical(
            {
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": _sha256(content["envelope"].encode()),
                    "payloadHash": _sha256(payload),
                    "signatures": [
                        {"signature": each["sig"], "verifier": verifier}
                        for each in envelope["signatures"]
                    ],
                },
            }
        )
        self.entries.append(body)
        return self.entry(len(self.entries) - 1)

    def entry(self, index: int, *, moment: int | None = None) -> dict[str, Any]:
        """Give an entry of the log, with a promise of ``moment`` and a proof."""
        body = _b64(self.entries[index])
        log = hashlib.sha256(_spki(self.log_key.public_key())).digest()
        promised = {
            "body": body,
            "integratedTime": int(time.time()) if moment is None else moment,
            "logID": log.hex(),
            "logIndex": index,
        }
        leaves = [hashlib.sha256(b"\0" + each).digest() for each in self.entries]
        root, proof = _tree(leaves), _path(index, leaves)
        note = f"{LOG} - 1\n{len(leaves)}\n{_b64(root)}\n"
        signature = _b64(log[:4] + _signed(self.log_key, note.encode()))
        return {
            **promised,
            "verification": {
                "signedEntryTimestamp": _b64(_signed(self.log_key, _canonical(promised))),
                "inclusionProof": {
                    "checkpoint": f"{note}\n\u2014 {LOG} {signature}\n",
                    "hashes": [each.hex() for each in proof],
                    "logIndex": index,
                    "rootHash": root.hex(),
                    "treeSize": len(leaves),
                },
            },
        }

    # -- on the network ---------------------------------------------------------------------

    def respond(self, call: Call, request: Seen) -> None:
        """Answer as Fulcio and Rekor do."""
        if request.path == "/api/v2/signingCert":
            asked = json.loads(request.body)
            answer = self._issued(asked, request.headers.get("Authorization", ""))
            call.answer(200, json.dumps(answer).encode(), Content_Type="application/json")
        elif request.path == "/api/v1/log/entries":
            entry = self.log(json.loads(request.body))
            name = f"{len(self.entries):064x}"
            body = json.dumps({name: entry}).encode()
            call.answer(201, body, Content_Type="application/json", ETag=name)
        else:
            self._log_in(call, request)

    def _log_in(self, call: Call, request: Seen) -> None:
        """Let whoever comes with a browser be PERSON (OAuth 2, the code flow)."""
        path, _, query = request.path.partition("?")
        if path == "/.well-known/openid-configuration":
            known = {"authorization_endpoint": "/auth", "token_endpoint": "/token"}
            known = {name: f"{self.url}{where}" for name, where in known.items()}
            call.answer(200, json.dumps(known).encode())
        elif path == "/auth":
            asked = parse_qs(query)
            back = urlencode({"code": "c", "state": asked["state"][0]})
            call.answer(302, Location=f"{asked['redirect_uri'][0]}?{back}")
        elif path == "/token":
            call.answer(200, json.dumps({"access_token": token(PERSON)}).encode())
        else:
            call.answer(404)

    def _issued(self, asked: dict[str, Any], authorization: str) -> dict[str, Any]:
        """Certify the key of a request, in sigstore's form of one or in cosign's."""
        if "certificateSigningRequest" in asked:
            raw = base64.b64decode(asked["certificateSigningRequest"])
            key = x509.load_pem_x509_csr(raw).public_key()
        else:
            wanted = asked["publicKeyRequest"]["publicKey"]["content"]
            key = serialization.load_pem_public_key(wanted.encode())
        claims = authorization.removeprefix("Bearer ").split(".")[1]
        cert = self.certify(key, json.loads(base64.urlsafe_b64decode(claims + "==")))
        chain = [pem(each).decode() for each in (cert, self.ca)]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}


def _authority(chain: list[x509.Certificate]) -> dict[str, Any]:
    certificates = [each.public_bytes(serialization.Encoding.DER) for each in chain]
    return {
        "subject": {"organization": "example.com", "commonName": "example"},
        "uri": "http://127.0.0.1:1",
        "certChain": {"certificates": [{"rawBytes": _b64(each)} for each in certificates]},
        "validFor": {"start": START},
    }


def _sha256(data: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


def _split(size: int) -> int:
    """Return where RFC 6962 splits a tree of ``size`` leaves: the last power of two before it."""
    return 1 << (size - 1).bit_length() - 1


def _tree(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    at = _split(len(leaves))
    return hashlib.sha256(b"\1" + _tree(leaves[:at]) + _tree(leaves[at:])).digest()


def _path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    at = _split(len(leaves))
    if index < at:
        return [*_path(index, leaves[:at]), _tree(leaves[at:])]
    return [*_path(index - at, leaves[at:]), _tree(leaves[:at])]


@contextlib.contextmanager
def sigstore(folder: Path) -> Iterator[tuple[Sigstore, Scripted]]:
    """Run a private Sigstore; give it, and what its CA and its log were asked."""
    instance = Sigstore(stamps=new_authority(folder))
    with scripted(instance.respond) as server, stamping(instance.stamps) as stamps_url:
        instance.url, instance.stamps_url = f"http://{server.host}", stamps_url
        yield instance, server
