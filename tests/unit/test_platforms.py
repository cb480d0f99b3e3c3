"""A spec for several platforms, as values: specs, names of locks, the index, and what is told."""

import json
import platform as this
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from envbuilder.model.errors import LockError, MissingToolError, SpecError, UsageError
from envbuilder.model.image import compose
from envbuilder.model.lock import image_of, joint, spec_checksum
from envbuilder.model.pylock import dump_lock, lock_checksum, lock_path, parse_lock, write_lock
from envbuilder.model.reference import Digest
from envbuilder.model.seal import Form
from envbuilder.model.spec import schema
from envbuilder.model.spec_file import load, load_each, platforms_at
from envbuilder.runtime import emulation
from envbuilder.smoke import CheckStatus, Report
from envbuilder.storage.build_records import BuildTexts, keep, kept_blobs, present, recall
from envbuilder.storage.ledger import LedgerEntry, append, ledger_path, read
from envbuilder.storage.store import Store
from envbuilder.workflow import foreign
from envbuilder.workflow.build import BuildResult, ledger_entry
from envbuilder.workflow.bump.texts import checksum_of, texts_of
from envbuilder.workflow.bump.transaction import finish, transaction
from envbuilder.workflow.deploy import run_here
from envbuilder.workflow.platforms import joined, joint_entry
from envbuilder.workflow.publish_platforms import image_index, sealed_index
from envbuilder.workflow.status import status
from tests.contexts import context
from tests.servers.locks import sealed, small_lock
from tests.servers.samples import image_of as image_made_of
from tests.servers.samples import layer_of

AMD64, ARM64 = "linux/amd64", "linux/arm64"
SPEC = """\
version: 1
name: both
platform: PLATFORM
python: "3.12"
base: {debian: trixie}
packages: {tqdm: "*"}
"""


@pytest.fixture
def spec(tmp_path) -> Path:
    path = tmp_path / "both.yaml"
    path.write_text(SPEC.replace("PLATFORM", f"[{ARM64}, {AMD64}]"))
    return path


def of(path: Path, text: str) -> Path:
    path.write_text(SPEC.replace("PLATFORM", text))
    return path


def test_each_platform_has_the_spec_that_a_file_for_it_alone_has(spec):
    both = load_each(spec)
    assert list(both) == [AMD64, ARM64], "in one order, however they are listed"
    for name, found in both.items():
        alone = load(of(spec, name))
        assert found == alone
        assert spec_checksum(found) == spec_checksum(alone)
    unsaid = spec.read_text().replace(f"platform: {ARM64}\n", "")
    spec.write_text(unsaid)
    assert spec_checksum(load(spec)) == spec_checksum(both[AMD64])


@pytest.mark.parametrize("text", [ARM64, f"[{ARM64}]"])
def test_one_platform_is_one_however_it_is_written(spec, text):
    of(spec, text)
    assert platforms_at(spec) == (None,)
    assert load(spec).platform == ARM64
    assert load(spec, ARM64 if text.startswith("[") else None).platform == ARM64


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", r"both\.yaml:3:1: platform: expected one platform or more"),
        ("[linux/amd64, linux/s390x]", r":3:25: platform: expected one of .*found 'linux/s390x'"),
        ("[linux/amd64, 3]", r":3:25: platform: expected one of .*found 3"),
        ("[linux/amd64, [linux/arm64]]", r":3:25: platform: expected one of"),
        ("[linux/arm64, linux/arm64]", r":3:25: platform has linux/arm64 twice"),
        ("linux/s390x", r":3:1: platform: expected one of linux/amd64, linux/arm64"),
        ("{linux/arm64: true}", r":3:1: platform: expected a string, got a mapping"),
    ],
)
def test_what_is_no_list_of_platforms_is_refused_where_it_stands(spec, text, said):
    of(spec, text)
    for read_it in (load, load_each):
        with pytest.raises(SpecError, match=said):
            read_it(spec)


