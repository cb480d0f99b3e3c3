"""apt in a private root: its own sources, lists and empty dpkg status, never the host's.

What the host configured for transport (proxies, CA bundles, ``auth.conf``) still counts, since
apt.conf(5) lets ``-c FILE`` override the host's files key by key. Signatures are always verified.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote

from envbuilder.model.errors import EnvbuilderError, MissingToolError, NetworkError, ResolutionError

from .archives import Archive
from .distribution import DEBIAN, Distribution

_HELPER = Path("/usr/lib/apt/apt-helper")
_NOISE = ("Some index files failed to download", "Download Failed")
_ENVIRONMENT = {"LC_ALL": "C", "LANGUAGE": "C", "DEBIAN_FRONTEND": "noninteractive"}

# The host's hooks must not run for us, and nothing may weaken what a signature proves. apt counts
# itself among the essential packages unless ForceEssential names another: an image needs no apt.
_CONFIGURATION = """\
Dir::State "{root}";
Dir::State::lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Etc::sourcelist "{root}/archives.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "{root}/preferences";
Dir::Etc::preferencesparts "/dev/null";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Update::Pre-Invoke;
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Default-Release "";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "2";
pkgCacheGen::ForceEssential ",";
"""


class PrivateApt:
    """apt for ``architecture`` over ``archives``, with all its files in ``root``."""

    def __init__(self, root: Path, *, architecture: str, archives: Sequence[Archive]) -> None:
        self._of = archives[0].of if archives else DEBIAN
        self._config = root / "apt.conf"
        self._preferences = root / "preferences"
        for folder in ("lists/partial", "cache/archives/partial"):
            (root / folder).mkdir(parents=True)
        (root / "status").touch()
        self._preferences.touch()
        (root / "archives.sources").write_text("\n".join(map(Archive.deb822, archives)))
        self._config.write_text(_CONFIGURATION.format(root=root, architecture=architecture))

    @property
    def name(self) -> str:
        """The name of the distribution whose archives these are."""
        return self._of.name

    def update(self) -> None:
        """Fetch the package lists; raise NetworkError, ResolutionError or MissingToolError."""
        done = self._run("apt-get", "update")
        if done.returncode:
            raise _update_failure(done.stderr, self._of)

    def prefer(self, versions: Iterable[tuple[str, str]]) -> None:
        """Hold (package, version) pairs wherever the archive still has that version."""
        pins = (
            f"Package: {name}\nPin: version {version}\nPin-Priority: 1001\n"
            for name, version in versions
        )
        self._preferences.write_text("\n".join(pins))

    def names(self) -> frozenset[str]:
        """Return the names of all packages that the archives hold."""
        return frozenset(self._output("apt-cache", "pkgnames").split())

    def versions(self, name: str) -> list[str]:
        """Return the versions of one package, newest first."""
        lines = self._output("apt-cache", "madison", name).splitlines()
        return list(dict.fromkeys(line.split("|")[1].strip() for line in lines))

    def closure(self, packages: Iterable[str]) -> list[tuple[str, str]]:
        """Solve for the essential packages and ``packages``: what would be installed.

        Returns (package, version) pairs; raises ResolutionError with apt's own explanation.
        """
        # Not --simulate: it solves the same again for each package that it pretends to install.
        arguments = ("--print-uris", "--yes", "install", "?essential", *packages)
        done = self._run("apt-get", *arguments)
        if done.returncode:
            raise ResolutionError(
                f"apt finds no set of packages that fits:\n{_explanation(done)}",
                hint="change the versions pinned under `system: packages:`",
            )
        files = re.findall(r"^'\S+' ([^\s_]+)_([^\s_]+)_\S+\.deb \d", done.stdout, re.MULTILINE)
        return [(unquote(name), unquote(version)) for name, version in files]

    def records(self, versions: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
        """Return the archive's one-line fields for each (package, version) pair."""
        wanted = [f"{name}={version}" for name, version in versions]
        return parse_records(self._output("apt-cache", "show", "--no-all-versions", *wanted))

    def _output(self, program: str, *arguments: str) -> str:
        done = self._run(program, *arguments)
        if done.returncode:
            raise ResolutionError(f"{program} {arguments[0]} failed:\n{_explanation(done)}")
        return done.stdout

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_apt(program, "-c", str(self._config), *arguments)


