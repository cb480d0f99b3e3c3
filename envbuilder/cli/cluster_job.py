"""What a job of ``--cluster`` does on its machine; ``start.py`` of its package runs this."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path


def main(target: Path) -> None:
    """Work in the unpacked package that is our folder; write the answer, as JSON, to ``target``.

    Where layers are shared is what the package says, or this machine's variables.
    """
    from envbuilder.model.codec import from_json, to_json
    from envbuilder.workflow.cluster.node import work
    from envbuilder.workflow.cluster.order import Answer, Order

    from .context import open_context

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # of Ray, which stops a job so
    package = Path.cwd()
    order = from_json((package / "request.json").read_bytes(), Order)
    if not order.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        with open_context("plain") as context:
            answer = work(context, order, package=package)
    except Exception:  # whoever waits for the answer shows it
        answer = Answer(code=1, error=f"internal error in the job:\n{traceback.format_exc()}")
    target.write_bytes(to_json(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
