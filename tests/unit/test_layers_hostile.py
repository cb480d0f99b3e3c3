"""Wheels that are damaged or mean harm: each is refused by name, and nothing is left behind."""

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from envbuilder.layers.install import Target
from envbuilder.layers.wheel import WheelInput, wheel_layer
from envbuilder.model.errors import BuildError, EnvbuilderError
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store
from tests.wheels import Recipe, as_wheel, member, write_wheel

TARGET = Target(python="3.11")
RECIPE = Recipe(files={"demo.py": b"print(1)\n" * 500, "plain.txt": b"plain"})


def refused(tmp_path: Path, wheel: WheelInput) -> str:
    store = Store(tmp_path / "store")
    with pytest.raises(BuildError) as caught:
        wheel_layer(store, [wheel], target=TARGET, title="hostile")
    assert store.ls() == []
    assert list(store.root.glob("tmp/*")) == []
    assert wheel.filename in caught.value.message
    assert caught.value.hint
    return caught.value.message


def written(tmp_path: Path, data: bytes, recipe: Recipe = RECIPE) -> WheelInput:
    path = tmp_path / recipe.filename
    path.write_bytes(data)
    return as_wheel(path)


def zipped(change: Callable[[zipfile.ZipInfo], None], recipe: Recipe = RECIPE) -> bytes:
    """Write the wheel with ``change`` applied to its first member before it is written."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number, (name, data) in enumerate(recipe.contents().items()):
            info = member(name, recipe)
            if number == 0:
                change(info)
            archive.writestr(info, data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil.py", "climbs out"),
        ("demo/../../evil.py", "climbs out"),
        ("..", "climbs out"),
        ("/etc/passwd", "absolute"),
        ("demo//evil.py", "empty or a dot"),
        ("./evil.py", "empty or a dot"),
        ("demo-1.0.data/data/../../../etc/passwd", "climbs out"),
    ],
)
def test_a_path_that_leads_elsewhere(tmp_path: Path, name: str, why: str) -> None:
    message = refused(tmp_path, as_wheel(write_wheel(tmp_path, Recipe(files={name: b"x"}))))
    assert why in message
    assert repr(name) in message


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("d/" * 127 + "x.py", "folders deep"),
        ("/".join(["\u6f22" * 80] * 50), "bytes"),
        ("/".join(["\u6f22" * 80] * 12 + ["\u6f22" * 55]), "bytes"),
    ],
)
def test_a_path_that_is_too_much_where_it_is_installed(tmp_path: Path, name: str, why: str) -> None:
    """Such a layer could be made, and never be unpacked."""
    assert why in refused(tmp_path, as_wheel(write_wheel(tmp_path, Recipe(files={name: b"x"}))))


def test_a_nul_in_a_name(tmp_path: Path) -> None:
    data = zipped(lambda _: None).replace(b"demo.py", b"demo\0py")
    assert "NUL" in refused(tmp_path, written(tmp_path, data))


@pytest.mark.parametrize(
    ("mode", "why"), [(0o120777, "symbolic link"), (0o020644, "regular"), (0o040755, "by its mode")]
)
def test_what_is_no_regular_file(tmp_path: Path, mode: int, why: str) -> None:
    def change(info: zipfile.ZipInfo) -> None:
        info.external_attr = mode << 16

    message = refused(tmp_path, written(tmp_path, zipped(change)))
    assert why.replace("by its mode", "directory") in message
    assert "'demo.py'" in message


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_wheels_do_not_have(tmp_path: Path, method: int) -> None:
    def change(info: zipfile.ZipInfo) -> None:
        info.compress_type = method

    assert "compression method" in refused(tmp_path, written(tmp_path, zipped(change)))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_equal_members(tmp_path: Path) -> None:
    file = io.BytesIO(zipped(lambda _: None))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(member("demo.py", RECIPE), b"another")
    assert "'demo.py' is there twice" in refused(tmp_path, written(tmp_path, file.getvalue()))


def test_two_members_on_one_path(tmp_path: Path) -> None:
    recipe = Recipe(files={"x.py": b"1", "demo-1.0.data/purelib/x.py": b"2"})
    assert "twice" in refused(tmp_path, as_wheel(write_wheel(tmp_path, recipe)))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("demo-1.0.data/stray", "in no scheme"),
        ("demo-1.0.data/purelib", "in no scheme"),
        ("demo-1.0.data", "in no scheme"),
        ("demo-1.0.data/weird/", "no scheme 'weird'"),
        ("demo-1.0.data/weird/file", "no scheme 'weird'"),
    ],
)
def test_what_lies_in_no_scheme(tmp_path: Path, name: str, why: str) -> None:
    """uv or pip refuses each of them."""
    assert why in refused(tmp_path, as_wheel(write_wheel(tmp_path, Recipe(files={name: b""}))))


@pytest.mark.parametrize(
    "files",
    [
        {"pkg/": b"", "demo-1.0.data/purelib/pkg": b"1"},
        {"pkg": b"1", "demo-1.0.data/purelib/pkg/": b""},
        {"demo-1.0.data/data/bin/run/": b""},
    ],
)
def test_a_file_and_a_folder_on_one_path(tmp_path: Path, files: dict[str, bytes]) -> None:
    recipe = Recipe(files=files, entry_points="[console_scripts]\nrun = demo:run\n")
    assert "twice" in refused(tmp_path, as_wheel(write_wheel(tmp_path, recipe)))


# Offsets inside a central directory header (APPNOTE 4.3.12).
FLAGS, METHOD, CRC, PACKED, SIZE = 8, 10, 16, 20, 24


def patched(offset: int, form: str, change: Callable[[int], int]) -> bytes:
    """Change one field of the first member's entry in the central directory."""
    data = bytearray(zipped(lambda _: None))
    at = data.index(b"PK\x01\x02") + offset
    (value,) = struct.unpack_from(form, data, at)
    struct.pack_into(form, data, at, change(value))
    return bytes(data)


