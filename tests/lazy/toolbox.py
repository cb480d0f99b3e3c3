"""Debian trixie's pullers in a folder of their own: podman, containerd, Docker, stargz-snapshotter.

Nothing is installed on this machine. The folder is made once; whoever removes it makes it anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = (
    *("podman", "netavark", "crun", "runc", "containerd", "docker.io", "docker-cli"),
    *("stargz-snapshotter", "fuse3", "ca-certificates", "golang-go"),
    "golang-github-containerd-stargz-snapshotter-dev",
)
HERE = Path(__file__).parent
SNAPSHOTTER = "opt/snapshotter"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_IN = """
set -eu
root=$1 work=$2
shift 2
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount --bind "$work" scratch
exec chroot . "$@"
"""
"""Run in fresh mount and pid namespaces: the kernel ends all of it with its first process."""


def toolbox(folder: Path) -> Path:
    """Return the root of a Debian with all of :data:`PACKAGES`, made in ``folder`` if need be.

    Takes root's rights, Debian's archive and 4 GB of disk.
    """
    root = folder / "root"
    if not root.exists():
        made = folder / "root.new"
        shutil.rmtree(made, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        chosen = ["--variant=apt", f"--keyring={_KEYRING}", f"--include={','.join(PACKAGES)}"]
        less = ["--aptopt=Apt::Install-Recommends false"]
        command = ["mmdebstrap", *chosen, *less, "trixie", str(made), _archive()]
        subprocess.run(command, check=True)
        (made / "scratch").mkdir()
        made.rename(root)
    if not (root / SNAPSHOTTER).exists():
        _compile(root, folder / "go")
    return root


def _archive() -> str:
    """Return Debian's archive as this machine's apt knows it."""
    wanted = ["Identifier: Packages", "Label: Debian", "Component: main"]
    listed = ["apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted]
    found = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    assert found, "apt knows no Debian archive: add one to its sources, then apt-get update"
    return found[0]


def _compile(root: Path, work: Path) -> None:
    """Make stargz-snapshotter's daemon of Debian's library."""
    work.mkdir(exist_ok=True)
    shutil.copy(HERE / "snapshotter.go", work)
    settings = [
        "GO111MODULE=off",
        "GOPATH=/usr/share/gocode",
        "GOCACHE=/scratch/cache",
        "HOME=/scratch",
    ]
    build = ["go", "build", "-o", f"/{SNAPSHOTTER}", "/scratch/snapshotter.go"]
    subprocess.run([*inside(root, work), "env", *settings, *build], check=True)
    shutil.rmtree(work)


def inside(root: Path, work: Path) -> list[str]:
    """Return the prefix of a command that runs in ``root``, with ``work`` as its /scratch."""
    assert os.geteuid() == 0, "pullers mount file systems: run this as root"
    fresh = ["--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]
    places = [str(root.absolute()), str(work.absolute())]
    return ["unshare", *fresh, "sh", "-c", _IN, "sh", *places]
