"""A deployment as a Compose file. Source: the Compose Specification, "services"."""

from __future__ import annotations

from typing import Any

from envbuilder.model.yaml_text import yaml_text

from .deployment import MODEL, Deployment


def compose(wanted: Deployment) -> str:
    """Return the file: for ``docker compose up``."""
    return yaml_text({"name": wanted.name, "services": {wanted.name: _service(wanted)}})


def _service(wanted: Deployment) -> dict[str, Any]:
    wishes = wanted.wishes
    service: dict[str, Any] = {
        "image": wanted.image,
        "init": True,
        "restart": "unless-stopped",
        "security_opt": ["no-new-privileges:true"],
        "shm_size": wanted.shm,
    }
    if wishes.args:
        service["command"] = [_literal(text) for text in wishes.args]
    if wishes.env:
        service["environment"] = {name: _literal(value) for name, value in wishes.env.items()}
    if wishes.published:
        service["ports"] = list(wishes.published)
    if volumes := _volumes(wanted):
        service["volumes"] = volumes
    if wanted.gpus:
        device = {"driver": "nvidia", "count": wanted.gpus, "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    return service


def _literal(text: str) -> str:
    """Keep ``$NAME`` as it stands; Compose would put a variable of its own host there."""
    return text.replace("$", "$$")


def _volumes(wanted: Deployment) -> list[dict[str, Any]]:
    wishes = wanted.wishes
    if wishes.model is not None:
        source = _literal(str(wishes.model))
        return [{"type": "bind", "source": source, "target": MODEL, "read_only": True}]
    if wishes.model_image is not None:
        return [{"type": "image", "source": str(wishes.model_image), "target": MODEL}]
    return []
