"""Run the command line: ``python -m envbuilder`` and the ``envbuilder`` script."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; Ctrl-C ends it quietly from its first import on."""
    try:
        from .cli.app import main as run  # noqa: PLC0415
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
