"""The table of ``status`` as one self-contained HTML page: no script, no network."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from envbuilder import __version__
from envbuilder.model.resources import TEMPLATES
from envbuilder.storage.ledger import now

from .status import Status


def status_page(found: Sequence[Status]) -> str:
    """Return the page; it says when it was made."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.get_template("status.html.j2")
    return template.render(found=found, made=now(), version=__version__)
