"""Sign as somebody rather than with a key: a CI job, or a person who logs in.

For whomever an identity token names, Sigstore's CA certifies a key that lives as long as this
process; its log keeps signature, name and digests for everyone to see, and for good.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.x509 import UnrecognizedExtension

from envbuilder.model.errors import EnvbuilderError, NetworkError, UsageError, without_login

from .bundle import parse_bundle
from .extra import keyless_extra
from .identities import IdentityRoot, TrustedIdentity, UntrustedError, names_of, public_instance
from .keyring import Keyring

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken
    from sigstore.sign import Signer

TRUST_VARIABLE = "ENVBUILDER_TRUST_CONFIG"
_ENVIRONMENT = "env://"
_ISSUER = "1.3.6.1.4.1.57264.1.8"  # an extension of Sigstore's certificates: who named the owner
_LIMIT = 64 << 10  # bytes of a token
_CAMEL = re.compile("(?<!^)([A-Z])")
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")  # a JSON web token


class KeylessSigner:
    """Signs as whom ``ask`` says that we are, which is asked when the first thing is signed.

    Tokens and certificates live for minutes only, and an image may take longer to push.
    """

    def __init__(self, ask: Callable[[], IdentityToken], config: ClientTrustConfig) -> None:
        self._ask = ask
        self._config = config

    @property
    def name(self) -> str:
        """The URI of the workflow, or of the person."""
        who = self.identity.identity
        return who if "://" in who else f"mailto:{who}"

    @property
    def keyring(self) -> Keyring:
        """Whatever this identity has signed."""
        return Keyring(identities=(self.identity,))

    @property
    def identity(self) -> TrustedIdentity:
        """Who we are, as the CA has it."""
        return self._opened[1]

    def bundle(self, payload: bytes) -> bytes:
        """Sign an in-toto statement, have it logged, and check what came of it.

        Raises UsageError where we may not sign, and NetworkError.
        """
        from sigstore.dsse import Statement  # noqa: PLC0415 (an extra)

        signer, identity = self._opened
        with _translated("signing"):
            body = signer.sign_dsse(Statement(payload)).to_json().encode()
        document = parse_bundle(body)
        try:
            if document is None or identity.prove(document).payload != payload:
                raise NetworkError("Sigstore gave a bundle of something else")
        except UntrustedError as error:
            raise NetworkError(f"what Sigstore signed does not hold: {error}") from error
        return body

    @cached_property
    def _opened(self) -> tuple[Signer, TrustedIdentity]:
        from sigstore.sign import SigningContext  # noqa: PLC0415 (an extra)

        with _translated("asking who we are"):
            token = self._ask()
        with _translated("asking for a certificate"):
            root = IdentityRoot.of(self._config.trusted_root)
            context = SigningContext.from_trust_config(self._config)
            with context.signer(token) as signer:
                # The only way to learn the name that the CA gives us: the token's need not be it.
                return signer, _identity(signer._signing_cert(), root)


def open_signer(
    token: str | None, environ: Mapping[str, str] = os.environ, *, interactive: bool | None = None
) -> KeylessSigner:
    """Return who signs as whom we are; see that there is somebody.

    ``token`` names an identity token: a file, or ``env://NAME``. Without one it is the CI system's
    or, where somebody sits at a terminal (``interactive``), of whoever logs in with a browser.
    $ENVBUILDER_TRUST_CONFIG names a Sigstore of one's own, as ``sigstore --trust-config``.

    Raises UsageError, NetworkError, and MissingToolError without the extra.
    """
    with keyless_extra("signing without a key"):
        from sigstore.oidc import IdentityToken, Issuer, detect_credential  # noqa: PLC0415

    def known() -> IdentityToken | None:
        raw = _read_token(token, environ) if token else detect_credential()
        return IdentityToken(raw) if raw else None

    here = sys.stdin.isatty() and sys.stderr.isatty() if interactive is None else interactive
    with _translated("asking who we are"):
        if known() is None and not here:
            raise UsageError(
                "there is nobody to sign as: no CI system that we know, and no terminal",
                hint="in GitHub Actions set permissions: id-token: write, in GitLab id_tokens: "
                "SIGSTORE_ID_TOKEN; or give --identity-token FILE",
            )
    config = _trust_config(environ.get(TRUST_VARIABLE, ""))

    def ask() -> IdentityToken:
        return known() or Issuer(config.signing_config.get_oidc_url()).identity_token()

    return KeylessSigner(ask, config)


def _trust_config(path: str) -> ClientTrustConfig:
    """Read where to sign and whom to believe; Sigstore's public instance if ``path`` is empty."""
    from sigstore.errors import Error  # noqa: PLC0415 (an extra)
    from sigstore.models import ClientTrustConfig  # noqa: PLC0415 (an extra)

    if not path:
        return public_instance(f"{TRUST_VARIABLE} names the trust configuration of another one")
    try:
        return ClientTrustConfig.from_json(Path(path).read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{TRUST_VARIABLE}: cannot read {path}: {error.strerror}") from error
    except (Error, ValueError) as error:
        raise UsageError(
            f"{TRUST_VARIABLE}: {path} is no trust configuration of Sigstore's",
            hint="expected the JSON that sigstore --trust-config takes",
        ) from error


def _read_token(source: str, environ: Mapping[str, str]) -> str:
    """Read an identity token; raise UsageError if there is none. Never shows it."""
    if source.startswith(_ENVIRONMENT):
        name = source.removeprefix(_ENVIRONMENT)
        if not environ.get(name):
            raise UsageError(f"the variable {name}, which should hold an identity token, is empty")
        return environ[name].strip()
    if _TOKEN.fullmatch(source):
        raise UsageError(
            "an identity token on the command line is for every process to see",
            hint="put it into a file, or name its variable: --identity-token env://NAME",
        )
    try:
        with Path(source).open("rb") as file:
            return file.read(_LIMIT).decode().strip()
    except OSError as error:
        raise UsageError(f"cannot read the token {source}: {error.strerror}") from error
    except ValueError:
        raise UsageError(f"{source} holds no identity token") from None


def _identity(certificate: Certificate, root: IdentityRoot) -> TrustedIdentity:
    """Read whom a certificate names, and who says so."""
    from cryptography.hazmat import asn1  # noqa: PLC0415 (comes with the extra)

    named = (each.value for each in certificate.extensions if each.oid.dotted_string == _ISSUER)
    issuer = next(iter(named), None)
    names = names_of(certificate)
    if not names or not isinstance(issuer, UnrecognizedExtension):
        raise NetworkError("the certificate that Sigstore's CA gave names nobody")
    return TrustedIdentity(identity=names[0], issuer=asn1.decode_der(str, issuer.value), root=root)


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Raise what goes wrong at Sigstore, or with our own name there, as errors of ours."""
    from sigstore.oidc import ExpiredIdentity, IdentityError  # noqa: PLC0415 (an extra)

    try:
        yield
    except EnvbuilderError:
        raise
    except (IdentityError, ExpiredIdentity) as error:
        what = str(error) or "the identity token is too old"
        raise UsageError(f"{doing}: {what}", hint="ask the provider for a new one") from error
    except Exception as error:  # the library has no class for all that servers do wrong
        why = str(error) or str(error.__cause__ or _CAMEL.sub(r" \1", type(error).__name__))
        raise NetworkError(f"Sigstore, {doing}: {without_login(why)[:300]}") from error
