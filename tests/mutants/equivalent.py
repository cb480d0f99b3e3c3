"""Mutations that no test can notice, each with its reason.

The key is the module with the line before and after; a line that changes loses its exemption.
"""

EQUIVALENT: dict[tuple[str, str, str], str] = {}