@pytest.mark.parametrize(
    ("offset", "form", "change", "why"),
    [
        (FLAGS, "<H", lambda flags: flags | 1, "encrypted"),
        (FLAGS, "<H", lambda flags: flags | 0x20, "patch"),
        (METHOD, "<H", lambda _: 0, "two different sizes"),
        (METHOD, "<H", lambda _: 9, "compression method 9"),
        (CRC, "<L", lambda crc: crc ^ 1, "CRC-32"),
        (SIZE, "<L", lambda size: size + 1, "less than the announced"),
        (SIZE, "<L", lambda size: size - 1, "more than the announced"),
        (PACKED, "<L", lambda size: size - 1, "less than the announced"),
        (PACKED, "<L", lambda size: size + 1, "follows the end"),
        (PACKED, "<L", lambda size: size + 9999, "overlaps"),
    ],
)
def test_a_directory_that_lies(
    tmp_path: Path, offset: int, form: str, change: Callable[[int], int], why: str
) -> None:
    message = refused(tmp_path, written(tmp_path, patched(offset, form, change)))
    assert why in message
    assert "'demo.py'" in message


def stretched(name: str, distance: Callable[[bytes, int], int]) -> bytes:
    """Let the directory say of ``name`` that its data reach ``distance`` bytes further.

    ``distance`` is given the zip and where the data of ``name`` end.
    """
    data = bytearray(zipped(lambda _: None))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        info = archive.getinfo(name)
    at = data.index(b"PK\x01\x02")
    while data[at + 46 : at + 46 + len(name)] != name.encode():
        at = data.index(b"PK\x01\x02", at + 1)
    end = info.header_offset + 30 + len(name) + info.compress_size
    packed = info.compress_size + distance(bytes(data), end)
    struct.pack_into("<L", data, at + PACKED, packed)
    return bytes(data)


def test_data_that_reach_one_byte_into_the_next_member_s(tmp_path: Path) -> None:
    def to_the_next(data: bytes, end: int) -> int:
        assert data[end : end + 4] == b"PK\x03\x04"
        return 30 + len("plain.txt") + 1

    message = refused(tmp_path, written(tmp_path, stretched("demo.py", to_the_next)))
    assert "member 'plain.txt' overlaps 'demo.py'" in message


def test_data_that_reach_one_byte_into_the_directory(tmp_path: Path) -> None:
    def to_the_directory(data: bytes, end: int) -> int:
        assert data[end : end + 4] == b"PK\x01\x02"
        return 1

    record = f"{RECIPE.info}/RECORD"
    message = refused(tmp_path, written(tmp_path, stretched(record, to_the_directory)))
    assert f"member '{record}' overlaps the zip's directory" in message


def test_metadata_of_more_than_memory_is_for(tmp_path: Path) -> None:
    """What is read whole is refused by the size that it states, before anything is inflated."""
    data = bytearray(zipped(lambda _: None))
    name = f"{RECIPE.info}/WHEEL".encode()
    at = data.rindex(name) - 46
    assert data[at : at + 4] == b"PK\x01\x02"
    struct.pack_into("<L", data, at + SIZE, (256 << 20) + 1)
    assert "268435457 bytes" in refused(tmp_path, written(tmp_path, bytes(data)))


def test_a_stored_member_that_lies_about_its_crc(tmp_path: Path) -> None:
    recipe = Recipe(files={"demo.py": b"plain text"}, stored=frozenset({"demo.py"}))
    data = zipped(lambda _: None, recipe).replace(b"plain text", b"plain tezt")
    assert "CRC-32" in refused(tmp_path, written(tmp_path, data))


def test_a_local_header_of_another_name(tmp_path: Path) -> None:
    data = zipped(lambda _: None).replace(b"demo.py", b"evil.py", 1)
    assert "contradicts" in refused(tmp_path, written(tmp_path, data))


