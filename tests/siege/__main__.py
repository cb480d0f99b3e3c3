"""Lay siege for a while: ``python -m tests.siege [--seconds 3600] [--only NAME [--seed N]]``.

Ends with 1 if anything happened that must not. ``--write`` puts the figures into the docs.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import time
from itertools import chain
from pathlib import Path

import msgspec

from tests.siege.attacks import ATTACKS
from tests.siege.report import write_figures
from tests.siege.run import Plan, lay_siege
from tests.siege.tally import Tally, joined, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.siege")
    parser.add_argument("--seconds", type=float, default=3600, help="how long")
    parser.add_argument("--only", default="", help="attacks whose names match this expression")
    parser.add_argument("--seed", type=int, default=None, help="run this once of each")
    parser.add_argument("--first", type=int, default=1, help="the seed to begin with")
    parser.add_argument("--write", action="store_true", help="put the figures into the docs")
    parser.add_argument("--save", type=Path, help="keep the figures here, for another siege")
    parser.add_argument("--join", type=Path, action="append", default=[], metavar="SAVED",
                        help="add the figures of another siege")  # fmt: skip
    given = parser.parse_args()
    plan = Plan(
        attacks=[attack for attack in ATTACKS if re.search(given.only, attack.name)],
        seconds=given.seconds, seed=given.seed, first=given.first,
    )  # fmt: skip
    for number in (signal.SIGTERM, signal.SIGINT):  # so that the servers end, and folders go
        signal.signal(number, signal.default_int_handler)
    start = time.monotonic()
    tallies = lay_siege(plan, tell=lambda text: print(text, flush=True))
    if given.save:
        given.save.write_bytes(msgspec.json.encode(tallies))
    others = (msgspec.json.decode(path.read_bytes(), type=list[Tally]) for path in given.join)
    tallies = joined(chain(tallies, *others))
    tallies.sort(key=lambda tally: [attack.name for attack in ATTACKS].index(tally.attack))
    print(table(tallies))
    if given.write:
        write_figures(tallies, seconds=time.monotonic() - start)
    return int(any(tally.faults for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
