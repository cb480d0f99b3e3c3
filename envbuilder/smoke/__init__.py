"""The checks that run inside the image, and the verdict on what they found."""

from .plan import CHECKS, MODALITIES, Expected, Model, SmokePlan
from .report import Cause, Check, Report, Status, TokenRow

__all__ = [
    "CHECKS",
    "MODALITIES",
    "Cause",
    "Check",
    "Expected",
    "Model",
    "Report",
    "SmokePlan",
    "Status",
    "TokenRow",
]
