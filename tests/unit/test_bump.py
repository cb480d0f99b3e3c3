"""A bump from end to end, in a pure world: what is written when, and what is said."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuilder.model.errors import BuildError, LockError, NetworkError, ResolutionError, UsageError
from envbuilder.model.lock import Lock
from envbuilder.model.lock_diff import Why
from envbuilder.model.progress import Silent
from envbuilder.model.pylock import lock_path, read_lock, write_lock
from envbuilder.model.spec_file import load
from envbuilder.resolve.python.releases import Release
from envbuilder.smoke.answers import answers_path, parse_answers, read_answers
from envbuilder.smoke.report import Check, CheckStatus
from envbuilder.storage import ledger
from envbuilder.storage.build_records import recall
from envbuilder.storage.store import Store
from envbuilder.workflow.build import BuildResult
from envbuilder.workflow.bump.bump import Bumped, bump, propose
from envbuilder.workflow.bump.pins import parse_pin
from envbuilder.workflow.bump.stages import Stages
from envbuilder.workflow.bump.transaction import transaction
from envbuilder.workflow.make import engine_of
from tests.contexts import context
from tests.unit.locks import lock
from tests.unit.oracle import World
from tests.unit.sheets import Sheet, sheets

INDEX = {
    "transformers": {
        "4.52.4": "tokenizers<0.22",
        "4.53.3": "tokenizers<0.22",
        "4.54.0": "tokenizers>=0.22",
        "4.55.0": "missing",
    },
    "tokenizers": {"0.21": "", "0.22": ""},
    "six": {"1.16": "", "1.17": ""},
}
SPEC = """\
version: 1
name: omni
python: "3.12"
base: {debian: trixie}
packages:
  transformers: "==4.52.4"   # the last one that counts right
  six: "*"
