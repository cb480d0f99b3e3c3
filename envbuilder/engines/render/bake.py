"""Lock -> docker-bake.json: the same build for ``docker buildx bake``."""

from __future__ import annotations

import json
from typing import Any

from envbuilder.engines.dockerfile_quoting import csv_row
from envbuilder.layers.tar import MTIME
from envbuilder.model.lock import Lock
from envbuilder.model.spec import Secret


def bake_file(lock: Lock) -> str:
    """Write the same build for ``docker buildx bake``: reproducible, into OCI archives."""
    spec = lock.spec
    common: dict[str, Any] = {
        "context": ".",
        "platforms": [spec.platform],
        "args": {"SOURCE_DATE_EPOCH": str(MTIME)},
        "attest": ["type=provenance,disabled=true"],
    }
    if spec.build.secrets:
        named = sorted(spec.build.secrets.items())
        common["secret"] = [_bake_secret(name, secret) for name, secret in named]
    if spec.build.ssh:
        common["ssh"] = ["default"]
    options = "rewrite-timestamp=true,oci-mediatypes=true"
    outputs = {
        "system": f"type=oci,dest={spec.name}-system.tar,{options}",
        "wheels": "type=local,dest=wheels",
        "runtime": f"type=oci,dest={spec.name}.tar,{options}",
    }
    targets = {name: common | {"target": name, "output": [to]} for name, to in outputs.items()}
    document = {"group": {"default": {"targets": ["runtime"]}}, "target": targets}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _bake_secret(name: str, secret: Secret) -> str:
    place = f"src={secret.file}" if secret.env is None else f"env={secret.env}"
    return csv_row(f"id={name}", place)
