"""What layers show of places, and what their own files tell of C library and Python."""

import io
import platform
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from envbuilder.layers.below import Below, asked, below
from envbuilder.model.errors import BuildError
from envbuilder.model.image import Layer
from envbuilder.resolve.below import look_below
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.integration.tiny_image import image_of

Member = bytes | str | None


def tar(members: Mapping[str, Member], hard: Mapping[str, str] | None = None) -> bytes:
    """Make a layer: bytes are files, a text is a link's target, None is a folder of uid 7."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for path, content in members.items():
            info = tarfile.TarInfo(path)
            if content is None:
                info.type, info.mode, info.uid = tarfile.DIRTYPE, 0o750, 7
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            out.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
        for path, target in (hard or {}).items():
            info = tarfile.TarInfo(path)
            info.type, info.linkname = tarfile.LNKTYPE, target
            out.addfile(info)
    return buffer.getvalue()


def look(tmp_path: Path, *tars: bytes) -> Below:
    store = Store(tmp_path / "store")
    layers: tuple[Layer, ...] = image_of(store, tars, config={}).layers
    found = look_below(context(store), layers)
    assert look_below(context(store), layers) == found, "the record says the same"
    return found


def test_folders_links_and_texts_of_the_stack_as_a_whole(tmp_path):
    found = look(
        tmp_path,
        tar(
            {"etc": None, "etc/passwd": b"old", "etc/shadow": b"s", "gone": None, "lib": "usr/lib"}
        ),
        tar({"etc/passwd": b"new", ".wh.gone": b"", "etc/.wh.shadow": b""}),
    )
    assert found.folders["etc"].uid == 7
    assert found.folders["etc"].mode == 0o750
    assert "gone" not in found.folders
    assert found.links == {"lib": "usr/lib"}
    assert {path: told.text for path, told in found.files.items()} == {"etc/passwd": b"new"}


@pytest.mark.parametrize(
    ("tars", "there"),
    [
        ([{"opt": None, "opt/venv": None}], True),
        ([{"opt/venv/lib/six.py": b""}], True),
        ([{"opt/venv": "/srv"}], True),
        ([{"opt/venv": b""}], True),
        ([{"opt": None, "opt/venv2": None, "srv/opt/venv": None}], False),
        ([{"opt/venv": None, "opt/venv/a": b""}, {"opt/.wh.venv": b""}], False),
        ([{"opt": None}, {"opt/venv/a": b""}], True),
    ],
)
def test_whether_the_environments_place_is_taken(tmp_path, tars, there):
    assert look(tmp_path, *map(tar, tars)).environment is there


def test_bytecode_is_what_lies_in_the_caches_of_modules(tmp_path):
    kept = ["lib/__pycache__/a.cpython-311.pyc", "lib/__pycache__/b.cpython-311.opt-1.pyc"]
    gone = ["lib/__pycache__/c.cpython-311.pyc", "lib/d.pyc", "lib/__pycache__/stray"]
    found = look(
        tmp_path,
        tar({"lib/__pycache__": None, **dict.fromkeys([*kept, *gone], b"")}),
        tar({"lib/__pycache__/.wh.c.cpython-311.pyc": b""}),
    )
    assert found.bytecode == tuple(kept)


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/a/b", "a/b"),
        ("/lib/x", "usr/lib/x"),
        ("/usr/bin/py", "opt/py/bin/py3"),
        ("/up/x", "x"),
        ("/srv/../lib/./x", "usr/lib/x"),
        ("/", ""),
    ],
)
def test_links_are_followed_as_a_chroot_would(path, real):
    links = {"lib": "usr/lib", "usr/bin/py": "/opt/py/bin/py3", "up": "../../.."}
    assert Below(links=links).real(path) == real


def test_links_in_a_circle():
    with pytest.raises(BuildError, match="in a circle"):
        Below(links={"a": "b", "b": "a"}).real("/a/x")


@pytest.mark.parametrize(
    ("links", "path"),
    [
        ({f"l{n}": "x/../" * 780 + f"l{n + 1}" for n in range(40)}, "/l0/x"),
        ({"usr": "a/" * 30_000}, "/usr/bin/python3.11"),
        ({}, "/" + "a/" * 30_000),
    ],
)
def test_paths_that_lead_through_far_too_much(links, path):
    with pytest.raises(BuildError, match="too far"):
        Below(links=links).real(path)


def test_a_link_that_no_file_system_holds(tmp_path):
    with pytest.raises(BuildError, match="'usr' is a link of 60000 bytes"):
        look(tmp_path, tar({"usr": "a/" * 30_000}))


def test_the_c_library_tells_its_version_wherever_it_lies(tmp_path):
    (host,) = (p for p in Path("/lib").glob("*-linux-gnu/libc.so.6"))
    found = look(tmp_path, tar({f"usr/lib/{host.parent.name}/libc.so.6": host.read_bytes()}))
    (told,) = found.files.values()
    assert told.text.decode() == platform.libc_ver()[1]


def test_a_version_between_two_pieces_is_found(tmp_path):
    text = b"x" * ((1 << 20) - 12) + b"stable release version 2.28, by the" + b"y" * (1 << 20)
    found = look(tmp_path, tar({"lib64/libc.so.6": text, "lib64/libm.so.6": text}))
    assert {path: told.text for path, told in found.files.items()} == {"lib64/libc.so.6": b"2.28"}


def test_an_interpreter_tells_its_patch_release(tmp_path):
    program = Path(sys.executable).resolve().read_bytes()
    version = ".".join(map(str, sys.version_info[:3])).encode()
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    header = b'#define PY_MINOR_VERSION 11\n#define PY_VERSION      "3.11.2+"\n'
    found = look(
        tmp_path,
        tar(
            {f"usr/local/bin/{name}": program, "usr/include/python3.11/patchlevel.h": header},
            hard={f"opt/conda/bin/{name}": f"usr/local/bin/{name}"},
        ),
    )
    told = found.find(f"/opt/conda/bin/{name}")
    assert told is not None, "a hard link is another name of the file"
    assert told.text in {version, b""}, "or its library has it"
    assert found.files["usr/include/python3.11/patchlevel.h"].text == b"3.11.2"


def test_another_version_in_the_same_program_is_passed_over(tmp_path):
    text = b"x\0" + b"3.2.0\0zlib\0" + b"3.11.9+\0y"
    found = look(tmp_path, tar({"usr/bin/python3.11": text, "opt/libpython3.11.so.1.0": text}))
    assert {told.text for told in found.files.values()} == {b"3.11.9"}


@pytest.mark.parametrize(
    ("content", "release"),
    [
        (b"\xf0\x07\x0b\x03\0\0\0\0", b"3.11.7"),
        (b"\xf0\x07\x0b\x03\0\0\0\0-\xf0\x07\x0b\x03\0\0\0\0", b"3.11.7"),
        (b"\xf0\x07\x0b\x03\0\0\0\0-\xf0\x08\x0b\x03\0\0\0\0", b""),
        (b"\xf0\x07\x0b\x03\0\0\0\0-\0" + b"3.11.9\0", b"3.11.9"),
        (b"\xf0\x07\x0c\x03\0\0\0\0", b""),
        (b"\xf0\x0a\x0b\x03\0\0\0\0", b"3.11.10"),
    ],
)
def test_a_release_that_is_a_number_counts_if_it_is_the_only_one(tmp_path, content, release):
    found = look(tmp_path, tar({"usr/bin/python3.11": b"x" * 99 + content}))
    assert found.files["usr/bin/python3.11"].text == release


def test_this_interpreters_own_library_tells_its_release():
    program = Path(sys.executable).resolve()
    minor = f"3.{sys.version_info.minor}"
    library = program.parents[1] / "lib" / f"libpython{minor}.so.1.0"
    file = library if library.exists() else program
    reader = asked(f"usr/bin/python{minor}")
    assert reader is not None
    with file.open("rb") as stream:
        pieces = iter(lambda: stream.read(1 << 20), b"")
        assert reader(pieces).decode() == platform.python_version()


def test_musl_and_the_packages_of_debian(tmp_path):
    status = b"Package: python3.11\nStatus: install ok installed\nVersion: 3.11.2-6\n"
    apk = b"C:Q1\nP:busybox\nV:1.36\n\nC:Q1x\nP:musl\nV:1.2.4-r2\nA:x86_64\n"
    found = look(
        tmp_path,
        tar({"lib/ld-musl-x86_64.so.1": b"\x7fELF", "lib/apk/db/installed": apk,
             "var/lib/dpkg/status": status}),
    )  # fmt: skip
    assert found.files["lib/apk/db/installed"].text == b"1.2.4"
    assert "lib/ld-musl-x86_64.so.1" in found.files
    assert found.packages == {"python3.11": "3.11.2-6"}


def test_a_list_of_users_that_is_none(tmp_path):
    with pytest.raises(BuildError, match=r"/etc/passwd of the base has more than 1 MiB"):
        look(tmp_path, tar({"etc/passwd": b"x" * (2 << 20)}))


def test_no_layers():
    assert below([]) == Below()
