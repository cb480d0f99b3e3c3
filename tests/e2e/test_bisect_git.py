"""One guilty commit among two hundred: each step builds the commit's wheel and runs its code."""

import json
from math import ceil, log2

import pytest

from tests.servers.git import git_http
from tests.servers.git_projects import FLIT
from tests.servers.git_repositories import Origin

pytestmark = [pytest.mark.integration]

COMMITS = 200
GUILTY = 137
SPEC = """\
version: 1
name: guilty
python: "3.13"
base: {{debian: trixie}}
system: {{packages: [python3]}}
packages:
  flitty: {{git: "{url}", branch: main, commit: {commit}}}
index: {{exclude_newer: 2025-07-01T00:00:00Z}}
"""
ORACLE = "/opt/venv/bin/python -c 'import flitty; assert flitty.half(7) == 3.5'"
GOOD, BAD = (f'"""x"""\ndef half(n): return n {sign} 2\n' for sign in ("/", "//"))


def test_the_guilty_commit_is_found_by_building_it(small, tmp_path):
    origin = Origin.create(tmp_path / "served" / "flitty")
    commits = [origin.commit({**FLIT, "flitty.py": GOOD})]
    codes = ((BAD if n >= GUILTY else GOOD, n) for n in range(1, COMMITS + 1))
    commits += origin.history({"flitty.py": f"{code}STEP = {number}\n"} for code, number in codes)
    checkout = small.copy(tmp_path / "checkout")
    lock = checkout.folder / "lockfiles" / "pylock.guilty.toml"
    with git_http(tmp_path / "served") as server:
        url = server.address("flitty/.git")
        spec = checkout.folder / "lockfiles" / "guilty.yaml"
        spec.write_text(SPEC.format(url=url, commit=commits[0]))
        checkout.run("lock", "guilty")
        (checkout.folder / "good.toml").write_bytes(lock.read_bytes())
        spec.write_text(SPEC.format(url=url, commit=commits[-1]))
        checkout.run("lock", "guilty")
        done = checkout.run("bisect", "guilty", "--good", "good.toml", "--run", ORACLE,
                            "-o", "json")  # fmt: skip
    found = json.loads(done.stdout)
    assert found["narrowed"]["package"] == "flitty"
    assert found["narrowed"]["last_good"] == commits[GUILTY - 1]
    assert found["narrowed"]["first_bad"] == commits[GUILTY]
    assert len(found["steps"]) <= 2 + ceil(log2(COMMITS))