def test_who_takes_one_platform_is_not_given_the_first(spec):
    with pytest.raises(UsageError, match=r"several platforms \(linux/amd64, linux/arm64\)"):
        load(spec)
    of(spec, f"[{AMD64}]")
    with pytest.raises(SpecError, match="linux/arm64 is none of the platforms"):
        load(spec, ARM64)


def test_locks_lie_side_by_side_under_names_that_no_environment_has(spec):
    assert lock_path(spec).name == lock_path(spec, AMD64).name == "pylock.both.toml"
    assert lock_path(spec, ARM64).name == "pylock.both_arm64.toml"


def test_editors_know_both_spellings():
    found = schema()["$defs"]["Spec"]["properties"]["platform"]
    one = {"enum": [AMD64, ARM64]}
    assert found["anyOf"] == [
        one, {"type": "array", "items": one, "minItems": 1, "uniqueItems": True},
    ]  # fmt: skip
    assert found["default"] == AMD64


def test_several_checksums_have_one_and_one_is_itself():
    one, two = Digest.of(b"1"), Digest.of(b"2")
    assert joint([one]) == one
    assert joint([one, two]) not in {one, two, joint([two, one])}


@pytest.fixture
def parts(tmp_path):
    """Give what was built for both platforms, and not smoked."""
    store = Store(tmp_path / "store")
    made = {}
    for name in (AMD64, ARM64):
        plain = small_lock()
        lock = replace(plain, spec=replaced(plain.spec, name="both", platform=name))
        layer = layer_of(store, {"opt/file": name.encode()}, "file")
        image = image_made_of([layer], architecture=name.partition("/")[2])
        made[name] = BuildResult(lock=sealed(lock, image), image=image, report=None)
    return made


def replaced(spec, **more):
    return type(spec)(**{name: getattr(spec, name) for name in spec.__struct_fields__} | more)


def reported(part, verdict, summary):
    report = Report(subject="both", verdict=verdict, summary=summary, checks=())
    return replace(part, report=report)


def test_the_index_is_these_bytes():
    locks = [replace(small_lock(), spec=replaced(small_lock().spec, platform=each))
        for each in (AMD64, ARM64)]  # fmt: skip
    images = [compose((), platform=each) for each in (AMD64, ARM64)]
    index = image_index(zip(locks, images, strict=True))
    assert json.loads(index.body) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": str(image.digest),
                "size": len(image.manifest),
                "platform": {"os": "linux", "architecture": architecture},
            }
            for image, architecture in zip(images, ("amd64", "arm64"), strict=True)
        ],
    }
    assert index.digest.hex.startswith("6dd806ea15598dc3")


def test_a_build_of_both_is_one_image_and_one_line(parts):
    built = joined(
        {
            AMD64: reported(parts[AMD64], CheckStatus.PASS, "known good: 3 checks passed"),
            ARM64: reported(parts[ARM64], CheckStatus.PASS, "known good: 2 checks passed"),
        }
    )
    assert built.good
    assert image_of(built.locks.values()) == built.index.digest == built.digest
    entry = joint_entry(built, lambda each: ledger_entry(each, runtime="crun"))
    assert entry.good
    assert entry.image == built.index.digest
    assert entry.lock == joint(lock_checksum(part.lock) for part in parts.values())
    assert entry.smoke == (
        "linux/amd64: known good: 3 checks passed; linux/arm64: known good: 2 checks passed"
    )


@pytest.mark.parametrize(
    ("second", "beginning", "passes"),
    [(CheckStatus.UNPROVEN, "unproven: linux/amd64: known good", True),
        (CheckStatus.FAIL, "linux/amd64: known good", False)],
)  # fmt: skip
def test_one_that_is_not_good_makes_the_whole_not_good(parts, second, beginning, passes):
    built = joined(
        {
            AMD64: reported(parts[AMD64], CheckStatus.PASS, "known good"),
            ARM64: reported(parts[ARM64], second, "no"),
        }
    )
    assert not built.good
    assert built.passes(allow_unproven=True) is passes
    assert built.summary.startswith(beginning)
    assert not joint_entry(built, lambda each: ledger_entry(each, runtime="crun")).good


