"""What git says while it transfers, and what of it is an error."""

import io
from contextlib import contextmanager

from envbuilder.model.progress import Silent
from envbuilder.resolve.git.git_progress import watch

SAID = b"""\
remote: Enumerating objects: 20, done.\r
remote: Counting objects:  50% (10/20)\rremote: Counting objects: 100% (20/20), done.
remote: Total 20 (delta 3), reused 0 (delta 0), pack-reused 0
Receiving objects:   5% (1/20)\rReceiving objects:  45% (9/20), 1.20 MiB | 3.10 MiB/s\r\
Receiving objects: 100% (20/20), 2.40 MiB | 3.10 MiB/s, done.
Resolving deltas:   0% (0/3)\rResolving deltas: 100% (3/3), done.
"""
COMPLAINT = b"remote: Repository not found.\nfatal: repository 'x' not found\n"


class Seen(Silent):
    """A Progress that remembers titles, totals and amounts."""

    def __init__(self):
        self.steps = {}

    @contextmanager
    def step(self, phase, title, *, total=None, unit="bytes"):  # noqa: ARG002 - the protocol's
        self.steps[title] = (total, [])
        self.now = title
        yield self

    def advance(self, amount):
        self.steps[self.now][1].append(amount)


def test_objects_are_counted_and_only_complaints_remain():
    seen = Seen()
    said = watch(io.BufferedReader(io.BytesIO(SAID + COMPLAINT)), seen, "vllm")
    assert seen.steps == {
        "vllm: receiving objects": (20, [1, 8, 11]),
        "vllm: resolving deltas": (3, [0, 3]),
    }
    assert said == COMPLAINT.decode().rstrip()