def test_gzip_members_smuggled_into_a_deflate_stream(tmp_path: Path) -> None:
    """Bytes that end one gzip member and begin another must not reach the layer as such."""
    import gzip
    import zlib

    packer = zlib.compressobj(wbits=-15)
    raw = packer.compress(b"a") + packer.flush()
    inner = raw + struct.pack("<LL", zlib.crc32(b"a"), 1) + gzip.compress(b"b")[:-8]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in RECIPE.contents().items():
            archive.writestr(member(name, RECIPE), data)
        info = member("smuggled.py", Recipe(stored=frozenset({"smuggled.py"})))
        archive.writestr(info, inner)
        info.compress_type, info.file_size, info.CRC = zipfile.ZIP_DEFLATED, 1, zlib.crc32(b"b")
    data = bytearray(file.getvalue())
    local = data.index(b"PK\x03\x04", data.index(b"RECORD")) + 8
    struct.pack_into("<H", data, local, zipfile.ZIP_DEFLATED)
    assert "follows the end" in refused(tmp_path, written(tmp_path, bytes(data)))


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        (Recipe(files={"demo-1.0.data/weird/x": b""}), "no scheme 'weird'"),
        (Recipe(files={"demo-1.0.data/scripts/sub/": b""}), "directories"),
        (Recipe(files={"other-1.0.dist-info/METADATA": b""}), "expected one .dist-info"),
        (Recipe(entry_points="[console_scripts]\npython=demo:main\n"), "script named 'python'"),
        (Recipe(entry_points="[console_scripts]\npython3.11=demo:main\n"), "python3.11"),
        (Recipe(entry_points="[console_scripts]\n../x=demo:main\n"), "named '../x'"),
        (Recipe(entry_points="[console_scripts]\nx=no attribute\n"), "cannot be read"),
        (Recipe(entry_points="no section\n"), "cannot be read"),
        (Recipe(record=[("a", "b", "c", "d")]), "RECORD cannot be read"),  # type: ignore[list-item]
    ],
)
def test_a_wheel_that_breaks_the_format(tmp_path: Path, recipe: Recipe, why: str) -> None:
    assert why in refused(tmp_path, as_wheel(write_wheel(tmp_path, recipe)))


@pytest.mark.parametrize("missing", ["RECORD", "WHEEL"])
def test_a_wheel_without_its_metadata(tmp_path: Path, missing: str) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in RECIPE.contents().items():
            if not name.endswith(missing):
                archive.writestr(member(name, RECIPE), data)
    assert missing in refused(tmp_path, written(tmp_path, file.getvalue()))


def test_a_wheel_of_the_next_format(tmp_path: Path) -> None:
    path = tmp_path / RECIPE.filename
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in RECIPE.contents().items():
            archive.writestr(name, data.replace(b"Wheel-Version: 1.0", b"Wheel-Version: 2.0"))
    assert "Wheel-Version is '2.0'" in refused(tmp_path, as_wheel(path))


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_wheel(tmp_path: Path, data: bytes) -> None:
    refused(tmp_path, written(tmp_path, data))


def test_a_wheel_that_is_not_the_locked_one(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, RECIPE)
    locked = Digest.of(b"what the lock says")
    message = refused(tmp_path, WheelInput(filename=path.name, sha256=locked, path=path))
    assert str(locked) in message
    assert str(Digest.of(path.read_bytes())) in message


def test_a_wrong_hash_explains_a_broken_zip(tmp_path: Path) -> None:
    path = tmp_path / RECIPE.filename
    path.write_bytes(b"<html>404</html>")
    message = refused(
        tmp_path, WheelInput(filename=path.name, sha256=Digest.of(b"what the lock says"), path=path)
    )
    assert "not what was locked" in message


def test_a_damaged_wheel_leaves_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    path = write_wheel(tmp_path, RECIPE)
    wheel = WheelInput(filename=path.name, sha256=store.adopt(path, Digest.of(path.read_bytes())))
    blob = store.path(wheel.sha256)
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes().replace(b"demo.py", b"demo.px"))
    with pytest.raises(BuildError, match="not what was locked"):
        wheel_layer(store, [wheel], target=TARGET, title="damaged")
    assert not store.has(wheel.sha256), "so that the next run fetches it again"


WHOLE = zipped(lambda _: None)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@example(at=WHOLE.rindex(b"PK\5\6") + 16, value=255, cut=False)  # the directory's own place
@given(at=st.integers(0, len(WHOLE) - 1), value=st.integers(0, 255), cut=st.booleans())
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_any_damage_is_refused_or_harmless(
    at: int, value: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever byte changes, either the layer is made or one of our errors says why not."""
    folder = tmp_path_factory.mktemp("damage")
    data = WHOLE[:at] if cut else WHOLE[:at] + bytes([value]) + WHOLE[at + 1 :]
    store = Store(folder / "store")
    wheel = written(folder, data)
    message = ""
    try:
        made = wheel_layer(store, [wheel], target=TARGET, title="damaged")
    except EnvbuilderError as error:
        message = error.message
    if message:
        assert RECIPE.filename in message
        assert store.ls() == []
        return
    with tarfile.open(store.path(made.digest)) as archive:
        assert all(name.startswith("opt") for name in archive.getnames())
