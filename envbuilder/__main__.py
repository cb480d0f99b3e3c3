"""Run the command line: ``python -m envbuilder`` and the ``envbuilder`` script."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing takes a while to import, in which Ctrl-C would not be heard
if TYPE_CHECKING:
    from sys import UnraisableHookArgs
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

        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                signal.signal(number, signal.default_int_handler)
        sys.unraisablehook = _hear_again
        from .cli.app import main as run  # noqa: PLC0415
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)
    run()


def _hear_again(lost: UnraisableHookArgs) -> None:
    """Hear an interrupt that came where nothing can be raised, as where an object is let go."""
    if lost.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(lost)
        return
    import signal  # noqa: PLC0415 (there since the first line of all)

    signal.setitimer(signal.ITIMER_REAL, 0.001)  # seconds: once this has returned


if __name__ == "__main__":
    main()
