"""A real sdist built here holds what uv builds of it; RECORD is passed over.

The first few of ``real_sdists.txt``, one per backend and one that compiles; `make sdists`: all.
What a compiler made counts by its name.
"""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from envbuilder.layers.wheel_reconstruction import wheel_file
from envbuilder.model.lock import DebianBase, Lock
from envbuilder.model.package_spec import Index
from envbuilder.model.reference import Digest
from envbuilder.model.spec import Base, Spec
from envbuilder.resolve.archives.locking import lock_archive, take_sdist
from envbuilder.resolve.git.contained import contained
from envbuilder.resolve.git.sandbox import host_sandbox
from envbuilder.resolve.git.wheel_build import build_sources
from envbuilder.resolve.python.index_pages import index_page, index_urls
from envbuilder.resolve.python.sdists import IndexSdist
from envbuilder.resolve.sources import locking
from envbuilder.resolve.target import python_target
from envbuilder.storage.store import Store
from tests.contexts import git_context

pytestmark = [pytest.mark.integration]

PYTHON = "3.11"
FEW = 5
ALL = Path(__file__).with_name("real_sdists.txt").read_text("utf-8").split()
SDISTS = ALL if os.environ.get("SDISTS") == "all" else ALL[:FEW]
SPEC = Spec(
    version=1, name="x", python=PYTHON, base=Base(debian="trixie"), packages={},
    index=Index(exclude_newer="2025-06-29T00:00:00Z"),
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """Share a store: build environments are fetched and unpacked once."""
    return Store(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize("pin", SDISTS)
def test_the_wheel_of_a_real_sdist_holds_what_uv_builds(store, tmp_path, pin):
    context = git_context(store)
    base = DebianBase(suite="trixie", packages=())
    work = locking(SPEC, target=python_target(SPEC, base), context=context)
    source = lock_archive(work, take_sdist(context, offered(context, pin)), before=None)
    lock = Lock(spec=SPEC, base=base, wheels=(), archives=(source,))
    sandbox = host_sandbox(PYTHON, store=store)
    built = build_sources(lock, make=contained(lambda: sandbox, context), context=context)
    (made,) = built.archives
    assert made.wheel is not None
    with wheel_file(store, made.wheel.sha256) as ours:
        theirs = build_with_uv(store.checked(source.sha256), source, tmp_path)
        assert theirs.name == made.wheel.filename
        assert contents(ours) == contents(theirs)


def offered(context, pin: str) -> IndexSdist:
    """Find the sdist of ``pin``, whether or not that version has wheels."""
    name, _, version = pin.partition("==")
    (url, *_) = index_urls(context.indexes, name, SPEC.index)
    for file in index_page(context.indexes, url, name) or ():
        if file.filename.endswith(f"-{version}.tar.gz") or file.filename.endswith(
            f"-{version}.zip"
        ):
            return IndexSdist(
                name=name, version=version, filename=file.filename, url=file.url,
                sha256=Digest(file.sha256), size=file.size,
            )  # fmt: skip
    pytest.fail(f"{url} has no sdist of {pin}")


def build_with_uv(sdist: Path, source, folder: Path) -> Path:
    """Let uv build, with the versions of build requirements that were locked."""
    copy = folder / source.filename
    copy.write_bytes(sdist.read_bytes())
    pins = folder / "pins.txt"
    pins.write_text("".join(f"{each.name}=={each.version}\n" for each in source.requires))
    run = [find_uv_bin(), "build", "--wheel", "--quiet", "--python", PYTHON]
    run += ["--build-constraints", str(pins), "--out-dir", str(folder / "out"), str(copy)]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(source.time), "LC_ALL": "C.UTF-8"}
    subprocess.run(run, check=True, env=environment)
    (wheel,) = (folder / "out").glob("*.whl")
    return wheel


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as opened:
        return {
            name: opened.read(name)
            for name in opened.namelist()
            if not name.endswith((".dist-info/RECORD", "/", ".so"))
        } | {name: b"" for name in opened.namelist() if name.endswith(".so")}
