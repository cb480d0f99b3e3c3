"""A small Debian archive on loopback: real .deb files, real signatures, a mirror that can break."""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from envbuilder.resolve.debian.archives import Archive

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


@dataclass(frozen=True, kw_only=True)
class Deb:
    """What a package is made of; ``files`` maps paths to content."""

    name: str
    version: str = "1.0"
    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def pool(self) -> str:
        return f"main/{self.name[0]}/{self.name}/{self.name}_{self.version}_amd64.deb"

    @property
    def control(self) -> str:
        fields = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": "amd64",
            "Maintainer": "Nobody <nobody@example.org>",
            "Description": "a package for a test",
            **self.fields,
        }
        return "".join(f"{key}: {value}\n" for key, value in fields.items())


def build_deb(deb: Deb, tree: Path, path: Path) -> Path:
    """Write the package's file to ``path``, by way of the folder ``tree``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(tree, ignore_errors=True)
    for name, text in deb.files.items():
        file = tree / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(deb.control)
    sums = (f"{hashlib.md5(t.encode()).hexdigest()}  {n}\n" for n, t in deb.files.items())
    (tree / "DEBIAN/md5sums").write_text("".join(sums))
    command = ["dpkg-deb", "--root-owner-group", "--build", tree, path]
    subprocess.run(command, check=True, capture_output=True)
    return path


class Mirror:
    """Serves ``root``; ``publish`` replaces a suite's packages, ``archive`` names it for apt."""

    def __init__(self, root: Path, uri: str, signer: "Signer") -> None:
        self.root = root
        self.uri = uri
        self.signer = signer

    def archive(self, *suites: str, signed_by: Path | None = None) -> Archive:
        return Archive(
            uri=self.uri,
            suites=suites,
            components=("main",),
            signed_by=str(signed_by or self.signer.public),
        )

    def publish(self, suite: str, debs: list[Deb], *, pool: str = "pool") -> None:
        self._list(suite, [self._add(deb, pool) for deb in debs])

    def publish_files(self, suite: str, paths: Mapping[str, Path]) -> None:
        """Publish .deb files of somebody else's make, by their file names."""
        self._list(suite, [self._take(name, path) for name, path in sorted(paths.items())])

    def _list(self, suite: str, stanzas: list[str]) -> None:
        index = self.root / "dists" / suite / "main/binary-amd64/Packages"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_text("\n".join(stanzas))
        content = index.read_bytes()
        release = (
            f"Origin: Debian\nLabel: Debian\nSuite: {suite}\nCodename: {suite}\n"
            "Date: Sat, 01 Jan 2000 00:00:00 UTC\nArchitectures: amd64\nComponents: main\nSHA256:\n"
            f" {hashlib.sha256(content).hexdigest()} {len(content)} main/binary-amd64/Packages\n"
        )
        self.signer.sign(release, self.root / "dists" / suite / "InRelease")

    def _take(self, name: str, path: Path) -> str:
        target = self.root / "pool" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        asked = ["dpkg-deb", "--field", str(target)]
        control = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
        return self._stanza(control, f"pool/{name}", target.read_bytes())

    def _add(self, deb: Deb, pool: str) -> str:
        path = build_deb(deb, self.root.parent / "tree", self.root / pool / deb.pool)
        return self._stanza(deb.control, f"{pool}/{deb.pool}", path.read_bytes())

    def _stanza(self, control: str, place: str, content: bytes) -> str:
        return (
            f"{control}Filename: {place}\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )


class Signer:
    """An OpenPGP key of its own; ``end`` forgets it."""

    def __init__(self) -> None:
        # Not in a test's folder: the agent's socket lies here, and its path must be a short one.
        self._home = Path(tempfile.mkdtemp(prefix="gnupg-", dir="/tmp"))
        self.public = self._home / "archive.gpg"
        self._gpg = ["gpg", "--homedir", str(self._home), "--batch", "--yes", "--passphrase", ""]
        self._run("--quick-generate-key", "archive@example.org", "ed25519", "sign")
        self.public.write_bytes(self._run("--export"))

    def sign(self, text: str, target: Path) -> None:
        target.write_bytes(self._run("--clearsign", "--output", "-", given=text.encode()))

    def end(self) -> None:
        subprocess.run(["gpgconf", "--homedir", self._home, "--kill", "all"], check=False)
        shutil.rmtree(self._home, ignore_errors=True)  # the agent removes its sockets meanwhile

    def _run(self, *arguments: str, given: bytes = b"") -> bytes:
        command = [*self._gpg, *arguments]
        return subprocess.run(command, input=given, check=True, capture_output=True).stdout


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def debian_mirror(folder: Path) -> Iterator[Mirror]:
    """Serve an empty archive from ``folder`` on loopback."""
    root = folder / "mirror"
    root.mkdir(parents=True)
    signer = Signer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=root))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Mirror(root, f"http://127.0.0.1:{server.server_port}", signer)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        signer.end()
