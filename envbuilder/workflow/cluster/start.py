"""Begins a job on a machine of the cluster, and prints what came of it for whoever submitted it.

``python start.py ATTEMPT``, in the unpacked package. It runs before anything is known of that
machine: on Python 3.8 or newer, and with the standard library alone.
"""

import base64
import collections
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zlib

NEEDED = (3, 11)
TAIL = 30  # lines of what the work said that an answer shows if it came to none
MISSING_TOOL, BUILD_FAILED = 6, 7  # the exit codes of MissingToolError and BuildError


def main(attempt: str) -> int:
    """Do what the package asks; print the answer and return its exit code."""
    with open("request.json", "rb") as file:  # noqa: PTH123 - see above
        wanted = json.load(file)["envbuilder"]
    answer = unfit(wanted) or done()
    sys.stderr.flush()
    sys.stdout.write(frame(attempt, json.dumps(answer).encode()))
    sys.stdout.flush()
    return int(str(answer["code"]))


def unfit(wanted: str) -> "dict[str, object]":
    """Return the answer of a machine that cannot do it; empty if it can."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < NEEDED:
        needs = "envbuilder needs {}.{} or newer".format(*NEEDED)
        return refusal(
            f"the Python of that machine, {sys.executable}, is {version}: {needs}",
            "give Ray a Python that is new enough",
        )
    hint = "pip install gpu-envbuilder=={} there".format(wanted)  # noqa: UP032
    try:
        import envbuilder  # noqa: PLC0415
    except ImportError as error:
        return refusal(f"{sys.executable} of that machine cannot import envbuilder: {error}", hint)
    if envbuilder.__version__ != wanted:
        found = f"that machine has envbuilder {envbuilder.__version__}, and here it is {wanted}"
        return refusal(found, hint)
    return {}


def done() -> "dict[str, object]":
    """Do the work in a process of its own: that one is killed, too, is an answer.

    Its answer lies apart: two machines on one host share the folder of the package, which goes
    when one of them is started anew.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "answer.json")  # noqa: PTH118
        code, said = told([sys.executable, "-m", "envbuilder.cli.cluster_job", path])
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - see above
                answer: "dict[str, object]" = json.load(file)  # noqa: UP037
        except FileNotFoundError:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            error = f"the work on that machine {how}; it said last:\n{said}"
            hint = "signal 9 is mostly for lack of memory; the job's log in Ray may say more"
            return {"code": BUILD_FAILED, "error": error, "hint": hint}
    return answer


def told(work: "list[str]") -> "tuple[int, str]":
    """Run a command and hand on what it says; return its exit code, and the last lines of that."""
    last: "collections.deque[bytes]" = collections.deque(maxlen=TAIL)  # noqa: UP037
    with subprocess.Popen(work, stderr=subprocess.PIPE) as process:
        for line in process.stderr or ():
            sys.stderr.buffer.write(line)
            sys.stderr.flush()
            last.append(line)
    return process.returncode, b"".join(last).decode(errors="replace").rstrip()


def refusal(message: str, hint: str) -> "dict[str, object]":
    """Return the answer of a machine that is not fit."""
    return {"code": MISSING_TOOL, "error": message, "hint": hint}


def frame(attempt: str, data: bytes) -> str:
    """Return ``data`` as lines that can be found in a log, and proven whole."""
    text = base64.encodebytes(zlib.compress(data)).decode()
    head = f"envbuilder-answer {attempt} {hashlib.sha256(data).hexdigest()}"
    return f"\n{head}\n{text}envbuilder-end {attempt}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
