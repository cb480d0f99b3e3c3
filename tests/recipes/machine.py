"""Bare machines for jobs: a Debian tree each job writes above, with its own processes and mounts.

They share this machine's kernel and network, so that servers on loopback are theirs, and are told
the package mirrors of this machine: nothing else of it is seen.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from envbuilder.model.package_spec import Index
from envbuilder.resolve.debian.archives import debian_archives
from envbuilder.resolve.python.indexes import uv_environment

SUITE = "trixie"
_CA = "/run/machine-ca.crt"
_FOR_PIP = {
    "UV_DEFAULT_INDEX": "PIP_INDEX_URL",
    "UV_INDEX": "PIP_EXTRA_INDEX_URL",
    "UV_FIND_LINKS": "PIP_FIND_LINKS",
}
_STAGE = """\
set -e
cd "$folder"
mount -t overlay -o "lowerdir=$lower,upperdir=upper,workdir=work" none root
cd root
mount -t proc none proc
mount --rbind /dev dev
mount --rbind /sys sys
cp /etc/resolv.conf /etc/hosts etc/
while read -r from to; do
  if [ -d "$from" ]; then mkdir -p ".$to"; else mkdir -p ".$(dirname "$to")"; : >>".$to"; fi
  mount --bind -o ro "$from" ".$to"
done <<SHARED
$shared
SHARED
mkdir -p run/outside
pivot_root . run/outside
umount -l /run/outside
mkdir -p "$where"
cd "$where"
exec env --ignore-environment "$@"
"""


def _ca() -> Path | None:
    named = os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT")
    path = Path(named or "/etc/ssl/certs/ca-certificates.crt")
    return path if path.is_file() else None


def mirrors() -> dict[str, str]:
    """Return the variables by which a job finds Python packages as this machine does."""
    told = uv_environment(Index(), os.environ)
    known = {name: told[name] for name in _FOR_PIP if name in told}
    known |= {_FOR_PIP[name]: value for name, value in known.items()}
    known |= {name: told[name] for name in told if name.lower().endswith("_proxy")}
    if _ca():
        known |= dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"), _CA)
    return known


def _folders(variables: Mapping[str, str]) -> set[str]:
    """Find the folders of this machine that variables name; an index links to files beside it."""
    said = " ".join(variables.values())
    indexes = [Path(path).parent for path in re.findall(r"file://(/[^\s,]+)", said)]
    plain = [Path(path) for path in re.findall(r"(?<![\w:/])(/[^\s,]+)", said)]
    return {str(path) for path in (*indexes, *plain) if path.is_dir()}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine: ``trees``, lowest first, stay as they are; what is written lies in ``folder``.

    ``shared`` are files and folders of ours that it sees, and where.
    """

    trees: tuple[Path, ...]
    folder: Path
    shared: Mapping[str, str] = field(default_factory=dict)

    def run(
        self, command: list[str], *, environ: Mapping[str, str], where: str = "/root"
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root; what it prints, stderr included, is the result's ``stdout``."""
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        known = {
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PATH": "/root/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            **mirrors(),
            **environ,
        }
        stage = {
            "PATH": os.environ["PATH"],
            "lower": ":".join(str(tree) for tree in reversed(self.trees)),
            "folder": str(self.folder),
            "shared": "\n".join(f"{ours} {theirs}" for ours, theirs in self._seen().items()),
            "where": where,
        }
        return subprocess.run(
            ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child",
             "sh", "-c", _STAGE, "stage", *(f"{k}={v}" for k, v in known.items()), *command],
            env=stage, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=1800, check=False,
        )  # fmt: skip

    def _seen(self) -> dict[str, str]:
        seen = {folder: folder for folder in _folders(mirrors())}
        if ca := _ca():
            seen[str(ca.resolve())] = _CA
        return seen | dict(self.shared)

    def path(self, inside: str) -> Path:
        """Name the file that a job has written at a path of its machine."""
        return self.folder / "upper" / inside.lstrip("/")

    def write(self, inside: str, text: str) -> None:
        """Write a file between two commands; what lies at its path is replaced."""
        self.path(inside).parent.mkdir(parents=True, exist_ok=True)
        self.path(inside).write_text(text, encoding="utf-8")

    def kept(self) -> tuple[Path, ...]:
        """Return the trees of a machine that starts where this one has ended."""
        return (*self.trees, self.folder / "upper")


def debian(folder: Path) -> Path:
    """Make the tree of a Debian that has apt and little else, as its container images are."""
    lines = [
        f"deb {archive.uri} {suite} {' '.join(archive.components)}"
        for archive in debian_archives(SUITE)
        for suite in archive.suites
    ]
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--dpkgopt=force-unsafe-io",
        SUITE,
        str(folder),
        *lines,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr[-3000:]}"
    return folder
