import tomllib
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from packaging.pylock import Pylock

from envbuilder.model.errors import LockError
from envbuilder.model.image import Layer
from envbuilder.model.lock import (
    DebianBase,
    DebPackage,
    GitSource,
    ImageBase,
    Lock,
    SystemPython,
    Wheel,
)
from envbuilder.model.pylock import (
    check_fresh,
    dump_lock,
    lock_checksum,
    lock_path,
    needed_blobs,
    parse_lock,
    read_lock,
    write_lock,
)
from envbuilder.model.reference import Digest
from envbuilder.model.seal import Form, FormLayer, Seal
from envbuilder.model.spec import from_builtins

LOCKFILES = Path(__file__).parents[2] / "lockfiles"
SPEC = from_builtins(
    {
        "version": 1,
        "name": "small",
        "python": "3.13",
        "base": {"debian": "trixie"},
        "packages": {"tqdm": "==4.67.1", "mine": {"git": "https://example.org/m", "tag": "v1"}},
    }
)
WHEEL = Wheel(
    name="tqdm",
    version="4.67.1",
    filename="tqdm-4.67.1-py3-none-any.whl",
    size=78540,
    sha256=Digest.of(b"tqdm"),
)
LAYER = Layer(
    digest=Digest.of(b"a"), size=3, diff_id=Digest.of(b"b"), title="tqdm 4.67.1", inputs=("x",)
)
DEB = DebPackage(
    name="libc6",
    version="2.41-12",
    architecture="amd64",
    filename="pool/main/g/glibc/libc6_2.41-12_amd64.deb",
    size=1,
    sha256=Digest.of(b"c"),
)
LOCK = Lock(
    spec=SPEC,
    base=DebianBase(
        suite="trixie", packages=(DEB,), python=(SystemPython(name="torch", version="2.6.0"),)
    ),
    wheels=(WHEEL,),
    sources=(
        GitSource(
            name="mine",
            version="1.0",
            repository="https://example.org/m",
            requested="v1",
            commit="c" * 40,
            tree="d" * 40,
            requires=(replace(WHEEL, name="setuptools", sha256=Digest.of(b"tools")),),
            wheel=replace(WHEEL, name="mine", sha256=Digest.of(b"wheel")),
        ),
    ),
    seal=Seal(
        engine="embedded",
        layout=1,
        layers=(LAYER,),
        config=Digest.of(b"config"),
        manifest=Digest.of(b"manifest"),
    ),
)
FORM = Form(
    compression="zstd:chunked",
    manifest=Digest.of(b"chunked"),
    layers=(
        FormLayer(digest=Digest.of(b"form"), size=9, table=Digest.of(b"table")),
        FormLayer(digest=Digest.of(b"plain form"), size=8),
    ),
)
IMAGE_LOCK = replace(
    LOCK,
    base=ImageBase(
        reference="docker.io/library/debian:12",
        digest=Digest.of(b"m"),
        config=Digest.of(b"c"),
        layers=(replace(LAYER, inputs=()),),
        user="app",
    ),
    seal=None,
    sources=(),
)


FORMED = replace(LOCK, seal=LOCK.seal.with_form(FORM))


@pytest.mark.parametrize("lock", [LOCK, IMAGE_LOCK, LOCK.unsealed(), FORMED])
def test_a_lock_reads_back_as_it_was_written(lock, tmp_path):
    path = tmp_path / "pylock.small.toml"
    write_lock(path, lock)
    assert read_lock(path) == lock
    assert path.read_text() == dump_lock(lock)
    assert path.read_text().endswith("\n")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_lock_is_a_valid_pep_751_file():
    pylock = Pylock.from_dict(tomllib.loads(dump_lock(LOCK)))
    assert {package.name: str(package.version) for package in pylock.packages} == {
        "tqdm": "4.67.1",
        "mine": "1.0",
    }


@pytest.mark.parametrize("path", sorted(LOCKFILES.glob("pylock.*.toml")), ids=lambda p: p.stem)
def test_our_own_locks_name_no_host_of_an_artifact(path):
    lock = read_lock(path)
    assert lock.wheels
    assert "://" not in dump_lock(replace(lock, spec=SPEC)).replace("https://example.org/m", "")


@pytest.mark.parametrize("path", sorted(LOCKFILES.glob("pylock.*.toml")), ids=lambda p: p.stem)
def test_our_own_locks_read_back_byte_for_byte(path):
    assert dump_lock(read_lock(path)) == path.read_text()


def test_forms_are_listed_once_each_and_only_where_there_are_any():
    assert "forms" not in dump_lock(LOCK)
    plain = replace(FORM, compression="zstd", manifest=Digest.of(b"zstd"))
    newer = replace(FORM, manifest=Digest.of(b"newer"))
    seal = LOCK.seal.with_form(FORM).with_form(plain).with_form(newer)
    assert seal.forms == (plain, newer)
    assert seal.manifests == {seal.manifest, plain.manifest, newer.manifest}
    assert seal.published("gzip") == seal.manifest
    assert seal.published("zstd:chunked") == newer.manifest
    assert LOCK.seal.published("zstd") is None


