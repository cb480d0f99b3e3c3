"""Run the command line: ``python -m envbuilder`` and the ``envbuilder`` script."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing takes a while to import, in which Ctrl-C would not be heard
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run the command line; Ctrl-C and its like end it quietly from its first import on."""
    try:
        _run()
    finally:
        # Python notes an interrupt that leaves code given as text, as dataclasses run some while
        # they are made, and dies of SIGINT at its end, whoever met it since. The next clears that.
        exec("")  # noqa: S102


def _run() -> NoReturn:
    try:
        import signal  # noqa: PLC0415

        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                signal.signal(number, signal.default_int_handler)
        from .cli.app import main as run  # noqa: PLC0415
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
