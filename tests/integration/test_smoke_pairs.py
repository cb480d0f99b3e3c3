"""No false alarm: released versions that work together stay green (`make pairs` runs them all)."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

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


@pytest.fixture(scope="module")
def reports(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Report]:
    """Build a release and smoke all its families with it, two at a time."""
    release: str = request.param
    families, folder = RELEASES[release], tmp_path_factory.mktemp("pairs")
    with environment(release, folder) as (ready, plan), ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda one: pair(ready.run, plan, one, quick=True), families)
        return dict(zip(families, found, strict=True))


@pytest.mark.parametrize(("reports", "family"), PAIRS, indirect=["reports"])
def test_versions_that_work_together_are_green(reports: Mapping[str, Report], family: str) -> None:
    report = reports[family]
    conform(report)
    assert report.verdict is Status.PASS, report.summary
    (check,) = report.checks
    prompts = check.details["prompts"]
    assert all(prompt["placeholders"] == prompt["embeddings"] for prompt in prompts)
    assert all(sum(prompt["placeholders"].values()) > 0 for prompt in prompts)


def test_there_are_twelve_pairs() -> None:
    assert len(set(PAIRS)) >= 12
