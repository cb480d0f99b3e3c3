"""What the admission policies of docs/examples ask of an image, read out of their files."""

import fnmatch
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "admission"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One attestation that a policy wants: signed by the key of a secret, and fit.

    ``cue`` is a text for cosign, which policy-controller evaluates likewise; ``conditions`` are
    Kyverno's, on the predicate.
    """

    images: tuple[str, ...]
    secret: tuple[str, str]  # its namespace and name
    predicate_type: str
    cue: str = ""
    conditions: tuple[Mapping[str, str], ...] = ()

    def concerns(self, image: str) -> bool:
        return any(fnmatch.fnmatchcase(image, pattern) for pattern in self.images)

    def fits(self, predicate: Mapping[str, Any]) -> bool:
        """Evaluate Kyverno's conditions: each names a field of the predicate and its value."""
        for condition in self.conditions:
            assert condition["operator"] == "Equals", condition
            named = re.fullmatch(r"\{\{ (\w+) \}\}", condition["key"])
            assert named, condition
            if predicate.get(named[1]) != condition["value"]:
                return False
        return True


def kyverno(path: Path = EXAMPLES / "kyverno.yaml") -> Asked:
    policy = yaml.safe_load(path.read_text("utf-8"))
    assert (policy["apiVersion"], policy["kind"]) == ("kyverno.io/v1", "ClusterPolicy")
    (rule,) = policy["spec"]["rules"]
    (images,) = rule["verifyImages"]
    assert images["failureAction"] == "Enforce"
    (attestation,) = images["attestations"]
    (attestor,) = attestation["attestors"]
    (entry,) = attestor["entries"]
    secret = entry["keys"]["secret"]
    (conditions,) = attestation["conditions"]
    return Asked(
        images=tuple(images["imageReferences"]),
        secret=(secret["namespace"], secret["name"]),
        predicate_type=attestation["type"],
        conditions=tuple(conditions["all"]),
    )


def policy_controller(path: Path = EXAMPLES / "policy-controller.yaml") -> Asked:
    policy = yaml.safe_load(path.read_text("utf-8"))
    named = (policy["apiVersion"], policy["kind"])
    assert named == ("policy.sigstore.dev/v1beta1", "ClusterImagePolicy")
    (authority,) = policy["spec"]["authorities"]
    (attestation,) = authority["attestations"]
    assert attestation["policy"]["type"] == "cue"
    return Asked(
        images=tuple(each["glob"] for each in policy["spec"]["images"]),
        secret=("cosign-system", authority["key"]["secretRef"]["name"]),  # where the controller is
        predicate_type=attestation["predicateType"],
        cue=attestation["policy"]["data"],
    )


def secret_made(path: Path) -> tuple[str, str, str]:
    """Return the secret that the file's first lines tell to make: namespace, name, content."""
    (line,) = re.findall(r"(?m)^#\s+(kubectl .* create secret .*)$", path.read_text("utf-8"))
    words = shlex.split(line)
    assert words[1:6] == ["-n", words[2], "create", "secret", "generic"], line
    return words[2], words[6], words[7].removeprefix("--from-file=")
