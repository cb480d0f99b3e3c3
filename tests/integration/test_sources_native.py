"""A C extension from git, compiled in a real Debian base: another Python than this machine's."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from envbuilder.engines.source_wheels import check_reproducible, with_wheels
from envbuilder.layers.complement import wheel_file
from envbuilder.layers.store import Store
from envbuilder.lock_file import read_lock
from envbuilder.pipeline import lock_environment
from envbuilder.progress import Silent
from tests.servers.git_projects import NATIVE
from tests.servers.git_repositories import Origin

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SPEC = """\
version: 1
name: native
python: "3.13"
base: {{debian: trixie}}
system:
  packages: [python3, python3-dev, gcc, libc6-dev]
packages:
  natty:
    git: {place}
    branch: main
"""


def test_a_c_extension_is_compiled_in_the_base(tmp_path):
    origin = Origin.create(tmp_path / "natty")
    origin.commit(NATIVE)
    spec = tmp_path / "native.yaml"
    spec.write_text(SPEC.format(place=origin.path))
    store = Store(tmp_path / "store")
    lock_environment(spec, store=store, progress=Silent())
    lock = read_lock(Path(tmp_path / "pylock.native.toml"))
    made = with_wheels(lock, store=store, progress=Silent())
    wheel = made.sources[0].wheel
    assert wheel is not None
    assert wheel.filename == "natty-0.1-cp313-cp313-linux_x86_64.whl"
    with wheel_file(store, wheel.sha256) as path, zipfile.ZipFile(path) as opened:
        library = next(opened.read(name) for name in opened.namelist() if name.endswith(".so"))
    assert library.startswith(b"\x7fELF")
    assert str(tmp_path).encode() not in library
    check_reproducible(made, store=store, progress=Silent(), offline=True)
