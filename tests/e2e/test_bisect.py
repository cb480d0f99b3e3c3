"""A real regression, found among many real changes: transformers stops heeding ``max_pixels``.

Between 5.3.0 and 5.12.0 the image processor of the Qwen models began to ignore ``max_pixels`` when
it is given without ``min_pixels``: a 448 x 448 image became 256 tokens where 100 were asked for.
"""

import json
from math import ceil, log2

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.deep]

SPEC = """\
version: 1
name: counts
python: "3.13"
base: {debian: trixie}
system: {packages: [python3, libstdc++6]}
packages:
  transformers: "==5.3.0"
  numpy: "*"
  pillow: "*"
  aiohttp: "*"
  pydantic: "*"
  rich: "*"
  einops: "*"
index: {exclude_newer: 2026-03-10}
"""
COUNT = """\
/opt/venv/bin/python - <<'END'
import sys
import numpy
from transformers import Qwen2VLImageProcessor
image = numpy.zeros((448, 448, 3), dtype="uint8")
found = Qwen2VLImageProcessor()(image, max_pixels=100 * 28 * 28, return_tensors="np")
count = int(found["image_grid_thw"][0].prod()) // 4
sys.exit(f"{count} tokens" if count != 100 else 0)
END
"""


@pytest.fixture(scope="module")
def counts(small, tmp_path_factory):
    """Lock both ends: as of March, and with everything as of June."""
    checkout = small.copy(tmp_path_factory.mktemp("counts"))
    spec = checkout.folder / "lockfiles" / "counts.yaml"
    lock = checkout.folder / "lockfiles" / "pylock.counts.toml"
    spec.write_text(SPEC)
    checkout.run("lock", "counts")
    (checkout.folder / "good.toml").write_bytes(lock.read_bytes())
    spec.write_text(SPEC.replace("5.3.0", "5.12.0").replace("2026-03-10", "2026-06-20"))
    checkout.run("lock", "counts", "--upgrade")
    return checkout


def bisect(checkout, *args, code=0):
    done = checkout.run("bisect", "counts", *args, "-o", "json", code=code)
    return json.loads(done.stdout) if code == 0 else done.stderr


def test_finds_the_package_and_its_first_bad_version(counts):
    found = bisect(counts, "--good", "good.toml", "--run", COUNT)
    assert found["changes"] >= 10
    assert len(found["guilty"]) == 1
    assert "transformers 5.3.0 -> 5.12.0" in found["guilty"][0][0]
    assert found["narrowed"]["package"] == "transformers"
    searching = [step for step in found["steps"] if " changes: " in step["tried"]]
    assert len(searching) <= 3 < ceil(log2(found["changes"]))  # what was asked for comes first
    judged = {step["tried"]: step["outcome"] for step in found["steps"]}
    assert judged["transformers " + found["narrowed"]["first_bad"]] == "bad"
    again = bisect(counts, "--good", "good.toml", "--run", COUNT)
    assert again == found  # from the journal: not a step was taken again


def test_an_end_that_is_not_what_it_was_said_to_be(counts):
    said = bisect(counts, "--good", "good.toml", "--run", "true", code=2)
    assert "the end that was said to be bad is good" in said
    said = bisect(counts, "--good", "lockfiles/pylock.counts.toml", "--run", COUNT, code=2)
    assert "do not differ" in said


@pytest.mark.parametrize("end", ["7", "no-such-branch", "missing.toml"])
def test_an_end_that_is_nothing(counts, end):
    said = bisect(counts, "--good", end, "--run", "true", code=2)
    assert "is no end" in said
    assert "a git revision" in said
