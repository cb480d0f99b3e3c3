"""The environment's own place has to be free: what a base has there would be in the image, too.

Its packages would lie among the spec's, and its modules among theirs. A link on the way would be
replaced by one engine, and stop the other.
"""

from __future__ import annotations

from envbuilder.layers.below import Below
from envbuilder.layers.tar import parents
from envbuilder.model.plan import PREFIX

PLACE_HINT = (
    "an image that envbuilder built is no base: name what that one stands on, and its packages in "
    f"this spec; what is another's, `rm -rf {PREFIX}` in steps.before_python takes away"
)


def place_problem(shown: Below) -> str | None:
    """Say what is in the way of the environment in what is ``shown``; None if nothing is.

    ``install.sh`` of the rendered context says the same.
    """
    who = "the base, or a step before Python,"
    for folder in (each.rstrip("/") for each in parents(PREFIX.lstrip("/"))):
        if folder in shown.links:
            return f"{who} has a link at /{folder}, on the way to the environment's place"
    if shown.environment:
        return f"{who} has an {PREFIX}, which is the environment's place"
    return None
