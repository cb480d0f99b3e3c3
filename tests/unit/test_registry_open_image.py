"""Images in folders, archives and Docker, here a program that stands in for it, and `inspect`."""

import bz2
import gzip
import json
import lzma
import tarfile
from pathlib import Path

import pytest

from envbuilder.layers import bounds
from envbuilder.model.errors import BuildError, DiskFullError, MissingToolError, UsageError
from envbuilder.model.progress import Silent
from envbuilder.registry.layout import export
from envbuilder.storage.store import Store
from tests.command import envbuilder
from tests.contexts import open_here
from tests.integration.tiny_image import image_of
from tests.servers.samples import tar_of


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("ENVBUILDER_CACHE", str(tmp_path / "store"))
    return Store.default()


@pytest.fixture
def image(store):
    """An image whose second layer removes a cache of its first."""
    layers = [{"app/.cache/pip/http/a": b"wheel", "app/main": b"1"}, {"app/.wh..cache": b""}]
    return image_of(store, [tar_of(files) for files in layers], config={})


@pytest.fixture
def layout(image, store, tmp_path):
    return export(image, store, f"oci:{tmp_path}/layout", name="x", progress=Silent())


@pytest.fixture
def archive(image, store, tmp_path):
    return export(image, store, f"{tmp_path}/image.tar", name="x", progress=Silent())


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Put a docker on PATH that does what the shell says."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    (tmp_path / "bin").mkdir()

    def answer(script):
        program = tmp_path / "bin" / "docker"
        program.write_text(f'#!/bin/sh\n[ "$*" = "image save x:1" ] || exit 99\n{script}\n')
        program.chmod(0o755)

    return answer


def inspect(*arguments, code=0):
    return envbuilder("inspect", *arguments, code=code)


@pytest.mark.parametrize("kind", ["layout", "archive", "docker"])
def test_inspect_finds_a_cache_wherever_the_image_is(kind, layout, archive, docker):
    docker(f"cat {archive}")
    where = {"layout": f"oci:{layout}", "archive": str(archive), "docker": "docker:x:1"}[kind]
    found = json.loads(inspect(where, "--no-waste", "-o", "json", code=8).stdout)
    assert found["waste"] == 5
    lower, upper = found["layers"]
    [cache] = lower["caches"]
    assert (cache["tool"], cache["bytes"], cache["hidden"]) == ("pip", 5, True)
    assert upper["caches"] == []
    assert "hidden by a later layer but still stored" in " ".join(inspect(where).stdout.split())


def test_an_image_without_waste_passes(store, tmp_path):
    clean = image_of(store, [tar_of({"app/main": b"1"})], config={})
    layout = export(clean, store, f"oci:{tmp_path}/clean", name="x", progress=Silent())
    assert "none in any layer" in inspect(f"oci:{layout}", "--no-waste").stdout


def test_nothing_is_left_of_an_archive(archive, store):
    with open_here(str(archive), Store.default()) as opened:
        assert len(opened.image.layers) == 2
        assert list((store.root / "tmp").iterdir())
    assert not list((store.root / "tmp").iterdir())


@pytest.mark.parametrize(
    ("script", "match"),
    [
        ("echo 'No such image: x:1' >&2; exit 1", "does not give the image x:1: No such image"),
        ("head -c 3000 {archive}; echo 'daemon died' >&2; exit 1", "daemon died"),
        ("echo no archive", "cannot read the image archive x:1"),
        ("tar -c -C / etc/hostname", "no OCI archive: it has no index.json"),
    ],
)
def test_what_docker_does_not_give(docker, archive, store, script, match):
    docker(script.format(archive=archive))
    with pytest.raises(UsageError, match=match), open_here("docker:x:1", Store.default()):
        pass
    assert not list((store.root / "tmp").iterdir())


@pytest.mark.usefixtures("store")
def test_docker_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError), open_here("docker:x:1", Store.default()):
        pass


