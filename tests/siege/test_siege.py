"""The share of the siege that every test run takes: fixed seeds, less than a minute."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.siege import fuzz
from tests.siege.attacks import ATTACKS
from tests.siege.attacks.rot import damage
from tests.siege.field import Attack, Field, open_field
from tests.siege.fuzz import tried
from tests.siege.judge import Outcome, ended_in_python, orphans_adopted
from tests.siege.mutate import mutated
from tests.siege.parsers import PARSERS, Parser
from tests.siege.report import BEGIN, END, PAGE
from tests.siege.run import share
from tests.siege.tally import FAULTS, Tally, joined, table
from tests.siege.testbed import NAME, Testbed, open_testbed

pytestmark = pytest.mark.integration

SHARED = [attack for attack in ATTACKS if attack.share]


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with open_testbed() as made, orphans_adopted():
        yield made


@pytest.mark.parametrize("attack", SHARED, ids=lambda attack: attack.name)
def test_an_attack_brings_nothing_about(bed: Testbed, attack: Attack) -> None:
    if missing := attack.missing():
        pytest.skip(missing)
    assert [str(fault) for fault in share(bed, attack).faults] == []


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_a_parser_takes_or_refuses(tmp_path: Path, parser: Parser) -> None:
    (tmp_path / "samples").mkdir()
    samples = parser.samples(tmp_path / "samples")
    for number, sample in enumerate(samples):
        (tmp_path / f"sound-{number}").mkdir()
        parser.parse(sample, tmp_path / f"sound-{number}")
    for number in range(3 if parser.slow else 12):
        random = Random(number)
        (tmp_path / str(number)).mkdir()
        assert (
            tried(parser, mutated(random.choice(samples), random), tmp_path / str(number)) is None
        )


# -- the siege itself: it sees what must not be ---------------------------------------------------


@pytest.fixture
def field(bed: Testbed) -> Iterator[Field]:
    with open_field(bed, Attack(name="none", run=lambda _: None)) as made:
        yield made


def kinds(field: Field) -> list[str]:
    return [fault.kind for fault in field.tally.faults]


def test_leftovers_are_seen(field: Field) -> None:
    field.judge.leftovers()
    assert kinds(field) == []
    (field.checkout.scratch / "left").mkdir()
    field.judge.leftovers()
    assert kinds(field) == ["leftover"]
    subprocess.run(["sh", "-c", "sleep 3 & :"], check=True)
    field.judge.leftovers(grace=0.1)
    assert kinds(field) == ["leftover", "leftover"]
    assert "sleep" in field.tally.faults[-1].text


def test_another_image_and_a_lost_environment_are_seen(field: Field) -> None:
    field.judge.expected = "sha256:" + "0" * 64
    field.judge.settle()
    assert kinds(field) == ["change"]
    field.checkout.lock.unlink()
    field.judge.settle()
    assert kinds(field) == ["change", "recovery"]


def test_undocumented_ends_and_hangs_are_seen(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = "import sys; sys.stderr.write('Traceback (most recent call last):'); sys.exit(1)"
    field.judge.run("history", NAME, prefix=("python3", "-c", inside))
    field.judge.run("history", NAME, prefix=("sh", "-c", "exit 99"))
    monkeypatch.setattr("tests.siege.judge.PATIENCE", 0.2)
    field.judge.run("history", NAME, prefix=("sleep", "5;"))
    field.judge.run("history", NAME, prefix=("sh", "-c", "sleep 5"))
    assert kinds(field)[:2] == ["traceback", "code"]
    assert kinds(field)[-1] == "hang"


@pytest.mark.parametrize(
    ("code", "stderr", "alone"),
    [
        (-signal.SIGINT, "", True),
        (-signal.SIGTERM, "", False),
        (1, "Traceback\n  File '<frozen codecs>'\nKeyboardInterrupt\n", True),
        (1, "Traceback\n  File '/x/envbuilder/cli/app.py'\nKeyboardInterrupt\n", False),
        (1, "Traceback\n  File '<frozen codecs>'\nValueError\n", False),
    ],
)
def test_a_signal_may_end_python_alone(code: int, stderr: str, alone: bool) -> None:
    outcome = Outcome(arguments=("schema",), code=code, stdout="", stderr=stderr)
    assert ended_in_python(outcome, signal.SIGINT) is alone


def test_the_table_counts_every_kind() -> None:
    tally = Tally(attack="some", runs=2000, peak=5 << 20)
    for kind in FAULTS:
        tally.fault(kind, "x")
    head, _, row, total = table([tally]).splitlines()
    assert head.count("|") == row.count("|")
    assert row == f"| some | 2,000 |{' 1 |' * len(FAULTS)} 5 |"
    assert total.startswith("| **all** | 2,000 | 1 |")


def test_figures_of_several_sieges_add_up() -> None:
    one, other = Tally(attack="a", runs=2, peak=5), Tally(attack="a", runs=3, peak=4)
    other.fault("hang", "x")
    missing = Tally(attack="b", skipped="no engine")
    found = joined([one, missing, other, Tally(attack="b", runs=7), missing])
    assert [(each.attack, each.runs, each.peak, each.count("hang")) for each in found] == [
        ("a", 5, 5, 1),
        ("b", 7, 0, 0),
    ]


def test_the_page_has_a_place_for_the_figures() -> None:
    text = PAGE.read_text("utf-8")
    assert text.index(BEGIN) < text.index(END)


def test_what_takes_long_for_its_length_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(data: bytes, _: Path) -> None:
        end = time.process_time() + len(data) / 100
        while time.process_time() < end:
            pass

    monkeypatch.setattr(fuzz, "MOMENT", 0.05)
    parser = Parser(name="busy", samples=lambda _: [], parse=busy)
    assert tried(parser, b"x", tmp_path) is None
    fault = tried(parser, b"x" * 10, tmp_path)
    assert fault is not None
    assert fault["kind"] == "budget"


def test_some_inputs_grow() -> None:
    lengths = [len(mutated(b"sample", Random(seed))) for seed in range(300)]
    assert 1 <= sum(length > 100_000 for length in lengths) <= 20


def test_damage_changes_a_file(tmp_path: Path) -> None:
    for seed in range(20):
        path = tmp_path / str(seed)
        path.write_bytes(b"content")
        damage([path], Random(seed))
    found = [path.read_bytes() for path in tmp_path.iterdir()]
    assert len(found) < 20
    assert b"" in found
    assert sum(each != b"content" for each in found) > 10