def parse_records(text: str) -> list[dict[str, str]]:
    """Read the one-line fields of each stanza of a package index."""
    return [
        dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, re.MULTILINE))
        for stanza in text.split("\n\n")
        if stanza.strip()
    ]


def download(wanted: Iterable[tuple[str, Path, str]]) -> subprocess.CompletedProcess[str]:
    """Download (URI, target, SHA-256 in hex) triples with the host's transport settings.

    apt checks each hash and leaves out what does not match; the caller looks which targets are
    there, and at ``stderr`` for why the others are not.
    """
    triples = [str(part) for uri, to, hexed in wanted for part in (uri, to, f"SHA256:{hexed}")]
    options = ("-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=2")
    return run_apt(str(_HELPER), *options, "download-file", *triples)


def run_apt(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of apt's programs; raise MissingToolError if this machine has none."""
    if shutil.which(program) is None:
        raise MissingToolError(
            "apt is not installed; Debian bases are resolved and fetched with it",
            hint="run this on Debian or Ubuntu, or `apt-get install apt debian-archive-keyring`",
        )
    return subprocess.run(
        [program, *arguments],
        env=os.environ | _ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def complaints(stderr: str) -> str:
    """Return the lines in which apt says what failed, once each."""
    lines = re.findall(r"^[EW]: (.*)$", stderr, re.MULTILINE)
    told = [line for line in dict.fromkeys(lines) if not line.startswith(_NOISE)]
    return "\n".join(told) or stderr.strip()


def unreachable(said: str) -> bool:
    """Return whether apt's complaints tell of a network that does not answer."""
    return re.search(r"ould not (connect|resolve)|Unable to connect|timed out", said) is not None


def forged(said: str) -> bool:
    """Return whether apt's complaints tell of content that is not what was signed or locked.

    A page that stands in the place of all content (NOSPLIT) is a network's that wants a login.
    """
    signs = "Hash Sum mismatch|unexpected size|signatures were invalid|is not signed"
    return re.search(signs, said) is not None and "NOSPLIT" not in said


def _explanation(done: subprocess.CompletedProcess[str]) -> str:
    """Return apt's "unmet dependencies" block, which goes to stdout, and its errors."""
    _, marker, unmet = done.stdout.partition("The following packages have unmet dependencies:\n")
    return f"{unmet if marker else ''}{complaints(done.stderr)}"


def _update_failure(stderr: str, of: Distribution) -> EnvbuilderError:
    said = complaints(stderr)
    if re.search(r"NO_PUBKEY|Missing key|public key is not available", said):
        return MissingToolError(
            f"this machine lacks the key that signs the {of.name} archive:\n{said}",
            hint=f"apt-get update && apt-get install {of.keys}, or name a keyring in "
            f"{of.keyring_variable}",
        )
    if forged(said):
        return ResolutionError(
            f"a mirror's package lists are not what {of.name} signed:\n{said}",
            hint="do not trust that mirror; one that is just being filled is whole again later: "
            f"wait, or set {of.mirror} to another",
        )
    if re.search(r"404 +Not Found|does not have a Release file", said) and not unreachable(said):
        return ResolutionError(
            f"a mirror does not hold the suite:\n{said}",
            hint=f"check `base: {of.id}:` in the spec, or set {of.mirror} to another mirror",
        )
    return NetworkError(
        f"cannot read the package lists of the {of.name} archive:\n{said}",
        hint=f"check the network and apt's sources, or set {of.mirror} to another mirror",
    )
