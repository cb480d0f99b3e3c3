"""Requirements read from the wheels' own metadata, wherever those lie."""

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from envbuilder.layers.install import Target
from envbuilder.layers.seekable import seekable
from envbuilder.layers.wheel import WheelInput, wheel_layer
from envbuilder.layers.wheel_reconstruction import open_wheel
from envbuilder.model.errors import BuildError
from envbuilder.model.lock import Wheel
from envbuilder.model.reference import Digest
from envbuilder.resolve.python.dependencies import read_needs
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.unit.locks import lock


def wheel_bytes(name: str, version: str, *requires: str) -> bytes:
    info = f"{name}-{version}.dist-info"
    lines = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{name}/__init__.py": b"x = 1\n" * 5000,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{info}/RECORD"
    files[record] = "".join(f"{path},,\n" for path in (*files, record))
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return data.getvalue()


def stored(store: Store, name: str, version: str, *requires: str) -> Wheel:
    data = wheel_bytes(name, version, *requires)
    return Wheel(
        name=name,
        version=version,
        filename=f"{name}-{version}-py3-none-any.whl",
        size=len(data),
        sha256=store.add(data),
    )


def test_a_wheel_that_a_layer_took_reads_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path)
    data = wheel_bytes("app", "1.0", "six")
    digest = store.add(data)
    installed = WheelInput(filename="app-1.0-py3-none-any.whl", sha256=digest)
    wheel_layer(store, [installed], target=Target(python="3.12"), title="app")
    assert not store.has(digest)
    with open_wheel(store, digest) as file:
        assert hashlib.sha256(file.read()).hexdigest() == digest.hex
        assert file.seek(-10, io.SEEK_END) == len(data) - 10
        assert file.read() == data[-10:]


def test_a_wheel_that_is_nowhere(tmp_path: Path) -> None:
    with (
        pytest.raises(BuildError, match="not in the store"),
        open_wheel(Store(tmp_path), Digest.of(b"x")),
    ):
        pass


def test_applies_markers_and_extras(tmp_path: Path) -> None:
    store = Store(tmp_path)
    wheels = (
        stored(store, "app", "1.0", 'six; extra == "old"', 'numpy>=2; python_version < "3.13"',
               'winreg; sys_platform == "win32"', "lib[fast]>1", "not a requirement ;;",
               f"numpy<{'9' * 5000}", f"six; python_version < '{'9' * 5000}'"),
        stored(store, "lib", "2.0", 'zstd; extra == "fast"', 'snappy; extra == "slow"'),
        stored(store, "numpy", "2.0"),
    )  # fmt: skip
    plain = replace(lock({}, pins={"app": "*"}), wheels=wheels)
    needs = read_needs(context(store), plain)
    assert {name: [str(each) for each in needs[name]] for name in needs} == {
        "app": ['numpy>=2; python_version < "3.13"', "lib[fast]>1"],
        "lib": ['zstd; extra == "fast"'],
        "numpy": [],
    }
    with_extra = replace(lock({}, pins={"app[old]": "*"}), wheels=wheels)
    assert 'six; extra == "old"' in map(str, read_needs(context(store), with_extra)["app"])


def test_is_remembered_without_the_wheel(tmp_path: Path) -> None:
    store = Store(tmp_path)
    wheel = stored(store, "app", "1.0", "six")
    locked = replace(lock({}, pins={"app": "*"}), wheels=(wheel,))
    first = read_needs(context(store), locked)
    store.discard(wheel.sha256)
    assert read_needs(context(store), locked) == first


def test_a_damaged_wheel_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    wheel = Wheel(
        name="app", version="1", filename="app-1-py3-none-any.whl", size=3, sha256=store.add(b"abc")
    )
    with pytest.raises(BuildError, match=r"app-1-py3-none-any\.whl is not a wheel"):
        read_needs(context(store), replace(lock({}, pins={}), wheels=(wheel,)))


def test_seekable_survives_short_reads() -> None:
    data = bytes(range(256)) * 1000

    def read_at(offset: int, size: int) -> bytes:
        return data[offset : offset + min(size, 700)]

    with seekable(len(data), read_at) as file:
        assert file.read() == data
        file.seek(123456)
        assert file.read(10) == data[123456:123466]
        file.seek(len(data) + 5)
        assert file.read() == b""
