"""What reading a hostile input takes, measured from outside of the process that reads."""

from __future__ import annotations

import subprocess
import sys

MEMORY = 400 << 20
"""Bytes that any process may take for an input of ``LARGEST_INPUT`` bytes."""
SECONDS = 30
"""Of a processor, not of a clock: others may want the machine, too."""
LARGEST_INPUT = 10 << 20

WATCH = """
import resource, subprocess, sys

subprocess.run(sys.argv[1:], stderr=subprocess.STDOUT)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"\\n{used.ru_utime + used.ru_stime}\\n{used.ru_maxrss}", end="")
"""
"""A small program that watches: what starts a process counts towards the most that it took."""


def measured(*command: str) -> str:
    """Return what a Python with ``command`` prints, if it kept the bounds."""
    call = [sys.executable, "-c", WATCH, sys.executable, *command]
    said, seconds, peak = subprocess.check_output(call, text=True).rsplit("\n", 2)
    assert "Traceback" not in said
    assert int(peak) << 10 < MEMORY
    assert float(seconds) < SECONDS
    return said
