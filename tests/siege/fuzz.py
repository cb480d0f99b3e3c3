"""Feed one parser mutated samples, in a process of its own: ``… fuzz PARSER SEED COUNT FOLDER``.

Each fault is one line of JSON on stdout: its kind, the number of the input, and what happened.
"""

from __future__ import annotations

import faulthandler
import json
import resource
import shutil
import sys
import time
import traceback
from pathlib import Path
from random import Random

from envbuilder.model.errors import EnvbuilderError
from tests.siege.mutate import mutated
from tests.siege.parsers import PARSERS, Parser

LONGEST = 10 << 20
SECONDS = 30.0
"""Of a processor, for the longest input; a shorter one gets less in proportion, down to MOMENT."""
MOMENT = 5.0


def main(name: str, seed: int, count: int, folder: Path) -> None:
    faulthandler.dump_traceback_later(170, exit=True)
    # What asks for far more memory than it may have fails at once, instead of the machine.
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    parser = next(each for each in PARSERS if each.name == name)
    (folder / "samples").mkdir()
    samples = parser.samples(folder / "samples")
    for number in range(count):
        random = Random(f"{name} {seed} {number}")
        data = mutated(random.choice(samples), random)[:LONGEST]
        place = folder / str(number)
        place.mkdir()
        if (fault := tried(parser, data, place)) is not None:
            print(json.dumps({"number": number, **fault}), flush=True)
        shutil.rmtree(place)


def tried(parser: Parser, data: bytes, folder: Path) -> dict[str, str] | None:
    """Return the kind of fault and its story, or None if the input was taken or refused."""
    start = time.process_time()
    try:
        parser.parse(data, folder)
    except EnvbuilderError:
        pass
    except Exception:
        return {"kind": "traceback", "text": f"{data[:300]!r}\n{traceback.format_exc()[-1500:]}"}
    allowed = max(MOMENT, SECONDS * len(data) / LONGEST)
    if (spent := time.process_time() - start) > allowed:
        return {"kind": "budget", "text": f"{spent:.0f} s for {data[:300]!r}"}
    if left := [str(path) for path in folder.glob("store/tmp/*")]:
        return {"kind": "leftover", "text": f"{left} after {data[:300]!r}"}
    return None


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
