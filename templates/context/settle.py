"""Make what uv installed what envbuilder's own layers hold, byte for byte.

    settle.py VENV REQUIREMENTS [DIRECT_URL]

uv marks every package as requested, names itself the installer, and writes RECORD in the order of
its work. Here only those lines of REQUIREMENTS that end in ``# requested`` count as requested, and
the package from git whose origin DIRECT_URL tells (PEP 610). Runs on the image's own Python, 3.9 or
later, standard library only.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import sys
from pathlib import Path

MADE = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")


def settle(info: Path, made: dict[str, bytes]) -> None:
    """Give the distribution in ``info`` exactly the files of ``made`` among those of MADE."""
    for name in MADE:
        (info / name).unlink(missing_ok=True)
    with (info / "RECORD").open(encoding="utf-8", newline="") as stream:
        rows = {row[0]: row for row in csv.reader(stream) if row}
    for name in MADE:
        rows.pop(f"{info.name}/{name}", None)
    for name, content in made.items():
        (info / name).write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        path = f"{info.name}/{name}"
        rows[path] = [path, f"sha256={digest}", str(len(content))]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(rows.values()))
    (info / "RECORD").write_bytes(text.getvalue().encode())


def requested(requirements: Path) -> set[str]:
    """Read the canonical names that the spec itself requests."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    return {re.split("==| @ ", line)[0] for line in lines if line.endswith("# requested")}


def main(venv: str, requirements: str, direct_url: str | None = None) -> None:
    """Settle every distribution in ``venv``."""
    wanted = requested(Path(requirements))
    for info in Path(venv).glob("lib/python3*/site-packages/*.dist-info"):
        made = {"INSTALLER": b"envbuilder\n"}
        name = re.sub(r"[-_.]+", "-", info.name.partition("-")[0]).lower()
        if name in wanted or direct_url is not None:
            made["REQUESTED"] = b""
        if direct_url is not None:
            made["direct_url.json"] = Path(direct_url).read_bytes()
        settle(info, made)


if __name__ == "__main__":
    main(*sys.argv[1:])
