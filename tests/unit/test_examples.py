"""The pipelines and policies of docs/examples fit the published schemas, and this project's specs.

That they do what they say is shown by running them: `make recipes`.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from envbuilder.evidence.statements import NAMES
from envbuilder.evidence.verify.policy import read_policy
from envbuilder.model.spec_file import load
from tests.recipes import admission, gitlab
from tests.recipes.expressions import filled, value
from tests.recipes.github import ACTIONS

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
PAGES = [ROOT / "docs" / "how-to" / name for name in ("automate.md", "build-with-docker.md")]
WORKFLOWS = sorted((EXAMPLES / "github").glob("*.yml"))
SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "vendor.gitlab-ci": [EXAMPLES / "gitlab" / ".gitlab-ci.yml"],
    "vendor.renovate": [EXAMPLES / "renovate.json"],
}


def checked(schema, *paths):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *paths]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_each_pipeline_fits_the_published_schema(schema, tmp_path):
    done = checked(schema, *SCHEMAS[schema])
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / SCHEMAS[schema][0].name
    text = SCHEMAS[schema][0].read_text("utf-8")
    wrong.write_text(text.replace("timeout", "time-out").replace('e": "pypi"', 'e": 5'))
    assert checked(schema, wrong).returncode == 1


def test_every_example_is_on_a_page():
    text = "".join(page.read_text("utf-8") for page in PAGES)
    for path in EXAMPLES.rglob("*"):
        if path.is_file():
            assert f"../examples/{path.relative_to(EXAMPLES)}" in text, path


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_step_of_a_workflow_is_left_out_when_it_is_run(path):
    for job in yaml.safe_load(path.read_text("utf-8"))["jobs"].values():
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert step.get("uses") in {None, *ACTIONS}
            # What others write (names of branches) is never part of a script's text.
            assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("path", sorted((ROOT / "lockfiles").glob("*.yaml")), ids=lambda p: p.stem)
def test_renovate_finds_every_exact_pin_of_our_specs_and_nothing_else(path):
    (manager,) = json.loads((EXAMPLES / "renovate.json").read_text("utf-8"))["customManagers"]
    files = [each.strip("/") for each in manager["managerFilePatterns"]]
    assert any(re.search(pattern, f"lockfiles/{path.name}") for pattern in files)
    (pattern,) = manager["matchStrings"]
    found = re.findall(pattern.replace("(?<", "(?P<"), path.read_text("utf-8"))
    pins = {
        name: given.removeprefix("==")
        for name, given in load(path).packages.items()
        if isinstance(given, str) and given.startswith("==")
    }
    assert {name: version for name, _, version in found} == pins


def test_the_policies_ask_for_what_a_push_signs():
    for path, asked in (
        (admission.EXAMPLES / "kyverno.yaml", admission.kyverno()),
        (admission.EXAMPLES / "policy-controller.yaml", admission.policy_controller()),
    ):
        assert asked.predicate_type == NAMES["test-result"]
        assert asked.concerns("ghcr.io/acme/omni:latest")
        assert not asked.concerns("ghcr.io/other/omni:latest")
        assert admission.secret_made(path) == (*asked.secret, "cosign.pub=team.pub")
    assert set(NAMES) <= set(read_policy(EXAMPLES / "policy.yaml").required)


def test_the_manifest_of_a_daemon_in_a_cluster_is_one():
    text = (EXAMPLES / "kubernetes" / "buildkitd.yaml").read_text("utf-8")
    for document in yaml.safe_load_all(text):
        kubernetes_validate.validate(document, "1.33", strict=True)


def test_the_parts_of_expressions_that_workflows_use():
    known = {"github": {"head_ref": "a", "n": 3}, "needs": {"x": {"outputs": {"y": '["b"]'}}}}
    assert value("github.head_ref == 'a' && github.n != 'a'", known) is True
    assert value("github.head_ref == 'b'", known) is False
    assert filled({"m": "${{ fromJSON(needs.x.outputs.y) }}"}, known) == {"m": ["b"]}
    assert filled("x-${{ github.n }}", known) == "x-3"
    with pytest.raises(LookupError):
        value("github.ref_name", known)
    with pytest.raises(AssertionError):
        value("contains(github.head_ref, 'a')", known)


def test_the_parts_of_rules_that_pipelines_use():
    known = {"CI_PIPELINE_SOURCE": "schedule", "A": "renovate/x", "B": "renovate/x"}
    assert gitlab.holds('$CI_PIPELINE_SOURCE == "schedule" && $A =~ /^renovate\\//', known)
    assert gitlab.holds("$A == $B", known)
    assert not gitlab.holds('$JOB == "bump"', known)
    with pytest.raises(AssertionError):
        gitlab.holds('$A != "x"', known)
