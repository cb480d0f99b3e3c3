"""No false alarm: released versions that work together stay green (`make pairs` runs them all)."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from envbuilder.smoke import Report, Status
from tests.pairs import environment, pair, quick_probe, with_probe
from tests.unit.smoke_documents import conform

pytestmark = [pytest.mark.integration, pytest.mark.slow]

RELEASES = ("4.53.3", "4.56.2", "5.23.0")  # one of each generation of interfaces
FAMILIES = ("llava_next", "qwen2_5_omni", "qwen2_5_vl", "qwen2_audio")


@pytest.fixture(scope="module", params=RELEASES)
def reports(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Report]:
    """Build one release and smoke all families with it, two at a time."""
    folder = tmp_path_factory.mktemp("pairs")
    with environment(request.param, folder) as (ready, plan), ThreadPoolExecutor(2) as pool:
        run = with_probe(ready.run, quick_probe(folder))
        found = pool.map(lambda family: pair(run, plan, family), FAMILIES)
        return dict(zip(FAMILIES, found, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_versions_that_work_together_are_green(reports: Mapping[str, Report], family: str) -> None:
    report = reports[family]
    conform(report)
    assert report.verdict is Status.PASS, report.summary
    (check,) = report.checks
    prompts = check.details["prompts"]
    assert all(prompt["placeholders"] == prompt["embeddings"] for prompt in prompts)
    assert all(sum(prompt["placeholders"].values()) > 0 for prompt in prompts)


def test_there_are_twelve_pairs() -> None:
    assert len({(release, family) for release in RELEASES for family in FAMILIES}) >= 12