@pytest.mark.usefixtures("store")
def test_an_archive_that_is_none(tmp_path):
    (tmp_path / "text.tar").write_text("no archive")
    for name in ("text.tar", "missing.tar"):
        with (
            pytest.raises(UsageError, match=f"cannot read the image archive .*{name}"),
            open_here(str(tmp_path / name), Store.default()),
        ):
            pass


def test_only_the_layout_is_unpacked(archive, store, tmp_path):
    with tarfile.open(archive, "a") as tar:
        for name in ("../../escaped", "blobs/sha256/../../../escaped"):
            tar.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("blobs/sha256/" + "0" * 64)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with open_here(str(archive), Store.default()):
        names = {path.name for path in store.root.rglob("*")}
        assert not {"escaped", "0" * 64} & names
    assert not list(tmp_path.rglob("escaped"))


PACKERS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("kind", PACKERS)
def test_a_packed_archive(archive, store, kind):
    archive.write_bytes(PACKERS[kind](archive.read_bytes()))
    with open_here(str(archive), store) as opened:
        assert len(opened.image.layers) == 2
    archive.write_bytes(archive.read_bytes()[:-20])
    refused = pytest.raises(UsageError, match=r"cannot read the image archive .*image\.tar")
    with refused, open_here(str(archive), store):
        pass


def bomb(path, *infos, content=0):
    """Write members whose content is that many zeros each, packed well."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        for info in infos:
            info.size = content
            file.write(info.tobuf(tarfile.PAX_FORMAT))
            for _ in range(content >> 20):
                file.write(bytes(1 << 20))
        file.write(bytes(1024))


def blob(number):
    return tarfile.TarInfo(f"blobs/sha256/{number:064}")


@pytest.mark.parametrize("name", ["blobs/sha256/" + "0" * 64, "beside"])
def test_an_archive_that_inflates_to_gigabytes(store, tmp_path, monkeypatch, name):
    monkeypatch.setattr(bounds, "FLOOR", 20 << 20)
    bomb(tmp_path / "bomb.tar", tarfile.TarInfo(name), content=100 << 20)
    refused = pytest.raises(
        BuildError, match=r"bomb\.tar is refused: it inflates to more than 100 "
    )
    with refused, open_here(str(tmp_path / "bomb.tar"), store):
        pass
    assert not list((store.root / "tmp").iterdir())


def test_an_archive_of_empty_members(store, tmp_path):
    bomb(tmp_path / "many.tar", *map(blob, range(4_001)))
    refused = pytest.raises(BuildError, match=r"many\.tar is refused: it has more members")
    with refused, open_here(str(tmp_path / "many.tar"), store):
        pass


def test_an_archive_of_sparse_members(store, tmp_path):
    sparse = blob(0)
    sparse.type = tarfile.GNUTYPE_SPARSE
    bomb(tmp_path / "sparse.tar", sparse)
    refused = pytest.raises(UsageError, match=r"cannot read the image archive .*sparse file")
    with refused, open_here(str(tmp_path / "sparse.tar"), store):
        pass


def test_an_archive_whose_header_is_endless(store, tmp_path):
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    bomb(tmp_path / "header.tar", header, content=100 << 20)
    refused = pytest.raises(BuildError, match=r"header\.tar is refused: the headers of one entry")
    with refused, open_here(str(tmp_path / "header.tar"), store):
        pass


def test_xz_that_wants_a_gigabyte_of_memory(archive, store):
    fast = {"mode": lzma.MODE_FAST, "mf": lzma.MF_HC3, "nice_len": 5, "depth": 1}
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30, **fast}]
    archive.write_bytes(lzma.compress(archive.read_bytes(), filters=filters))
    refused = pytest.raises(UsageError, match=r"cannot read the image archive .*[Mm]emory")
    with refused, open_here(str(archive), store):
        pass


def test_a_full_disk_is_no_fault_of_the_archive(archive, monkeypatch):
    usual = Path.open

    def full(path, mode="r", **more):
        return usual(Path("/dev/full") if path.name == "index.json" else path, mode, **more)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DiskFullError, match="full"), open_here(str(archive), Store.default()):
        pass
