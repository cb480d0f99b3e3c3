"""A wheel as a layer: what lies in it, who can read it, and that it gives the wheel back."""

import csv
import errno
import gzip
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuilder.layers.install import Target, install
from envbuilder.layers.wheel import WheelInput, wheel_layer, written_paths
from envbuilder.layers.wheel_reconstruction import has_wheel, makers, wheel_file
from envbuilder.layers.wheelfile import WheelFile
from envbuilder.model.errors import BuildError, UsageError
from envbuilder.model.image import Layer
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store
from tests.wheels import Recipe, as_wheel, hash_of, member, write_wheel

TARGET = Target(python="3.11")
SITE = "opt/venv/lib/python3.11/site-packages"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def layer(store: Store, *wheels: WheelInput) -> Layer:
    return wheel_layer(store, wheels, target=TARGET, title="test")


def contents(store: Store, made: Layer) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(store.path(made.digest)) as archive:
        members = archive.getmembers()
    assert len({each.name for each in members}) == len(members), "a path is there twice"
    return {each.name: each for each in members}


def read(store: Store, made: Layer, path: str) -> bytes:
    with tarfile.open(store.path(made.digest)) as archive:
        file = archive.extractfile(path)
        assert file is not None
        return file.read()


def record(store: Store, made: Layer, recipe: Recipe) -> dict[str, str]:
    text = read(store, made, f"{SITE}/{recipe.info}/RECORD").decode()
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == sorted(rows)
    return {path: digest for path, digest, _ in rows}


def test_files_modes_and_order(store: Store, tmp_path: Path) -> None:
    files = {"demo/__init__.py": b"", "demo/tool": b"x" * 5000, "demo/data.txt": b"data"}
    modes = {"demo/tool": 0o744, "demo/data.txt": 0o600}
    made = layer(store, as_wheel(write_wheel(tmp_path, Recipe(files=files, modes=modes))))
    found = contents(store, made)
    assert found[f"{SITE}/demo/tool"].mode == 0o755
    assert found[f"{SITE}/demo/data.txt"].mode == 0o644
    assert found[f"{SITE}/demo/__init__.py"].size == 0
    assert {each.mode for each in found.values() if each.isdir()} == {0o755}
    assert {(each.uid, each.gid, each.mtime) for each in found.values()} == {(0, 0, 946684800)}
    folders = [f"{name}/" for name in found if found[name].isdir()]
    files = [name for name in found if not found[name].isdir()]
    assert [*folders, *files] == sorted(folders) + sorted(files)
    assert list(found) == [name.rstrip("/") for name in (*folders, *files)]
    assert set(folders) >= {"opt/", "opt/venv/", f"{SITE}/demo/"}


def test_layer_names_its_blob_and_its_tar(store: Store, tmp_path: Path) -> None:
    made = layer(store, as_wheel(write_wheel(tmp_path, Recipe(files={"demo.py": b"1\n" * 999}))))
    blob = store.path(made.digest).read_bytes()
    assert (Digest.of(blob), len(blob)) == (made.digest, made.size)
    assert Digest.of(gzip.decompress(blob)) == made.diff_id


