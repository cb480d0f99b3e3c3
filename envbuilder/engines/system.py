"""What the embedded engine stands on where the spec needs ``RUN``: BuildKit's stage ``system``.

The store remembers the layers, so that BuildKit is asked once for the same base, packages and
steps, and not at all offline.
"""

from __future__ import annotations

from dataclasses import replace

from envbuilder.model.errors import NetworkError, UsageError
from envbuilder.model.image import Layer, canonical_json
from envbuilder.model.lock import Lock
from envbuilder.resolve.context import Context

from .docker import build_target, named_layers
from .foundation import Foundation, foundation_layers
from .render import system_packages

_LAYOUT = 3  # raise it whenever the same packages and steps give other layers by our own doing
_KIND = "borrowed-system"


def system_layers(context: Context, lock: Lock) -> Foundation:
    """Lay what the Python layers stand on; BuildKit runs what the spec has to run below them.

    That is packages on an image from a registry, and steps before Python; only what lies above
    the base's own layers is taken. Raises UsageError for steps after Python, which this
    engine cannot run, NetworkError if offline BuildKit would be needed, and what building
    raises.
    """
    if lock.spec.steps.after_python:
        raise UsageError(
            "steps.after_python run on top of the whole environment, which only Docker can do",
            hint="add --engine docker",
        )
    below = foundation_layers(context, lock)
    if not system_packages(lock) and not lock.spec.steps.before_python:
        return below
    key = _key(lock, below)
    found = context.store.record(_KIND, key, tuple[Layer, ...])
    if found is None:
        if context.offline:
            raise NetworkError(
                "--offline, and the store lacks what BuildKit makes of the system packages and "
                "steps",
                hint=f"build {lock.spec.name} once while there is a network",
            )
        image = build_target(context, lock, "system")
        found = named_layers(lock, image)[len(below.layers) :]
        context.store.put_record(_KIND, key, found, blobs=[layer.digest for layer in found])
    return replace(below, layers=(*below.layers, *found))


def _key(lock: Lock, below: Foundation) -> str:
    """Name all that the layers depend on."""
    facts = {
        "layout": _LAYOUT,
        "base": [str(layer.diff_id) for layer in below.layers],
        "settings": dict(below.settings),  # what runs there has the base's variables, user, shell
        "packages": system_packages(lock),
        "steps": lock.spec.steps.before_python,
        "platform": lock.spec.platform,
    }
    return canonical_json(facts).decode()
