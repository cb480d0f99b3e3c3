"""A deployment in Kubernetes' words: a Deployment, and a Service if it has ports.

Source: Kubernetes API 1.31 (apps/v1, core/v1); image volumes are KEP-4639.
"""

from __future__ import annotations

import re
from typing import Any

from envbuilder.model.image_spec import Healthcheck
from envbuilder.model.yaml_text import yaml_text

from .deployment import MODEL, Deployment
from .kubernetes_names import object_name, secret_name

_MIB = 1 << 20
_INTERVAL, _TIMEOUT, _RETRIES = 30, 30, 3  # where a healthcheck does not say: as Docker has it
_LOOK = 10  # seconds between two looks at a container that starts
_SLOWEST_START = 1800  # seconds: loading a big model takes many minutes


def kubernetes(wanted: Deployment) -> str:
    """Return the manifest: YAML documents for ``kubectl apply -f``."""
    documents = [_deployment(wanted), *([_service(wanted)] if wanted.wishes.ports else [])]
    return "---\n".join(yaml_text(document) for document in documents)


def _deployment(wanted: Deployment) -> dict[str, Any]:
    labels = _labels(wanted)
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(wanted)],
        "volumes": _volumes(wanted),
    }
    if wanted.wishes.pull_secret is not None:
        pod["imagePullSecrets"] = [{"name": secret_name(wanted.wishes.pull_secret)}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": object_name(wanted.name),
            "labels": labels,
            "annotations": {
                "gpu-envbuilder.dev/environment": wanted.name,
                "gpu-envbuilder.dev/lock": str(wanted.lock),
            },
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            # A GPU is taken by one Pod: the old one has to leave before the new one fits.
            "strategy": {"type": "Recreate" if wanted.gpus else "RollingUpdate"},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _service(wanted: Deployment) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": object_name(wanted.name), "labels": _labels(wanted)},
        "spec": {
            "selector": _labels(wanted),
            "ports": [
                {"name": f"port-{port}", "port": port, "targetPort": port}
                for port in wanted.wishes.ports
            ],
        },
    }


def _labels(wanted: Deployment) -> dict[str, str]:
    return {"app.kubernetes.io/name": object_name(wanted.name)}


def _container(wanted: Deployment) -> dict[str, Any]:
    wishes = wanted.wishes
    container: dict[str, Any] = {"name": object_name(wanted.name), "image": wanted.image}
    if wishes.args:
        container["args"] = [_literal(text) for text in wishes.args]
    if wishes.env:
        container["env"] = [
            {"name": name, "value": _literal(value)} for name, value in wishes.env.items()
        ]
    if wishes.ports:
        container["ports"] = [{"containerPort": port} for port in wishes.ports]
    if wanted.gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": wanted.gpus}}
    container["securityContext"] = {"allowPrivilegeEscalation": False}
    container["volumeMounts"] = [{"name": "shm", "mountPath": "/dev/shm"}]  # noqa: S108
    if wishes.model is not None or wishes.model_image is not None:
        container["volumeMounts"].append({"name": "model", "mountPath": MODEL, "readOnly": True})
    return container | _probes(wanted)


def _literal(text: str) -> str:
    """Keep ``$(NAME)`` and ``$$``: Kubernetes would put a variable's value there, and one ``$``."""
    return re.sub(r"\$(?=[$(])", "$$", text)


def _volumes(wanted: Deployment) -> list[dict[str, Any]]:
    shm = {"medium": "Memory", "sizeLimit": f"{-(-wanted.shm // _MIB)}Mi"}
    volumes: list[dict[str, Any]] = [{"name": "shm", "emptyDir": shm}]
    if wanted.wishes.model is not None:
        path = {"path": str(wanted.wishes.model), "type": "Directory"}
        volumes.append({"name": "model", "hostPath": path})
    if wanted.wishes.model_image is not None:
        image = {"reference": str(wanted.wishes.model_image), "pullPolicy": "IfNotPresent"}
        volumes.append({"name": "model", "image": image})
    return volumes


def _probes(wanted: Deployment) -> dict[str, Any]:
    """Return the probes: by the spec's healthcheck, or else whether the first port answers."""
    check, ports = wanted.healthcheck, wanted.wishes.ports
    if check is not None:
        command = [_literal(word) for word in check.command]
        asked = {"exec": {"command": command}, "timeoutSeconds": check.timeout or _TIMEOUT}
        regular = {
            **asked,
            "periodSeconds": check.interval or _INTERVAL,
            "failureThreshold": check.retries or _RETRIES,
        }
        return {
            "startupProbe": _starting(asked, _patience(check)),
            "readinessProbe": regular,
            "livenessProbe": regular,
        }
    if not ports:
        return {}
    asked = {"tcpSocket": {"port": ports[0]}}
    return {"startupProbe": _starting(asked, _SLOWEST_START), "readinessProbe": asked}


def _patience(check: Healthcheck) -> int:
    """Return the seconds that a start may take, at least.

    Engines count no failure in the start period, and mark a container then; Kubernetes kills it,
    so no healthcheck makes it less patient than it is without one.
    """
    retries = (check.retries or _RETRIES) * (check.interval or _INTERVAL)
    return max(_SLOWEST_START, (check.start_period or 0) + retries)


def _starting(asked: dict[str, Any], patience: int) -> dict[str, Any]:
    tries = -(-patience // _LOOK)
    return {**asked, "periodSeconds": _LOOK, "failureThreshold": tries}