def test_one_platform_has_no_index_and_its_own_line(parts):
    only = reported(parts[AMD64], CheckStatus.PASS, "known good")
    built = joined({None: only})
    assert built.index is None
    assert built.digest == only.image.digest == image_of([only.lock])
    entry = joint_entry(built, lambda each: ledger_entry(each, runtime="crun"))
    assert replace_time(entry) == replace_time(ledger_entry(only, runtime="crun"))
    assert built.locks == {None: only.lock}


def replace_time(entry: LedgerEntry) -> dict:
    plain = {name: getattr(entry, name) for name in entry.__struct_fields__}
    return plain | {"time": ""}


def test_an_index_counts_only_where_all_seals_name_it(parts):
    locks = [*joined(parts).locks.values()]
    index = image_index((part.lock, part.image) for part in parts.values()).digest
    assert sealed_index(locks, "gzip") == index
    with pytest.raises(LockError, match=r"linux/arm64 has no seal"):
        sealed_index([locks[0], locks[1].unsealed()], "gzip")
    other = replace(locks[1], seal=replace(locks[1].seal, index=Digest.of(b"older")))
    with pytest.raises(LockError, match="name no index"):
        sealed_index([locks[0], other], "gzip")
    with pytest.raises(LockError, match="name no index of their images as zstd"):
        sealed_index(locks, "zstd")
    assert image_of([locks[0], other]) is None


def test_each_form_has_an_index_of_its_own(parts):
    seal = parts[AMD64].lock.seal.with_form(
        Form(compression="zstd", manifest=Digest.of(b"m"), layers=())
    )
    one, two = Digest.of(b"1"), Digest.of(b"2")
    both = seal.in_index("gzip", one).in_index("zstd", two)
    assert (both.index_in("gzip"), both.index_in("zstd")) == (one, two)
    assert both.indexes == {one, two}
    assert both.manifests == seal.manifests
    assert seal.index_in("zstd:chunked") is None


def test_a_lock_in_an_index_can_be_read_back(parts):
    lock = joined(parts).locks[ARM64]
    assert parse_lock(dump_lock(lock)) == lock
    assert "index" not in dump_lock(parts[ARM64].lock)


@pytest.fixture
def locked(spec, parts):
    """Write the locks beside the spec, of one good build; give what was built."""
    specs = load_each(spec)
    own = {each: replace(part, lock=replace(part.lock, spec=specs[each]))
        for each, part in parts.items()}  # fmt: skip
    built = joined({each: reported(part, CheckStatus.PASS, "fine") for each, part in own.items()})
    for each, lock in built.locks.items():
        write_lock(lock_path(spec, each), lock)
    append(ledger_path(spec), joint_entry(built, lambda one: ledger_entry(one, runtime="crun")))
    return built


def test_the_status_is_that_of_all(spec, locked):
    found = status(spec)
    assert found.ready
    assert (found.image, found.platforms) == (locked.digest, (AMD64, ARM64))
    lock_path(spec, ARM64).unlink()
    assert status(spec).lock == "missing"


def test_a_stale_lock_of_one_is_stale(spec, locked):
    older = replace(locked.locks[ARM64], spec=replaced(locked.locks[ARM64].spec, python="3.11"))
    write_lock(lock_path(spec, ARM64), older)
    assert status(spec).lock == "stale"


@pytest.mark.usefixtures("locked")
def test_the_texts_of_a_build_are_all_of_its_locks(spec, tmp_path):
    texts = present(spec)
    assert list(texts.further) == [ARM64]
    (entry,) = read(ledger_path(spec))[0]
    assert checksum_of(texts) == entry.lock
    store = Store(tmp_path / "texts")
    keep(store, entry.lock, texts)
    assert recall(store, entry.lock) == texts
    wanted = {Digest.of(text) for text in (texts.spec, texts.lock, texts.further[ARM64])}
    assert kept_blobs(store, [entry]) == wanted


