"""Run one command inside an image, without network, and take everything down again.

:func:`choose` picks a :class:`Runtime`; its ``run(image, command)`` gives a :class:`Completed`.
"""

from .choose import NAMES, choose
from .command import Command, Completed, Mount, Overlay, Prepared, Runtime
from .output import OUTPUT_LIMIT

__all__ = [
    "NAMES",
    "OUTPUT_LIMIT",
    "Command",
    "Completed",
    "Mount",
    "Overlay",
    "Prepared",
    "Runtime",
    "choose",
]