def test_the_checksum_is_the_same_before_and_after_building():
    assert lock_checksum(LOCK) == lock_checksum(FORMED)
    assert lock_checksum(LOCK) == lock_checksum(LOCK.unsealed())
    assert lock_checksum(LOCK) != lock_checksum(replace(LOCK, wheels=()))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("format = 1", "format = 9", "has format 9"),
        ('python = "3.13"', 'python = "3.12"', "edited by hand"),
        ('sha256 = "sha256:', 'sha256 = "sha255:', "not a digest"),
        ("lock-version", "= lock", "is not TOML"),
        ("lock-version", "x = " + "[" * 5000, "is not TOML"),
        ('suite = "trixie"', 'suite = "trixie"\nsweet = 1', "base: has an unknown key sweet"),
        ("format = 1", "format = 1\nseat = 2", "tool.envbuilder: has an unknown key seat"),
        ('path = "wheels/tqdm', 'url = "x"\npath = "wheels/tqdm', "has an unknown key url"),
        ("requested-revision", "asked-revision", "has an unknown key asked-revision"),
        ('architecture = "amd64"\n', "", r"base.packages\[0\]: lacks architecture"),
        ("[tool.envbuilder]", "[tool.other]", "not a lock of ours"),
        ("size = 3", 'size = "3"', "not a lock of ours"),
        (
            "size = 78540",
            'size = "78540"',
            r"packages\[1\].wheels\[0\].size: expected int, found str",
        ),
        ("size = 78540", "size = true", "size: expected int, found bool"),
        ('version = "4.67.1"', "version = 4", r"packages\[1\].version: expected str, found int"),
        ("wheels/tqdm", "wheels/../../tqdm", "not a lock of ours"),
        ("wheels/tqdm-4.67.1-py3-none-any.whl", "wheels/..", "not the file name of a wheel"),
        ('filename = "tqdm', 'filename = "../tqdm', "not the file name of a wheel"),
    ],
)
def test_a_damaged_lock_is_refused(old, new, says):
    text = dump_lock(LOCK)
    assert old in text
    with pytest.raises(LockError, match=says) as caught:
        parse_lock(text.replace(old, new, 1), name="x.toml")
    assert "x.toml" in caught.value.message
    assert "envbuilder lock NAME --upgrade" in caught.value.hint


def test_a_missing_lock(tmp_path):
    with pytest.raises(LockError, match="there is no lock"):
        read_lock(tmp_path / "pylock.none.toml")


def test_a_stale_lock_shows_what_changed():
    check_fresh(LOCK, SPEC, name="small")
    newer = msgspec.structs.replace(SPEC, packages={**SPEC.packages, "tqdm": "==4.66.0"})
    with pytest.raises(LockError, match=r"(?s)- .*4\.67\.1.*\+ .*4\.66\.0") as caught:
        check_fresh(LOCK, newer, name="small")
    assert '\n  -  "tqdm": "==4.67.1"\n' in caught.value.message.replace('",\n', '"\n')
    assert caught.value.hint == "envbuilder lock small"


def test_of_many_changes_the_first_twenty_are_shown():
    labels = {f"org.example.l{number:02}": "x" for number in range(30)}
    newer = msgspec.structs.replace(SPEC, labels=labels)
    with pytest.raises(LockError) as caught:
        check_fresh(LOCK, newer, name="small")
    assert len(caught.value.message.splitlines()) == 1 + 20


UNBUILT = replace(LOCK.sources[0], wheel=None)
SEALED = {b"c", b"tqdm", b"config", b"manifest", b"a", b"tools", b"wheel"}
BUILDER = replace(IMAGE_LOCK.base, config=Digest.of(b"builder"), layers=(LAYER,))


@pytest.mark.parametrize(
    ("lock", "needed"),
    [
        (Lock(spec=SPEC, base=DebianBase(suite="trixie", packages=(DEB,)), wheels=()), {b"c"}),
        (replace(LOCK, seal=None, sources=()), {b"c", b"tqdm"}),
        (LOCK, SEALED),
        (
            replace(LOCK, seal=LOCK.seal.with_form(FORM)),
            SEALED | {b"form", b"plain form", b"chunked"},
        ),
        (IMAGE_LOCK, {b"tqdm", b"c", b"a"}),
        # The builder's image is wanted as long as something has to be built in it.
        (
            replace(LOCK, seal=None, sources=(UNBUILT,), builder=BUILDER),
            {b"c", b"tqdm", b"tools", b"builder", b"a"},
        ),
        (replace(LOCK, seal=None, builder=BUILDER), {b"c", b"tqdm", b"tools", b"wheel"}),
    ],
    ids=["base", "wheels", "sealed", "with a form", "image base", "to be built", "built"],
)
def test_what_a_store_must_keep_for_a_build_without_a_network(lock, needed):
    assert needed_blobs(lock) == {Digest.of(content) for content in needed}


def test_the_lock_lies_beside_its_spec():
    assert lock_path(Path("lockfiles/omni.yaml")) == Path("lockfiles/pylock.omni.toml")