@pytest.mark.usefixtures("locked")
def test_git_gives_all_of_them_back(spec, tmp_path):
    def git(*arguments):
        name = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *name, *arguments], cwd=spec.parent, check=True, capture_output=True)

    git("init", "-q")
    git("add", "both.yaml", "pylock.both.toml", "pylock.both_arm64.toml")
    git("commit", "-qm", "built")
    texts = present(spec)
    (entry,) = read(ledger_path(spec))[0]
    for each in (AMD64, ARM64):
        lock_path(spec, each).write_text("")
    of(spec, AMD64)
    assert texts_of(spec, entry, store=Store(tmp_path / "empty")) == texts


@pytest.mark.usefixtures("locked")
def test_a_change_that_was_killed_is_finished_for_all(spec, monkeypatch):
    over = present(spec)
    texts = BuildTexts(spec=over.spec, lock=b"one", further={ARM64: b"two"})
    (entry,) = read(ledger_path(spec))[0]
    with monkeypatch.context() as patch:
        patch.setattr("envbuilder.workflow.bump.transaction.write_text", interrupted)
        with transaction(spec) as held, pytest.raises(KeyboardInterrupt):
            held.commit(texts, entry=entry, over=over)
    assert finish(spec)
    assert lock_path(spec).read_bytes() == b"one"
    assert lock_path(spec, ARM64).read_bytes() == b"two"


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("locked")
def test_a_change_of_another_lock_meanwhile_stays(spec):
    over = present(spec)
    lock_path(spec, ARM64).write_text("# edited\n")
    (entry,) = read(ledger_path(spec))[0]
    with transaction(spec) as held, pytest.raises(LockError, match="changed meanwhile"):
        held.commit(over, entry=entry, over=over)
    assert lock_path(spec, ARM64).read_text() == "# edited\n"


def test_what_runs_here_is_this_machines(spec, monkeypatch):
    for name, machine in emulation.MACHINES.items():
        monkeypatch.setattr(run_here.platform, "machine", lambda machine=machine: machine)
        assert run_here._platform_here(spec) == name
    monkeypatch.setattr(run_here.platform, "machine", lambda: "riscv64")
    assert run_here._platform_here(spec) == AMD64
    assert run_here._platform_here(of(spec, ARM64)) is None


# -- what takes an emulator -------------------------------------------------------------------


def test_the_program_that_is_tried_is_one(monkeypatch):
    """Here it runs by itself, where the machine is asked as if it were another."""
    own = next(each for each, machine in emulation.MACHINES.items() if machine == this.machine())
    monkeypatch.setattr(emulation.platform, "machine", lambda: "another")
    assert emulation.can_run(own)


def test_a_machine_runs_its_own_programs_and_no_others_without_an_emulator(monkeypatch):
    own = next(each for each, machine in emulation.MACHINES.items() if machine == this.machine())
    assert emulation.can_run(own)
    monkeypatch.setattr(emulation, "_EXIT", dict.fromkeys(emulation.MACHINES, (0, "00")))
    assert not any(emulation.can_run(each) for each in emulation.MACHINES if each != own)


@pytest.mark.parametrize(
    ("change", "what"),
    [({}, "making its Debian base"),
        ({"base": {"image": "example.org/base:1"}}, "building its sources"),
        ({"base": {"image": "example.org/base:1"}, "packages": {"tqdm": "*"}, "bytecode": True},
         "compiling its packages"),
        ({"base": {"image": "example.org/base:1"}, "packages": {"tqdm": "*"}}, "")],
)  # fmt: skip
def test_what_runs_programs_is_refused_before_anything_is_fetched(
    monkeypatch, tmp_path, change, what
):
    from envbuilder.model.spec import from_builtins, to_builtins

    monkeypatch.setattr(foreign, "can_run", lambda name: name == AMD64)
    plain = to_builtins(small_lock().spec) | change
    here = context(Store(tmp_path / "store"))
    foreign.check_runs(here, from_builtins(plain), None, engine="embedded")
    wanted = from_builtins(plain | {"platform": ARM64})
    if not what:
        foreign.check_runs(here, wanted, None, engine="embedded")
        return
    with pytest.raises(MissingToolError, match=what) as refused:
        foreign.check_runs(here, wanted, None, engine="embedded")
    assert "linux/arm64" in refused.value.message
    assert refused.value.hint.startswith("apt-get install qemu-user-static")
