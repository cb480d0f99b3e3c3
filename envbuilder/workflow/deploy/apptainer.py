"""A deployment as an Apptainer definition, for clusters where nobody is root.

Source: Apptainer's user guide, "Definition Files". Entry point, arguments and environment of the
image become the runscript by themselves; GPUs, binds and ports are the caller's.
"""

from __future__ import annotations

import re
import shlex

from .deployment import MODEL, Deployment


def apptainer(wanted: Deployment) -> str:
    """Return ``NAME.def``, for ``apptainer build NAME.sif NAME.def``."""
    lines = [
        f"# apptainer build {wanted.name}.sif {wanted.name}.def",
        f"# {_run(wanted)}",
        "Bootstrap: docker",
        f"From: {wanted.image}",
        "",
        "%labels",
        f"    dev.gpu-envbuilder.lock {wanted.lock}",
    ]
    if wanted.wishes.env:
        lines += ["", "%environment"]
        lines += [
            f"    export {name}={_quoted(value)}" for name, value in wanted.wishes.env.items()
        ]
    return "".join(f"{line}\n" for line in lines)


def _run(wanted: Deployment) -> str:
    wishes = wanted.wishes
    line = ["apptainer", "run", *(["--nv"] if wanted.gpus else [])]
    if wishes.model is not None:
        line += ["--bind", f"{wishes.model}:{MODEL}:ro"]
    return " ".join(_quoted(word) for word in (*line, f"{wanted.name}.sif", *wishes.args))


def _quoted(text: str) -> str:
    """Quote one word for a shell, and keep ``{{ NAME }}``, where Apptainer sees its arguments."""
    return re.sub(r"\{(?=\{)", "{''", shlex.quote(text))
