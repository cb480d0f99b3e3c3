"""The checks that run inside the image, and the verdict on what they found.

:func:`smoke` runs a :class:`SmokePlan` through a runner and returns a :class:`Report`.
"""

from .local import LocalPython
from .plan import CHECKS, MODALITIES, Expected, Model, SmokePlan
from .report import Cause, Check, Report, Status, TokenRow
from .run import Run, smoke

__all__ = [
    "CHECKS",
    "MODALITIES",
    "Cause",
    "Check",
    "Expected",
    "LocalPython",
    "Model",
    "Report",
    "Run",
    "SmokePlan",
    "Status",
    "TokenRow",
    "smoke",
]
