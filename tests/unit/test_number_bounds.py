"""A number that a clock, an engine or a kernel could not hold is refused where it is read."""

import pytest
from click.testing import CliRunner

from envbuilder.cli import cache, outdated, regenerate, run, smoke, smoke_server
from envbuilder.evidence.verify.policy import read_policy
from envbuilder.model.errors import SpecError, UsageError
from envbuilder.model.spec_file import load
from envbuilder.resolve.git.commits import moment_of

HUGE = ("99999999999", "9" * 30, "1e999", ".inf", ".nan")
SPEC = """version: 1
name: mine
python: "3.13"
base: {debian: trixie}
packages: {idna: "==3.10"}
"""
NUMBERS = {
    "healthcheck: {command: [x], interval: %s}": 604800,
    "healthcheck: {command: [x], timeout: %s}": 604800,
    "healthcheck: {command: [x], start_period: %s}": 604800,
    "healthcheck: {command: [x], retries: %s}": 10000,
    "build: {timeout: %s}": 604800,
    "smoke: {memory: %s}": 1 << 30,
    "smoke: {timeout: %s}": 86400,
    "smoke: {model: {family: llava}, tokens: {image: %s}}": (1 << 31) - 1,
    "smoke: {models: [{family: llava, tokens: {image: %s}}]}": (1 << 31) - 1,
    "smoke: {start: {run: [x], within: %s}}": 86400,
}


@pytest.mark.parametrize("days", HUGE)
def test_a_policy_s_age(tmp_path, days):
    path = tmp_path / "policy.yaml"
    path.write_text(f"max_age_days: {days}\n")
    with pytest.raises(SpecError, match="1 to 36500"):
        read_policy(path)
    path.write_text("max_age_days: 36500\n")
    assert read_policy(path).max_age_days == 36500


@pytest.mark.parametrize("member", NUMBERS)
@pytest.mark.parametrize("number", HUGE)
def test_a_spec_s_numbers(tmp_path, member, number):
    path = tmp_path / "mine.yaml"
    path.write_text(f"{SPEC}{member % number}\n")
    with pytest.raises(SpecError):
        load(path)


@pytest.mark.parametrize("member", NUMBERS)
def test_a_spec_s_largest_numbers(tmp_path, member):
    path = tmp_path / "mine.yaml"
    path.write_text(f"{SPEC}{member % NUMBERS[member]}\n")
    load(path)


def test_a_spec_s_last_day(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"{SPEC}index: {{exclude_newer: 9999-12-31}}\n")
    with pytest.raises(SpecError, match=r"9999-12-31.*moment"):
        load(path)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (outdated.command, "--min-age"),
        (cache.prune, "--reports"),
        (cache.prune, "--sources"),
        (smoke.command, "--timeout"),
        (smoke.command, "--memory"),
        (smoke_server.command, "--server-timeout"),
        (run.command, "--gpus"),
        (regenerate.command, "--jobs"),
    ],
)
@pytest.mark.parametrize("number", ["99999999999", "9" * 30, "1e999", "inf", "nan"])
def test_an_option_s_number(command, option, number):
    done = CliRunner().invoke(command, [option, number])
    assert done.exit_code == 2
    assert f"'{option}'" in done.stderr


@pytest.mark.parametrize("number", ["99999999999", "9" * 5000, "²", "\u0661", "1e3", "0", ""])
def test_what_an_engine_reserves(number):
    with pytest.raises(UsageError, match="expected MODALITY=N"):
        smoke._counts((f"image={number}",))
    assert smoke._counts(("image=2147483647",)) == {"image": 2147483647}


class Dated:
    """A history whose commit is dated so."""

    def __init__(self, seconds):
        self.seconds = seconds

    def ask(self, *_):
        return self.seconds


@pytest.mark.parametrize("seconds", ["9" * 18, "9" * 30, "-" + "9" * 18, None])
def test_a_commit_s_date(seconds):
    assert moment_of(Dated(seconds), "HEAD") == ""
    assert moment_of(Dated("0"), "HEAD") == "1970-01-01T00:00:00+00:00"
