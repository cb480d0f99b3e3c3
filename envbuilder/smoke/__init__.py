"""The checks that run inside the image, and the verdict on what they found.

:func:`smoke` runs a :class:`SmokePlan` through a runner and returns a :class:`Report`.
"""

from .formats import to_json, to_junit
from .local import LocalPython
from .page import LayerSize, to_html
from .plan import CHECKS, Expected, Model, OwnSample, SmokePlan
from .probe.samples import MODALITIES
from .report import Cause, Check, Report, Status, TokenRow
from .run_probe import Run, smoke

__all__ = [
    "CHECKS",
    "MODALITIES",
    "Cause",
    "Check",
    "Expected",
    "LayerSize",
    "LocalPython",
    "Model",
    "OwnSample",
    "Report",
    "Run",
    "SmokePlan",
    "Status",
    "TokenRow",
    "smoke",
    "to_html",
    "to_json",
    "to_junit",
]
