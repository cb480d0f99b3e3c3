"""What a build may see but an image may not hold: credentials, CA bundles, the SSH agent.

Everything travels as a BuildKit secret mount, out of the user's own file or a variable: no value is
ever an argument of a command, and no copy lies on a disk, where it would outlive a killed build.
What we know to be secret is blotted out of every line that we pass on.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from envbuilder.engines.dockerfile_quoting import csv_row
from envbuilder.model.errors import UsageError, without_login
from envbuilder.model.spec import Secret, Spec
from envbuilder.net.http_server import HOST
from envbuilder.resolve.python.indexes import uv_environment

from .folders import local_folder

_INDEX_VARIABLE = re.compile(
    r"UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX_STRATEGY|INSECURE_HOST|HTTP_TIMEOUT"
    r"|FIND_LINKS)"
    r"|UV_INDEX_\w+_(USERNAME|PASSWORD)"
    r"|PIP_(INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|NO_INDEX)"
)
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY")
_PASSWORD = re.compile(r"://[^/:@\s]*:([^/\s]+)@|\bpassword\s+\"?([^\s\"]+)")  # of a URL, in netrc
_SAID_TO_PIP = {"UV_DEFAULT_INDEX": "PIP_INDEX_URL", "UV_INDEX": "PIP_EXTRA_INDEX_URL"}
_INDEXES = "ENVBUILDER_INDEXES"
_SHORTEST = 6  # a shorter "secret" would blot out half of every line


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """buildx's flags for all secrets, where packages are, and the values to keep out of sight.

    ``proxies`` are variables that flags name; pip's settings may say more of them than this
    machine's environment.
    """

    flags: tuple[str, ...]
    indexes: Mapping[str, str]
    proxies: Mapping[str, str]
    values: frozenset[str]

    @property
    def find_links(self) -> list[str]:
        """List folders and pages of wheels, as the machine names them."""
        return [place for place in self.indexes.get("UV_FIND_LINKS", "").split(",") if place]

    def environ(self, lent: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that buildx reads; of folders, those that are ``lent`` by a URL."""
        told = dict(self.indexes)
        told.pop("UV_FIND_LINKS", None)
        places = (lent.get(p) or (p if local_folder(p) is None else "") for p in self.find_links)
        if reachable := [place for place in places if place]:
            told["UV_FIND_LINKS"] = ",".join(reachable)
            told["PIP_FIND_LINKS"] = " ".join(reachable)
        if lent:  # a proxy has a loopback of its own
            spared = self.proxies.get("no_proxy") or self.proxies.get("NO_PROXY")
            told["no_proxy"] = told["NO_PROXY"] = f"{spared},{HOST}" if spared else HOST
        lines = (f"{name}={shlex.quote(value)}\n" for name, value in sorted(told.items()))
        return {_INDEXES: "".join(lines), **self.proxies}

    def blot(self, text: str) -> str:
        """Take every secret out of ``text``, and credentials out of its URLs."""
        for value in sorted(self.values, key=len, reverse=True):
            text = text.replace(value, "***")
        return without_login(text)


def gather(spec: Spec, environ: Mapping[str, str] = os.environ) -> Secrets:
    """Collect the spec's secrets and this machine's access to indexes.

    Raises UsageError for a secret whose variable or file is missing.
    """
    flags: list[str] = []
    values: set[str] = set()
    for name, secret in sorted(spec.build.secrets.items()):
        flags += ["--secret", _spec_secret(name, secret, environ, values)]
    flags += ["--secret", csv_row("id=env", f"env={_INDEXES}")]
    said = uv_environment(spec.index, environ)
    for name, path in _files(spec, said).items():
        _remember_passwords(_read(name, path), values)
        flags += ["--secret", csv_row(f"id={name}", f"src={path}")]
    if spec.build.ssh:
        if "SSH_AUTH_SOCK" not in environ:
            raise UsageError("build.ssh needs an SSH agent", hint='eval "$(ssh-agent)"; ssh-add')
        flags += ["--ssh", "default"]
    spellings = (name for each in _PROXIES for name in (each, each.lower()))
    proxies = {name: said[name] for name in spellings if said.get(name)}
    for name, address in proxies.items():
        _remember_passwords(address, values)
        # Known to BuildKit as a proxy: in no history, no cache key; value not in argv.
        flags += ["--build-arg", name]
    indexes = _indexes(said, values)
    return Secrets(flags=tuple(flags), indexes=indexes, proxies=proxies, values=frozenset(values))


def _spec_secret(name: str, secret: Secret, environ: Mapping[str, str], values: set[str]) -> str:
    if secret.env is not None:
        if not environ.get(secret.env):
            raise UsageError(
                f"the secret {name} comes from ${secret.env}, which is not set",
                hint=f"export {secret.env}=…",
            )
        _remember(environ[secret.env], values)
        return csv_row(f"id={name}", f"env={secret.env}")
    path = Path(secret.file or "").expanduser()
    _remember(_read(name, path), values)
    return csv_row(f"id={name}", f"src={path.absolute()}")


def _read(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"the secret {name} cannot be read: {path}: {error.strerror}") from error


def _remember(text: str, values: set[str]) -> None:
    values |= {line.strip() for line in text.splitlines() if len(line.strip()) >= _SHORTEST}


def _remember_passwords(text: str, values: set[str]) -> None:
    _remember("\n".join(map("".join, _PASSWORD.findall(text))), values)


def _indexes(said: Mapping[str, str], values: set[str]) -> dict[str, str]:
    """Collect the variables that say where packages come from, for uv and for pip."""
    told = {name: value for name, value in said.items() if _INDEX_VARIABLE.fullmatch(name)}
    for uv, pip in _SAID_TO_PIP.items():
        if uv in told:
            told.setdefault(pip, told[uv])
    for name, value in told.items():
        _remember_passwords(value, values)
        if name.endswith("_PASSWORD"):
            _remember(value, values)
    return told


def _files(spec: Spec, environ: Mapping[str, str]) -> dict[str, Path]:
    """Find the files that every step may mount: CA bundle, netrc, uv's configuration."""
    home = Path(environ.get("HOME", "/nonexistent"))
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    if spec.build.ca is not None and not Path(spec.build.ca).expanduser().is_file():
        raise UsageError(f"build.ca: there is no file {spec.build.ca}")
    wanted: dict[str, list[str | Path | None]] = {
        "ca": [spec.build.ca, *(environ.get(variable) for variable in _CA_VARIABLES)],
        "netrc": [environ.get("NETRC"), home / ".netrc"],
        "uv": [environ.get("UV_CONFIG_FILE"), config / "uv/uv.toml", "/etc/uv/uv.toml"],
    }
    found = {}
    for name, candidates in wanted.items():
        paths = (Path(each).expanduser() for each in candidates if each)
        if (path := next((each for each in paths if each.is_file()), None)) is not None:
            found[name] = path.absolute()
    return found
