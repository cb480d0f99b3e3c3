"""Commands load what they use: the rest would be half a second of their time."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

HEAVY = {"git", "jinja2", "docker", "cyclonedx", "nacl", "requests", "rich"}


@pytest.mark.parametrize(
    "modules",
    [
        ("envbuilder.cli.push", "envbuilder.workflow.publish", "envbuilder.cli.context"),
        ("envbuilder.cli.verify", "envbuilder.evidence.verify.remote"),
        ("envbuilder.registry.client", "envbuilder.registry.transfer"),
        ("envbuilder.cli.build", "envbuilder.workflow.build", "envbuilder.cli.context"),
    ],
    ids=["push", "verify", "pull", "build"],
)
def test_what_is_loaded(modules):
    code = f"import json, sys, {', '.join(modules)}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert modules[0] in loaded
    assert not HEAVY & loaded
    if "envbuilder.cli.build" not in modules:
        assert not {"envbuilder.workflow.build", "envbuilder.workflow.make"} & loaded