def test_gnu_tar_reads_it(store: Store, tmp_path: Path) -> None:
    long = "demo/" + "/".join(["ä" * 40] * 3) + "/" + "n" * 120 + ".py"
    made = layer(store, as_wheel(write_wheel(tmp_path, Recipe(files={long: b"x"}))))
    tar = ["tar", "--extract", "--gzip", "--file", store.path(made.digest), "-C", tmp_path]
    done = subprocess.run(tar, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert (tmp_path / SITE / long).read_bytes() == b"x"


def test_schemes_of_data(store: Store, tmp_path: Path) -> None:
    data = "Demo_Pkg-1.0.data"
    recipe = Recipe(
        name="Demo_Pkg",
        files={
            f"{data}/purelib/pure.py": b"1",
            f"{data}/platlib/plat.py": b"2",
            f"{data}/headers/sub/demo.h": b"3",
            f"{data}/data/share/man/x.1": b"4",
            f"{data}/data/lib64/y": b"5",
            f"{data}/scripts/binary": b"\x7fELF",
            f"{data}/scripts/script": b"#!pythonw -E\nprint(1)\n",
        },
    )
    made = layer(store, as_wheel(write_wheel(tmp_path, recipe)))
    found = contents(store, made)
    assert f"{SITE}/pure.py" in found
    assert f"{SITE}/plat.py" in found
    assert "opt/venv/include/site/python3.11/demo-pkg/sub/demo.h" in found
    assert "opt/venv/share/man/x.1" in found
    assert "opt/venv/lib/y" in found, "lib64 is a link to lib, made by another layer"
    assert not any("Demo_Pkg-1.0.data" in name for name in found)
    assert found["opt/venv/bin/binary"].mode == found["opt/venv/bin/script"].mode == 0o755
    script = b"#!/opt/venv/bin/python\nprint(1)\n"
    assert read(store, made, "opt/venv/bin/script") == script
    rows = record(store, made, recipe)
    assert rows["../../../bin/script"] == hash_of(script)
    assert rows["../../../share/man/x.1"] == hash_of(b"4")


def test_a_folder_may_come_from_two_places(store: Store, tmp_path: Path) -> None:
    """As pip and uv have it."""
    data = "demo-1.0.data"
    folders = ("demo/", f"{data}/", f"{data}/purelib/", f"{data}/purelib/demo/",
               f"{data}/platlib/demo/", f"{data}/data/lib/", f"{data}/data/lib64/")  # fmt: skip
    files = dict.fromkeys(folders, b"") | {"demo/a.py": b"1", f"{data}/purelib/demo/b.py": b"2"}
    found = contents(store, layer(store, as_wheel(write_wheel(tmp_path, Recipe(files=files)))))
    assert {f"{SITE}/demo", f"{SITE}/demo/a.py", f"{SITE}/demo/b.py"} <= found.keys()


def test_a_file_of_data_lies_over_a_launcher(store: Store, tmp_path: Path) -> None:
    """As uv has it; pip lays the launcher over the file."""
    own = b"#!/bin/sh\necho own\n"
    recipe = Recipe(
        files={"demo-1.0.data/data/bin/demo": own},
        entry_points="[console_scripts]\ndemo = demo:x\n",
    )
    made = layer(store, as_wheel(write_wheel(tmp_path, recipe)))
    assert read(store, made, "opt/venv/bin/demo") == own
    assert record(store, made, recipe)["../../../bin/demo"] == hash_of(own)


def test_empty_lines_in_a_record(store: Store, tmp_path: Path) -> None:
    recipe = Recipe(files={"demo.py": b"x"})
    path = tmp_path / recipe.filename
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in recipe.contents().items():
            text = data.replace(b"\n", b"\r\n\r\n") if name.endswith("RECORD") else data
            archive.writestr(name, text)
    made = layer(store, as_wheel(path))
    assert record(store, made, recipe)["demo.py"] == hash_of(b"x")


def test_entry_points_become_launchers(store: Store, tmp_path: Path) -> None:
    recipe = Recipe(
        files={"demo-1.0.data/scripts/both": b"#!python\nthe launcher wins\n"},
        entry_points=(
            "[console_scripts]\ndemo = demo.cli : main.run [extra, more]\nboth=demo:main\n"
            "pip3=pip:main\npip3.7=pip:main\n[gui_scripts]\nwindow = demo:gui\n[other]\nx = y:z\n"
        ),
    )
    made = layer(store, as_wheel(write_wheel(tmp_path, recipe)))
    found = contents(store, made)
    scripts = {name.rpartition("/")[2] for name in found if name.startswith("opt/venv/bin/")}
    assert scripts == {"demo", "both", "window", "pip3", "pip3.11"}
    launcher = read(store, made, "opt/venv/bin/demo").decode()
    assert launcher.startswith("#!/opt/venv/bin/python\n")
    assert "from demo.cli import main\n" in launcher
    assert "sys.exit(main.run())" in launcher
    assert b"from demo import main" in read(store, made, "opt/venv/bin/both")


def test_a_size_that_cannot_be_true_gets_a_true_row(store: Store, tmp_path: Path) -> None:
    """As tools leave it that patch a library and forget its row."""
    files = {"demo.so": b"patched", "demo.py": b"print(1)\n", "long.so": bytes(3 << 20)}
    rows = [
        ("demo.so", "sha256=of-what-it-was", "5"),
        ("demo.py", "sha256=is-not-looked-at", "9"),
        ("long.so", "sha256=of-what-it-was", "1"),
    ]
    recipe = Recipe(files=files, record=rows)
    made = wheel_layer(
        store, [as_wheel(write_wheel(tmp_path, recipe))], target=TARGET, title="wheel demo"
    )
    found = record(store, made, recipe)
    assert found["demo.so"] == hash_of(b"patched")
    assert found["long.so"] == hash_of(bytes(3 << 20))
    assert found["demo.py"] == "sha256=is-not-looked-at"


def test_record_says_what_is_there(store: Store, tmp_path: Path) -> None:
    listed = ("demo.py", hash_of(b"1"), "1")
    recipe = Recipe(
        files={"demo.py": b"1", "unlisted, it is.py": b"22", "demo-1.0.dist-info/INSTALLER": b"x"},
        record=[listed, ("ghost.py", "sha256=abc", "3")],
    )
    wheel = as_wheel(write_wheel(tmp_path, recipe), requested=True, direct_url=b"{}")
    made = layer(store, wheel)
    rows = record(store, made, recipe)
    assert set(rows) == {
        "demo.py",
        "unlisted, it is.py",
        *(f"demo-1.0.dist-info/{name}" for name in ("INSTALLER", "METADATA", "RECORD", "WHEEL")),
        *(f"demo-1.0.dist-info/{name}" for name in ("REQUESTED", "direct_url.json")),
    }
    assert rows["demo-1.0.dist-info/REQUESTED"] == hash_of(b"")
    assert rows["demo-1.0.dist-info/direct_url.json"] == hash_of(b"{}")
    assert read(store, made, f"{SITE}/demo-1.0.dist-info/INSTALLER") == b"envbuilder\n"
    assert rows["unlisted, it is.py"] == ""


def test_options_and_target_make_other_layers(store: Store, tmp_path: Path) -> None:
    path = write_wheel(tmp_path, Recipe(files={"demo.py": b"1"}))
    plain = layer(store, as_wheel(path))
    assert layer(store, as_wheel(path)) == plain
    assert layer(store, as_wheel(path, requested=True)).digest != plain.digest
    assert layer(store, as_wheel(path, direct_url=b"{}")).digest != plain.digest
    other = wheel_layer(store, [as_wheel(path)], target=Target(python="3.12"), title="test")
    assert other.diff_id != plain.diff_id


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    part = st.text(st.sampled_from("abcäß😀. _-"), min_size=1, max_size=30).map(lambda t: f"m{t}n")
    path = st.lists(part, min_size=1, max_size=4).map("/".join)
    sizes = st.integers(0, 70_000).map(lambda size: bytes(range(256)) * (size // 256 + 1))
    files = draw(st.dictionaries(path, st.binary(max_size=600) | sizes, max_size=6))
    names = [n for n in files if not any(other.startswith(f"{n}/") for other in files)]
    files = {name: files[name] for name in names}
    stored = frozenset(draw(st.sets(st.sampled_from(names)))) if names else frozenset()
    return Recipe(files=files, stored=stored)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(recipe=recipes())
def test_any_wheel_is_installed_and_comes_back(
    recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    store = Store(folder / "store")
    wheel = as_wheel(write_wheel(folder, recipe))
    made = layer(store, wheel)
    for name, data in recipe.files.items():
        assert read(store, made, f"{SITE}/{name}") == data
    with wheel_file(store, wheel.sha256) as again:
        assert Digest.of(again.read_bytes()) == wheel.sha256


def test_the_layer_replaces_the_wheel_in_the_store(store: Store, tmp_path: Path) -> None:
    path = write_wheel(tmp_path, Recipe(files={"demo.py": b"1" * 100_000}))
    wheel = WheelInput(filename=path.name, sha256=store.adopt(path, Digest.of(path.read_bytes())))
    made = layer(store, wheel)
    assert not store.has(wheel.sha256)
    assert has_wheel(store, wheel.sha256)
    store.discard(made.digest)
    assert not has_wheel(store, wheel.sha256)
    with pytest.raises(BuildError, match="is not in the store"):
        layer(store, wheel)


def test_pruning_keeps_what_a_locked_wheel_is_made_from(store: Store, tmp_path: Path) -> None:
    path = write_wheel(tmp_path, Recipe(files={"demo.py": b"1" * 100_000}))
    wheel = WheelInput(filename=path.name, sha256=store.adopt(path, Digest.of(path.read_bytes())))
    layer(store, wheel)
    keep = {wheel.sha256}  # what a lock needs that no image was sealed in
    assert store.prune(keep=keep | makers(store, keep), unused_for=0) == []
    with wheel_file(store, wheel.sha256) as again:
        assert again.read_bytes() == path.read_bytes()
    assert makers(store, {Digest.of(b"another wheel")}) == set()


FETCHING = """
import os, shutil, sys
blob, wheel = sys.argv[1:]
while os.getppid() == int(os.environ["FETCHER_OF"]):
    os.replace(shutil.copy(wheel, blob + "-new"), blob)
"""


def test_a_wheel_that_another_takes_in_meanwhile_is_lent(store: Store, tmp_path: Path) -> None:
    """Found in three builds on one store: to link a name that is being replaced fails."""
    path = write_wheel(tmp_path, Recipe(files={"demo.py": b"1"}))
    wheel = store.adopt(path, Digest.of(path.read_bytes()))
    command = [sys.executable, "-c", FETCHING, store.path(wheel), path]
    with subprocess.Popen(command, env={"FETCHER_OF": str(os.getpid())}) as fetching:
        try:
            for _ in range(2000):
                with wheel_file(store, wheel) as lent:
                    assert lent.read_bytes() == path.read_bytes()
            assert fetching.poll() is None, "it went on all the time"
        finally:
            fetching.kill()


def test_a_wheel_is_lent_where_files_have_one_name(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems know no hard links, and some people's links another user may not make."""
    path = write_wheel(tmp_path, Recipe(files={"demo.py": b"1"}))
    wheel = store.adopt(path, Digest.of(path.read_bytes()))

    def refuse(_link: Path, _target: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with wheel_file(store, wheel) as lent:
        store.discard(wheel)
        assert lent.read_bytes() == path.read_bytes()


def test_a_wheel_from_a_damaged_layer_is_not_given_out(store: Store, tmp_path: Path) -> None:
    path = write_wheel(tmp_path, Recipe(files={"demo.py": b"1" * 100_000}))
    wheel = WheelInput(filename=path.name, sha256=store.adopt(path, Digest.of(path.read_bytes())))
    blob = store.path(layer(store, wheel).digest)
    blob.chmod(0o644)
    blob.write_bytes(bytes(blob.stat().st_size))
    with pytest.raises(BuildError, match="is damaged"), wheel_file(store, wheel.sha256):
        pass


def test_another_layer_is_made_from_the_first(store: Store, tmp_path: Path) -> None:
    path = write_wheel(tmp_path, Recipe(files={"demo.py": b"1"}))
    wheel = WheelInput(filename=path.name, sha256=store.adopt(path, Digest.of(path.read_bytes())))
    layer(store, wheel)
    again = WheelInput(filename=path.name, sha256=wheel.sha256, requested=True)
    assert layer(store, again) == layer(Store(tmp_path / "new"), as_wheel(path, requested=True))


def test_any_layer_that_holds_the_wheel_will_do(store: Store, tmp_path: Path) -> None:
    path = write_wheel(tmp_path, Recipe(files={"demo.py": b"1"}))
    wheel = as_wheel(path)
    one = layer(store, wheel)
    two = layer(store, as_wheel(path, requested=True))
    in_store = WheelInput(filename=path.name, sha256=wheel.sha256)
    store.discard(one.digest)
    assert layer(store, in_store) == one, "made again from the other layer"
    store.discard(two.digest)
    assert layer(store, replace(in_store, requested=True)) == two, "and the other way round"
    store.discard(one.digest)
    store.discard(two.digest)
    assert not has_wheel(store, wheel.sha256)


def test_a_path_that_is_gone(store: Store, tmp_path: Path) -> None:
    wheel = as_wheel(write_wheel(tmp_path, Recipe()))
    assert wheel.path is not None
    wheel.path.unlink()
    with pytest.raises(BuildError, match="is not a file"):
        layer(store, wheel)


def test_the_user_s_own_wheel_stays(store: Store, tmp_path: Path) -> None:
    path = write_wheel(tmp_path, Recipe(files={"demo.py": b"1"}))
    before = path.read_bytes()
    layer(store, as_wheel(path))
    assert path.read_bytes() == before


def test_of_two_wheels_the_later_one_wins(store: Store, tmp_path: Path) -> None:
    one = Recipe(name="one", files={"shared.py": b"first", "one.py": b""})
    two = Recipe(name="two", files={"shared.py": b"second", "two.py": b""})
    wheels = [as_wheel(write_wheel(tmp_path, recipe)) for recipe in (one, two)]
    assert read(store, layer(store, *wheels), f"{SITE}/shared.py") == b"second"
    assert read(store, layer(store, *reversed(wheels)), f"{SITE}/shared.py") == b"first"
    contents(store, layer(store, *wheels))
    paths = [written_paths(store, wheel, target=TARGET) for wheel in wheels]
    assert paths[0][f"{SITE}/shared.py"] != paths[1][f"{SITE}/shared.py"]
    for wheel in wheels:
        with wheel_file(store, wheel.sha256) as again:
            assert Digest.of(again.read_bytes()) == wheel.sha256, "the loser's file is kept too"


def test_a_file_where_another_wheel_has_a_directory(store: Store, tmp_path: Path) -> None:
    one = as_wheel(write_wheel(tmp_path, Recipe(name="one", files={"x": b""})))
    two = as_wheel(write_wheel(tmp_path, Recipe(name="two", files={"x/y": b""})))
    with pytest.raises(BuildError, match=r"one-1\.0-py3-none-any\.whl installs a file"):
        layer(store, one, two)


def test_what_is_known_of_a_wheel_goes_with_its_layer(store: Store, tmp_path: Path) -> None:
    recipe = Recipe(files={"one.py": b"1", "two.py": b"22"})
    wheel = as_wheel(write_wheel(tmp_path, recipe))
    store.adopt(tmp_path / recipe.filename, wheel.sha256)
    wheel = replace(wheel, path=None)
    alone = layer(store, wheel)
    known = written_paths(store, wheel, target=TARGET)
    with_other = layer(store, wheel, as_wheel(write_wheel(tmp_path, Recipe(name="other"))))
    store.prune(keep=[*makers(store, [wheel.sha256]), alone.digest], unused_for=-1)
    store.discard(with_other.digest)
    store.prune(keep=[blob.digest for blob in store.ls()], unused_for=-1)
    assert written_paths(store, wheel, target=TARGET) == known, "another layer holds it as well"
    store.prune(keep=[], unused_for=-1)
    assert store.record_files() == []


def test_paths_of_a_wheel_that_has_no_layer(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="has no layer"):
        written_paths(store, as_wheel(write_wheel(tmp_path, Recipe())), target=TARGET)


def unseekable(recipe: Recipe) -> bytes:
    """Write the wheel into a pipe, which makes zipfile use data descriptors."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:
            self.data += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        for name, data in recipe.contents().items():
            archive.writestr(member(name, recipe), data)
    assert archive.infolist()[0].flag_bits & 8
    return bytes(pipe.data)


def zip64(recipe: Recipe) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in recipe.contents().items():
            with archive.open(member(name, recipe), "w", force_zip64=True) as out:
                out.write(data)
    return file.getvalue()


def prefixed(recipe: Recipe) -> bytes:
    """Write the wheel behind other bytes, as a self-extracting zip has them."""
    file = io.BytesIO(b"#!/bin/sh\n")
    with zipfile.ZipFile(file, "a") as archive:
        for name, data in recipe.contents().items():
            archive.writestr(member(name, recipe), data)
    return file.getvalue()


@pytest.mark.parametrize("kind", [unseekable, zip64, prefixed])
def test_every_way_to_write_a_zip(store: Store, tmp_path: Path, kind: object) -> None:
    recipe = Recipe(files={"demo.py": b"1" * 1000, "empty": b"", "plain": b"2" * 70_000})
    path = tmp_path / recipe.filename
    path.write_bytes(kind(recipe))  # type: ignore[operator]
    wheel = as_wheel(path)
    made = layer(store, wheel)
    for name, data in recipe.files.items():
        assert read(store, made, f"{SITE}/{name}") == data
    with wheel_file(store, wheel.sha256) as again:
        assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("prefix", ["opt/venv", "/opt/my venv", "/opt/../x", "/", f"/{'a' * 101}"])
def test_a_prefix_that_no_script_could_name(prefix: str) -> None:
    with pytest.raises(UsageError):
        Target(python="3.11", prefix=prefix)


def test_a_prefix_may_be_as_long_as_a_first_line_bears() -> None:
    assert len(Target(python="3.11", prefix=f"/{'a' * 99}").prefix) == 100
    with pytest.raises(UsageError, match="too long for the first line"):
        Target(python="3.11", prefix=f"/{'a' * 100}")


def test_a_directory_can_be_entered_whatever_the_zip_says(tmp_path: Path) -> None:
    recipe = Recipe(
        files={"demo/": b"", "demo/x": b"", "demo/run": b""},
        modes={"demo/": 0o644, "demo/run": 0o700},
    )
    wheel = as_wheel(write_wheel(tmp_path, recipe))
    with WheelFile.open(tmp_path / recipe.filename, wheel.filename) as opened:
        assert not opened.members["demo/"].executable
        modes = {file.path: file.mode for file in install(opened, target=TARGET)}
    found = [modes[f"{SITE}/{name}"] for name in ("demo/", "demo/x", "demo/run")]
    assert found == [0o755, 0o644, 0o755]


@pytest.fixture(autouse=True)
def nothing_half_written(store: Store) -> Iterator[None]:
    yield
    assert list(store.root.glob("tmp/*")) == []
