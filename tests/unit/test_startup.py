"""Commands that only talk to a registry load nothing that builds: half a second of their time."""

import json
import subprocess
import sys

import pytest

HEAVY = {"git", "jinja2", "docker", "cyclonedx", "nacl", "envbuilder.workflow.build"}


@pytest.mark.parametrize(
    "modules",
    [
        ("envbuilder.cli.push", "envbuilder.workflow.publish", "envbuilder.cli.context"),
        ("envbuilder.cli.verify", "envbuilder.evidence.verify.remote"),
        ("envbuilder.registry.client", "envbuilder.registry.transfer"),
    ],
    ids=["push", "verify", "pull"],
)
def test_what_is_loaded(modules):
    code = f"import json, sys, {', '.join(modules)}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert modules[0] in loaded
    assert not HEAVY & loaded