"""
HEADS = st.sampled_from(["", "---\n", "# é\n"]).map(lambda top: top + SPEC.partition("pack")[0])
PACKAGES = st.sampled_from(["six", "tqdm", "uvicorn[standard]"])


class Place:
    """An environment on disk, locked and known to be good."""

    def __init__(self, folder: Path, world: World, text: str = SPEC) -> None:
        self.spec = folder / "lockfiles" / "omni.yaml"
        self.store = Store(folder / "store")
        self.world = world
        self.spec.parent.mkdir()
        self.spec.write_bytes(text.encode())
        empty = lock({})
        first = world.resolve(load(self.spec), empty, frozenset())
        outcome = world.build(first)
        world.built.clear()
        write_lock(lock_path(self.spec), outcome.lock)
        ledger.append(ledger.ledger_path(self.spec), world.entry(outcome))

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.spec.parent.iterdir()}

    def bump(self, *pins: str, allow_unproven: bool = False) -> Bumped:
        return bump(
            context(self.store),
            self.spec,
            [parse_pin(pin) for pin in pins],
            stages=self.world.stages(),
            allow_unproven=allow_unproven,
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    index = {**INDEX, "six": {"1.16": ""}}
    made = Place(tmp_path, World(index))
    made.world.index = INDEX
    return made


def test_green_is_kept_and_recorded(place: Place) -> None:
    done = place.bump("transformers==4.53.3")
    assert done.failed is None
    assert place.spec.read_text() == SPEC.replace("4.52.4", "4.53.3")
    locked = read_lock(lock_path(place.spec))
    assert locked.spec == load(place.spec)
    assert locked.seal is not None
    entries, _ = ledger.read(ledger.ledger_path(place.spec))
    assert len(entries) == 2
    assert entries[1].good
    assert entries[1].image == done.outcome.image.digest
    kept = recall(place.store, entries[1].lock)
    assert kept is not None
    assert kept.spec == place.spec.read_bytes()
    assert kept.lock == lock_path(place.spec).read_bytes()


def test_one_package_is_one_layer(place: Place) -> None:
    done = place.bump("transformers==4.53.3")
    assert [layer.title for layer in done.layers] == ["transformers 4.53.3"]
    assert [str(change) for change in done.proposal.changes] == ["transformers 4.52.4 -> 4.53.3"]


def test_red_leaves_every_byte_and_keeps_the_evidence(place: Place) -> None:
    before = place.files()
    place.world.good = lambda versions: versions["transformers"] == "4.52.4"
    done = place.bump("transformers==4.53.3")
    assert place.files() == before
    assert done.failed is not None
    report = json.loads((done.failed / "report.json").read_text())
    assert report["verdict"] == "fail"
    failed = load(done.failed / "omni.yaml")
    assert failed.packages["transformers"] == "==4.53.3"
    assert read_lock(done.failed / "pylock.omni.toml").spec == failed


@pytest.mark.parametrize("status", [CheckStatus.UNPROVEN, CheckStatus.FAIL])
def test_what_is_unproven_is_kept_if_that_is_allowed_and_is_not_good(
    place: Place, status: CheckStatus
) -> None:
    before = place.files()
    place.world.good, place.world.otherwise = lambda _: False, status
    assert place.bump("transformers==4.53.3").failed is not None
    assert place.files() == before
    done = place.bump("transformers==4.53.3", allow_unproven=True)
    if status is CheckStatus.FAIL:
        assert done.failed is not None
        assert place.files() == before
        return
    assert done.failed is None
    assert load(place.spec).packages["transformers"] == "==4.53.3"
    entries, _ = ledger.read(ledger.ledger_path(place.spec))
    assert not entries[-1].good


@pytest.mark.parametrize("good", [True, False])
def test_what_was_edited_by_hand_and_never_locked_is_not_lost(place: Place, good: bool) -> None:
    edited = SPEC.replace('six: "*"', 'six: "==1.17"  # by hand')
    place.spec.write_text(edited)
    place.world.good = lambda _: good
    done = place.bump("transformers==4.53.3")
    assert {(change.name, change.why) for change in done.proposal.changes} == {
        ("transformers", Why.ASKED),
        ("six", Why.ASKED),
    }
    assert place.spec.read_text() == (edited.replace("4.52.4", "4.53.3") if good else edited)


def test_a_failing_build_leaves_every_byte(place: Place) -> None:
    def build(_: object) -> None:
        raise BuildError("no space left")

    before = place.files()
    place.world.build = build
    with pytest.raises(BuildError):
        place.bump("transformers==4.53.3")
    assert place.files() == before


def test_says_what_was_asked_and_what_was_forced(place: Place) -> None:
    done = place.bump("transformers==4.54.0")
    said = {change.name: (change.why, change.by) for change in done.proposal.changes}
    assert said == {
        "transformers": (Why.ASKED, ()),
        "tokenizers": (Why.FORCED, ("transformers",)),
    }


def test_the_newest_that_resolves_is_written_into_the_spec(place: Place) -> None:
    place.world.index = {**INDEX, "transformers": {"4.52.4": "", "4.53.3": "", "4.54.0": ""}}
    place.bump("transformers")
    assert place.spec.read_text() == SPEC.replace("4.52.4", "4.54.0")


@given(sheet=sheets(PACKAGES, st.just("==1.0"), HEADS), data=st.data())
@settings(max_examples=50)
def test_a_bump_changes_one_scalar_and_no_other_byte(
    tmp_path_factory: pytest.TempPathFactory, sheet: Sheet, data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(sheet.spans)))
    name = key.partition("[")[0]
    pin, version = data.draw(st.sampled_from([(name, "2.0"), (f"{name}==1.5", "1.5")]))
    world = World({each: {"1.0": "", "1.5": "", "2.0": ""} for each in ("six", "tqdm", "uvicorn")})
    place = Place(tmp_path_factory.mktemp("bump"), world, sheet.text)
    place.bump(pin)
    start, end = sheet.spans[key]
    scalar = f"{sheet.quote[key]}=={version}{sheet.quote[key]}"
    assert place.spec.read_bytes() == (sheet.text[:start] + scalar + sheet.text[end:]).encode()


@pytest.mark.parametrize("style", ["==4.52.4", "'==4.52.4'", '"==4.52.4"', "!!str ==4.52.4"])
def test_a_pin_that_is_found_anew_keeps_its_style(place: Place, style: str) -> None:
    place.world.index = {**INDEX, "transformers": {"4.52.4": "", "4.53.3": ""}}
    text = SPEC.replace('"==4.52.4"', style)
    place.spec.write_text(text)
    place.bump("transformers")
    assert place.spec.read_text() == text.replace("4.52.4", "4.53.3")


def test_an_anchor_takes_its_aliases_along(place: Place) -> None:
    pair = {"torch": {"1": "", "2": ""}, "audio": {"1": "torch==1", "2": "torch==2"}}
    place.world.index = {**INDEX, **pair}
    text = SPEC + '  torch: &torch "==1"\n  audio: *torch\n'
    place.spec.write_text(text)
    done = place.bump("torch")
    assert place.spec.read_text() == text.replace("==1", "==2")
    assert place.world.built[-1].items() >= {"torch": "2", "audio": "2"}.items()
    assert done.outcome.lock.spec == load(place.spec)


def test_an_alias_that_is_bumped_leaves_its_anchor(place: Place) -> None:
    place.world.index = {**INDEX, "torch": {"1": "", "2": ""}, "audio": {"1": "", "2": ""}}
    text = SPEC + '  torch: &torch "==1"\n  audio: *torch\n'
    place.spec.write_text(text)
    place.bump("audio")
    assert place.spec.read_text() == text.replace("*torch", "==2")
    assert place.world.built[-1].items() >= {"torch": "1", "audio": "2"}.items()


@pytest.mark.parametrize("name", ["omni.yaml", "pylock.omni.toml"])
def test_an_edit_while_it_builds_is_not_lost(place: Place, name: str) -> None:
    edited = place.spec.with_name(name)
    build = place.world.build

    def build_slowly(locked: Lock) -> BuildResult:
        edited.write_bytes(edited.read_bytes() + b"# a thought\n")
        return build(locked)

    before = place.files()
    place.world.build = build_slowly
    with pytest.raises(LockError, match="changed meanwhile") as caught:
        place.bump("transformers==4.53.3")
    assert place.files() == before | {name: before[name] + b"# a thought\n"}
    (kept,) = (place.store.root / "failed").iterdir()
    assert str(kept) in caught.value.hint
    assert load(kept / "omni.yaml").packages["transformers"] == "==4.53.3"
    place.world.build = build
    assert place.bump("transformers==4.53.3").failed is None


def test_a_damaged_ledger_is_told_before_anything_is_built(place: Place) -> None:
    path = ledger.ledger_path(place.spec)
    path.write_bytes(path.read_bytes() + b"<<<<<<< HEAD\n")
    before = place.files()
    with pytest.raises(LockError, match=r"ledger\.jsonl:2 is not a ledger entry"):
        place.bump("transformers==4.53.3")
    assert place.world.built == []
    assert place.files() == before


def test_a_green_bump_writes_its_answers(place: Place) -> None:
    answers = {"version": 1, "identity": "tiny", "packages": {"transformers": "4"}, "prompts": {}}
    check = Check(
        name="tokens.answers", status=CheckStatus.PASS, expected="", actual="",
        details={"answers": answers}, model="qwen2_5_omni",
    )  # fmt: skip
    place.spec.write_text(f"{SPEC}smoke: {{model: {{family: qwen2_5_omni}}}}\n")
    build = place.world.build
    place.world.build = lambda locked: with_check(build(locked), check)
    path = answers_path(place.spec.parent, "omni")
    place.world.good = lambda versions: versions["transformers"] != "4.54.0"
    assert place.bump("transformers==4.54.0").failed is not None
    assert not path.exists()
    place.bump("transformers==4.53.3")
    assert read_answers(path) == parse_answers(answers)


def with_check(outcome: BuildResult, check: Check) -> BuildResult:
    return replace(outcome, report=replace(outcome.report, checks=(check,)))


def test_what_the_spec_leaves_open_moves_in_the_lock_alone(place: Place) -> None:
    done = place.bump("six")
    assert place.spec.read_text() == SPEC
    assert [(c.name, c.why) for c in done.proposal.changes] == [("six", Why.ASKED)]


def test_nothing_to_do_does_nothing(place: Place) -> None:
    before = place.files()
    done = place.bump("transformers==4.52.4")
    assert done.outcome is None
    assert place.world.built == []
    assert place.files() == before


def test_a_looser_pin_is_built_too_since_the_image_carries_its_lock(place: Place) -> None:
    done = place.bump("transformers>=4.52,<4.53")
    assert done.outcome is not None
    assert place.spec.read_text() == SPEC.replace("==4.52.4", ">=4.52,<4.53")


def test_a_version_that_does_not_exist_names_the_nearest(place: Place) -> None:
    before = place.files()
    with pytest.raises(ResolutionError, match=r"no version 4\.53\.9") as caught:
        place.bump("transformers==4.53.9")
    assert caught.value.hint == "the nearest: 4.52.4, 4.53.3, 4.54.0, 4.55.0"
    assert place.files() == before


def test_the_nearest_are_added_to_what_the_resolver_says(place: Place) -> None:
    with pytest.raises(ResolutionError, match=r"^no version of transformers==4\.53\.9\n"):
        place.bump("transformers==4.53.9")


def offering(place: Place, *releases: Release) -> Stages:
    return replace(place.world.stages(), releases=lambda _name, _lock: releases)


@pytest.mark.parametrize("pin", ["==4.55", "==4.55.0", "==4.55.0.0"])
def test_a_version_in_another_spelling_exists(place: Place, pin: str) -> None:
    for offered in ("4.55.0", "4.55.0+cu124"):
        stages = offering(place, Release(version=offered, yanked=True))
        with pytest.raises(ResolutionError, match="no version of missing") as caught:
            propose(place.spec, [parse_pin(f"transformers{pin}")], stages=stages, progress=Silent())
        assert "nearest" not in caught.value.hint


def test_the_nearest_are_asked_for_what_is_wanted(place: Place) -> None:
    asked = []
    stages = replace(
        place.world.stages(), releases=lambda _, wanted: asked.append(wanted.spec.python) or ()
    )
    wishes = [parse_pin("python=3.13"), parse_pin("transformers==9")]
    with pytest.raises(ResolutionError) as caught:
        propose(place.spec, wishes, stages=stages, progress=Silent())
    assert asked == ["3.13"]
    assert caught.value.hint == "the nearest: none that fits this platform"


def test_an_index_that_fails_hides_no_error(place: Place) -> None:
    def fails(_name: str, _lock: Lock) -> tuple[Release, ...]:
        raise NetworkError("cannot reach the index")

    stages = replace(place.world.stages(), releases=fails)
    with pytest.raises(ResolutionError, match="no version of transformers==9"):
        propose(place.spec, [parse_pin("transformers==9")], stages=stages, progress=Silent())


def test_a_version_that_does_not_resolve_keeps_the_resolvers_words(place: Place) -> None:
    with pytest.raises(ResolutionError, match="no version of missing"):
        place.bump("transformers==4.55.0")


def test_unknown_packages_are_told_before_anything_runs(place: Place) -> None:
    with pytest.raises(UsageError) as caught:
        place.bump("tranformers==4.53.3")
    assert "transformers" in caught.value.hint


def test_the_engine_stays_the_one_that_an_environment_has_or_needs(place: Place) -> None:
    sealed = read_lock(lock_path(place.spec))
    assert engine_of(sealed) == "embedded"
    assert engine_of(replace(sealed, seal=replace(sealed.seal, engine="docker"))) == "docker"
    assert engine_of(lock({}, steps={"after_python": ["true"]})) == "docker"


def test_two_bumps_at_once(place: Place) -> None:
    with transaction(place.spec), pytest.raises(UsageError, match="under way"):
        place.bump("six")
    place.bump("six")


def test_without_a_lock_there_is_nothing_to_bump_from(place: Place) -> None:
    lock_path(place.spec).unlink()
    with pytest.raises(LockError) as caught:
        place.bump("six")
    assert "envbuilder lock" in caught.value.hint


def test_a_proposal_touches_nothing(place: Place) -> None:
    before = place.files()
    proposal = propose(
        place.spec, [parse_pin("six")], stages=place.world.stages(), progress=Silent()
    )
    assert proposal.moves
    assert place.files() == before
    assert place.world.built == []
