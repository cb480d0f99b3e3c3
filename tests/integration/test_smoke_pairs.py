"""No false alarm: released versions that work together stay green (`make pairs` runs them all)."""

import functools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from envbuilder.smoke import Report, Status
from tests.pairs import environment, pair
from tests.unit.smoke_documents import conform

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FAMILIES = ("llava_next", "qwen2_5_omni", "qwen2_5_vl", "qwen2_audio")
RELEASES = {  # one of each generation of interfaces, with the families that it has
    "4.53.3": FAMILIES,
    "4.56.2": FAMILIES,
    "5.23.0": (*FAMILIES, "audioflamingo3"),
}
PAIRS = [(release, family) for release, families in RELEASES.items() for family in families]


@functools.cache
def reports(release: str) -> Mapping[str, Report]:
    """Build ``release`` and smoke all its families with it, two at a time."""
    families = RELEASES[release]
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with environment(release, folder) as (ready, plan), ThreadPoolExecutor(2) as pool:
            found = pool.map(lambda one: pair(ready.run, plan, one, quick=True), families)
            return dict(zip(families, found, strict=True))


@pytest.mark.parametrize(("release", "family"), PAIRS)
def test_versions_that_work_together_are_green(release: str, family: str) -> None:
    report = reports(release)[family]
    conform(report)
    assert report.verdict is Status.PASS, report.summary
    (check,) = report.checks
    prompts = check.details["prompts"]
    assert all(prompt["placeholders"] == prompt["embeddings"] for prompt in prompts)
    assert all(sum(prompt["placeholders"].values()) > 0 for prompt in prompts)


def test_there_are_twelve_pairs() -> None:
    assert len(set(PAIRS)) >= 12
