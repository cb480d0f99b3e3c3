"""The checks that run inside the image, and the verdict on what they found.

:func:`smoke` runs a :class:`SmokePlan` through a runner and returns a :class:`Report`.
"""

from .formats import to_json, to_junit
from .local import LocalPython
from .page import LayerSize, to_html
from .plan import CHECKS, Expected, OwnSample, ProbedModel, SmokePlan, Start
from .probe.samples import MODALITIES
from .report import About, Cause, Check, CheckStatus, ModelVerdict, Report, TokenRow
from .run_probe import Run, smoke
from .start import as_it_starts

__all__ = [
    "CHECKS",
    "MODALITIES",
    "About",
    "Cause",
    "Check",
    "CheckStatus",
    "Expected",
    "LayerSize",
    "LocalPython",
    "ModelVerdict",
    "OwnSample",
    "ProbedModel",
    "Report",
    "Run",
    "SmokePlan",
    "Start",
    "TokenRow",
    "as_it_starts",
    "smoke",
    "to_html",
    "to_json",
    "to_junit",
]
