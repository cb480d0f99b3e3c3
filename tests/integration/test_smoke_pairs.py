"""No false alarm: released versions that work together stay green (`make pairs` runs them all)."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from envbuilder.smoke import CheckStatus, Report
from tests.pairs import environment, pairs
from tests.unit.smoke_documents import conform

pytestmark = [pytest.mark.integration]

FAMILIES = ("llava_next", "qwen2_5_omni", "qwen2_5_vl", "qwen2_audio")
RELEASES = {  # one of each generation of interfaces, with the families that it has
    "4.53.3": (*FAMILIES, "llama4", "phi4_multimodal"),
    "4.56.2": FAMILIES,
    "5.23.0": (*FAMILIES, "audioflamingo3", "deepseek_ocr2", "minicpmv4_6"),
}
NEWEST = "5.23.0"
PAIRS = [
    pytest.param(release, family, marks=() if release == NEWEST else pytest.mark.deep)
    for release, families in RELEASES.items()
    for family in families
]


@pytest.fixture(scope="module")
def smoked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Report]]:
    """Give the report of a release, which is built once, and fails once where it fails."""
    folder = tmp_path_factory.mktemp("pairs")
    with ThreadPoolExecutor(1) as pool:
        begun: dict[str, Future[Report]] = {}

        def of(release: str) -> Report:
            if release not in begun:
                begun[release] = pool.submit(_smoke, release, folder)
            return begun[release].result()

        yield of


def _smoke(release: str, folder: Path) -> Report:
    """Build a release and smoke all its families with it at once."""
    with environment(release, folder) as (ready, plan):
        return pairs(ready.run, plan, RELEASES[release], quick=True)


@pytest.mark.parametrize(("release", "family"), PAIRS)
def test_versions_that_work_together_are_green(
    smoked: Callable[[str], Report], release: str, family: str
) -> None:
    report = smoked(release)
    conform(report)
    (found,) = [model for model in report.models if model.name == family]
    assert found.verdict is CheckStatus.PASS, found.summary
    (check,) = [check for check in report.checks if check.model == family]
    prompts = check.details["prompts"]
    assert all(prompt["placeholders"] == prompt["embeddings"] for prompt in prompts)
    assert all(sum(prompt["placeholders"].values()) > 0 for prompt in prompts)
