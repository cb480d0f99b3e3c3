"""A standalone Python on a Debian base: found by uv's list, locked by hash, laid as a layer."""

import gzip
import io
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from envbuilder.engines.render import render
from envbuilder.engines.standalone import copy_archive, python_archive, standalone_layers
from envbuilder.evidence.sbom import sbom
from envbuilder.evidence.statements import provenance
from envbuilder.layers.archive import unpack_archive
from envbuilder.layers.untar import untar
from envbuilder.model.errors import BuildError, NetworkError, ResolutionError
from envbuilder.model.lock import DebianBase, Lock, StandalonePython
from envbuilder.model.plan import interpreter, plan
from envbuilder.model.pylock import dump_lock, needed_blobs, parse_lock
from envbuilder.model.reference import Digest
from envbuilder.model.resources import TEMPLATES
from envbuilder.resolve.base import _with_python
from envbuilder.resolve.git.recipe import Recipe
from envbuilder.resolve.python.standalone import lock_standalone
from envbuilder.resolve.target import base_words, python_target
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.servers.scripted import Call, Seen, scripted
from tests.unit import locks

MINOR = "3.12"
PROGRAM = f"python/bin/python{MINOR}"


def archive(members: dict[str, bytes | str] | None = None) -> bytes:
    """Make an archive as those builds are: bytes are files, a text is a link's target."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for path, content in (members or MEMBERS).items():
            info = tarfile.TarInfo(path)
            info.mtime, info.uid, info.mode = 1_700_000_000, 1000, 0o664
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
                info.mode = 0o775 if "/bin/" in path else 0o664
            tar.addfile(info, None if isinstance(content, str) else io.BytesIO(content))
    return gzip.compress(made.getvalue(), mtime=0)


MEMBERS: dict[str, bytes | str] = {
    "python/lib/python3.12/os.py": b"import sys\n",
    "python/lib/python3.12/site-packages/pip/__init__.py": b"",
    "python/bin/python3": f"python{MINOR}",
    "python/bin/pip3": b"#!/bin/sh\n",
    PROGRAM: b"\x7fELF",
}


class Mirror:
    """Gives one archive for every path."""

    def __init__(self) -> None:
        self.content = archive()
        self.paths: list[str] = []
        self.place = ""

    def respond(self, call: Call, request: Seen) -> None:
        self.paths.append(request.path)
        call.answer(200, self.content)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    found = Mirror()
    with scripted(found.respond) as server:
        found.place = f"http://{server.host}/mirror"
        monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", found.place)
        yield found


SPEC = locks.lock({}, python=MINOR).spec


def test_the_newest_build_is_locked_by_its_hash_and_without_an_address(mirror, tmp_path):
    store = Store(tmp_path)
    found = lock_standalone(context(store), SPEC, None)
    assert found.version.startswith("3.12.")
    assert found.sha256 == Digest.of(mirror.content)
    assert store.read(found.sha256) == mirror.content
    assert found.filename.startswith(f"cpython-{found.version}+")
    (path,) = mirror.paths
    assert path.startswith("/mirror/")
    lock = on(found)
    text = dump_lock(lock)
    assert parse_lock(text) == lock
    assert "http" not in text
    assert found.sha256 in needed_blobs(lock)


def test_what_is_held_stays_and_is_fetched_again_by_its_hash(mirror, tmp_path):
    first = lock_standalone(context(Store(tmp_path / "one")), SPEC, None)
    held = replace(first, version="3.12.1", path=first.path.replace(first.version, "3.12.1"))
    store = Store(tmp_path / "two")
    assert lock_standalone(context(store), SPEC, held) == held
    assert store.has(held.sha256)
    assert mirror.paths[-1].endswith(held.path.replace("+", "%2B")), "by its own path"
    asked = len(mirror.paths)
    assert lock_standalone(context(store), SPEC, held) == held
    assert len(mirror.paths) == asked
    mirror.content = archive({PROGRAM: b"another"})
    with pytest.raises(NetworkError):
        lock_standalone(context(Store(tmp_path / "three")), SPEC, held)


def test_another_python_or_patch_is_chosen_anew(mirror, tmp_path):  # noqa: ARG001
    store = Store(tmp_path)
    held = lock_standalone(context(store), SPEC, None)
    other = lock_standalone(context(store), locks.lock({}, python="3.11").spec, held)
    assert other.version.startswith("3.11.")
    with pytest.raises(ResolutionError, match=r"no standalone build of Python 3\.12\.99"):
        lock_standalone(context(store), locks.lock({}, python="3.12.99").spec, held)


def test_the_platform_of_the_spec_counts(mirror, tmp_path):
    spec = locks.lock({}, python=MINOR, platform="linux/arm64").spec
    lock_standalone(context(Store(tmp_path)), spec, None)
    assert "aarch64-unknown-linux-gnu" in mirror.paths[0]


def test_a_page_is_no_archive(mirror, tmp_path):
    mirror.content = b"<html>log in"
    store = Store(tmp_path)
    with pytest.raises(NetworkError, match="sent no archive") as caught:
        lock_standalone(context(store), SPEC, None)
    assert "UV_PYTHON_INSTALL_MIRROR" in caught.value.hint
    assert store.ls() == []


def test_offline_the_store_must_have_it(tmp_path):
    with pytest.raises(NetworkError, match="--offline, and the store lacks"):
        lock_standalone(replace(context(Store(tmp_path)), offline=True), SPEC, python())


def python(content: bytes | None = None) -> StandalonePython:
    data = archive() if content is None else content
    path = "20990101/cpython-3.12.5+20990101-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
    return StandalonePython(version="3.12.5", path=path, size=len(data), sha256=Digest.of(data))


def on(standalone: StandalonePython | None, **spec: object) -> Lock:
    lock = locks.lock({}, python=MINOR, debs={"libc6": "2.41-12"}, **spec)
    assert isinstance(lock.base, DebianBase)
    return replace(lock, base=replace(lock.base, standalone=standalone))


def test_all_count_by_it():
    lock = on(python())
    assert interpreter(lock) == plan(lock).interpreter == "/opt/python/bin/python3.12"
    assert python_target(lock.spec, lock.base).full == "3.12.5"
    assert base_words(lock.spec, lock.base).endswith("Python 3.12.5 at /opt/python/bin/python3.12")


def laid(tmp_path: Path, content: bytes):
    store = Store(tmp_path / "store")
    store.add(content)
    lock = on(python(content))
    assert isinstance(lock.base, DebianBase)
    return store, standalone_layers(context(store), lock, lock.base)


def test_the_layer_holds_python_without_packages_owners_or_times(tmp_path):
    store, (layer,) = laid(tmp_path, archive())
    with untar(store.path(layer.digest), layer.media_type, layer.diff_id) as tar:
        found = {each.info.name.rstrip("/"): each.info for each in tar.entries()}
    files = {path: info.mode for path, info in found.items() if not info.isdir()}
    assert files == {
        "opt/python/bin/python3": 0o777,
        "opt/python/bin/python3.12": 0o755,
        "opt/python/lib/python3.12/os.py": 0o644,
    }
    assert {(info.uid, info.mtime) for info in found.values()} == {(0, 946684800)}
    assert (layer.kind, layer.title) == ("python", "Python 3.12.5, standalone")
    _, again = laid(tmp_path, archive())
    assert again == (layer,)


def test_the_order_within_the_archive_does_not_count(tmp_path):
    _, one = laid(tmp_path / "1", archive())
    _, other = laid(tmp_path / "2", archive(dict(reversed(MEMBERS.items()))))
    assert one[0].diff_id == other[0].diff_id


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"python/bin/other": b""}, r"holds no python/bin/python3\.12"),
        ({"../evil": b""}, "lies outside of it"),
        ({"/etc/evil": b""}, "lies outside of it"),
        ({"python/up": "../../..", "python/up/evil": b""}, "behind a link that leads out"),
    ],
)
def test_an_archive_that_is_none(tmp_path, members, message):
    with pytest.raises(BuildError, match=message):
        laid(tmp_path, archive(members))


def test_a_cut_archive_and_a_device(tmp_path):
    with pytest.raises(BuildError, match="is damaged"):
        laid(tmp_path, archive()[:60])
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        info = tarfile.TarInfo("python/dev")
        info.type = tarfile.CHRTYPE
        tar.addfile(info)
    (tmp_path / "x").mkdir()
    with pytest.raises(BuildError, match="no file, folder or link"):
        unpack_archive(io.BytesIO(made.getvalue()), 1000, tmp_path / "x", name="a")


def test_a_hard_link_is_the_same_file(tmp_path):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        first = tarfile.TarInfo("a")
        first.size = 1
        tar.addfile(first, io.BytesIO(b"x"))
        second = tarfile.TarInfo("b")
        second.type, second.linkname = tarfile.LNKTYPE, "a"
        tar.addfile(second)
    unpack_archive(io.BytesIO(made.getvalue()), 1000, tmp_path, name="a")
    assert (tmp_path / "b").read_bytes() == b"x"


# -- which Python a Debian base gets --------------------------------------------------------------


def test_the_suites_own_python_goes_first(mirror, tmp_path):
    ctx = context(Store(tmp_path))
    lock = locks.lock({}, python=MINOR, debs={"python3.12": "3.12.3-1", "libc6": "2.41"})
    assert isinstance(lock.base, DebianBase)
    assert _with_python(ctx, lock.spec, lock.base, None).standalone is None
    other = locks.lock({}, python="3.11").spec
    made = _with_python(ctx, other, lock.base, None)
    assert made.standalone is not None
    assert _with_python(ctx, lock.spec, made, made).standalone is None
    own = locks.lock({}, python="3.11", base={"debian": "trixie", "python": "/opt/x"}).spec
    assert _with_python(ctx, own, lock.base, None).standalone is None
    assert len(mirror.paths) == 1


def test_site_packages_of_another_python_are_refused(tmp_path):
    lock = locks.lock(
        {}, python="3.11", debs={"python3.12": "3.12.3-1"}, system={"site_packages": True}
    )
    with pytest.raises(ResolutionError, match=r"the base has Python 3\.12, not 3\.11"):
        _with_python(context(Store(tmp_path)), lock.spec, lock.base, None)


def test_a_rendered_dockerfile_unpacks_the_archive_beside_it(tmp_path):
    lock = on(python())
    files = render(lock)
    text = files["Dockerfile"]
    assert f"source={python_archive(lock)}," in text
    assert python().sha256.hex in text
    assert "COPY --from=python /opt/python/ /opt/python/" in text
    assert "!python" in files[".dockerignore"].splitlines()
    assert "!python" not in render(on(None))[".dockerignore"].splitlines()
    store = Store(tmp_path / "store")
    with pytest.raises(BuildError, match="is not in the store"):
        copy_archive(lock, tmp_path / "out", store=store)
    store.add(archive())
    copy_archive(lock, tmp_path / "out", store=Store(tmp_path / "store"))


def test_the_script_of_the_dockerfile_lays_the_same(tmp_path):
    content = archive(MEMBERS | {"python/share/doc/a": b"x", "python/bin/pip": b"x"})
    store, (layer,) = laid(tmp_path, content)
    with untar(store.path(layer.digest), layer.media_type, layer.diff_id) as tar:
        by_layer = {
            each.info.name.rstrip("/").removeprefix("opt/"): (each.info.mode, each.info.linkname)
            for each in tar.entries()
        }
    script = (TEMPLATES / "context" / "standalone.sh").read_text()
    root = tmp_path / "root"
    (tmp_path / "a.tar.gz").write_bytes(content)
    command = ["sh", "-c", script.replace("/opt/python", str(root / "python")), "sh"]
    given = [str(tmp_path / "a.tar.gz"), Digest.of(content).hex]
    subprocess.run([*command, *given], check=True)
    by_script = {
        path.relative_to(root).as_posix(): (
            path.lstat().st_mode & 0o7777,
            str(path.readlink()) if path.is_symlink() else "",
        )
        for path in root.rglob("*")
    }
    assert by_script == {path: facts for path, facts in by_layer.items() if path != "opt"}
    wrong = subprocess.run([*command, given[0], "0" * 64], capture_output=True, check=False)
    assert wrong.returncode != 0, "another archive is refused"


def test_evidence_names_it_by_its_hash():
    lock, image, moment = on(python()), Digest.of(b"image"), "2026-01-02T03:04:05Z"
    bill = sbom(lock, image, finished=moment).predicate["components"]
    (found,) = (each for each in bill if each["name"] == "cpython")
    assert (found["version"], found["purl"]) == ("3.12.5", "pkg:generic/cpython@3.12.5")
    made = provenance(lock, image, engine="embedded", finished=moment).predicate
    inputs = {each["name"]: each for each in made["buildDefinition"]["resolvedDependencies"]}
    assert inputs[python().filename]["digest"] == {"sha256": python().sha256.hex}


def test_a_source_that_was_built_with_another_is_built_again():
    commit = locks.source("demo", "a" * 40)
    pins = {"demo": {"git": "https://example.org/demo.git", "branch": "main"}}
    one, other = (
        on(each, pins=pins, sources=(commit,))
        for each in (python(), python(archive({PROGRAM: b""})))
    )
    assert Recipe.of(one, commit).key != Recipe.of(other, commit).key
    assert Recipe.of(one, commit).key != Recipe.of(on(None, pins=pins), commit).key
