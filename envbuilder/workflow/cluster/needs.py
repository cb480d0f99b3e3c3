"""What a job needs of a machine, and whether the cluster has any such: else it waits for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from envbuilder.model.errors import MissingToolError
from envbuilder.model.spec import Spec

from .jobs_api import Node

LABEL = "ray.io/accelerator-type"
"""The label that Ray gives a machine by itself, or its owner by ``ray start --labels``."""
_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One processor, ``memory`` bytes, and ``gpus`` GPUs, of the type ``gpu`` if it is named."""

    memory: int
    gpus: int = 0
    gpu: str | None = None

    def __str__(self) -> str:
        memory = f"{self.memory / _GIB:.1f} GiB of memory"
        return (
            f"{self.gpus} GPU{f' of type {self.gpu}' if self.gpu else ''}, {memory}"
            if self.gpus
            else memory
        )

    def fits(self, node: Node) -> bool:
        """Return whether ``node`` could take such a job, when it is idle."""
        has = node.resources_total
        wanted = {"CPU": 1, "memory": self.memory, "GPU": self.gpus}
        enough = all(has.get(name, 0) >= count for name, count in wanted.items())
        return enough and (self.gpu is None or self.gpu in types_of(node))

    def asked(self, nodes: Sequence[Node]) -> dict[str, Any]:
        """Return this in the words of Ray's Jobs API.

        A type is asked by its label, or by the resource that Ray had for it before there were
        labels, if no machine has the label.
        """
        asked = {"entrypoint_num_cpus": 1, "entrypoint_memory": self.memory}
        if not self.gpus:
            return asked
        asked["entrypoint_num_gpus"] = self.gpus
        if self.gpu is None:
            return asked
        resource = f"accelerator_type:{self.gpu}"
        labelled = any((node.labels or {}).get(LABEL) == self.gpu for node in nodes)
        if not labelled and any(resource in node.resources_total for node in nodes):
            return {**asked, "entrypoint_resources": {resource: 0.001}}
        return {**asked, "entrypoint_label_selector": {LABEL: self.gpu}}


def needs_of(spec: Spec) -> tuple[Need, ...]:
    """Return what the smoke of ``spec`` needs: one for each type of GPU that it shall run on."""
    memory = spec.smoke.memory << 20
    if spec.smoke.gpus:
        kinds = dict.fromkeys(spec.smoke.gpus)
        return tuple(Need(memory=memory, gpus=1, gpu=kind) for kind in kinds)
    return (Need(memory=memory, gpus=1 if spec.smoke.gpu == "required" else 0),)


def check_fits(need: Need, nodes: Sequence[Node], *, name: str, cluster: str) -> None:
    """Raise MissingToolError if no machine could ever run the job, with what there is."""
    if any(need.fits(node) for node in nodes):
        return
    there = "".join(f"\n  {_described(node)}" for node in nodes) or " nothing"
    raise MissingToolError(
        f"no machine of the cluster at {cluster} can run {name}, which needs {need}; it has{there}",
        hint="add such a machine (ray start --num-gpus, --labels, --memory), change smoke.gpus or "
        "smoke.memory, or, if the cluster grows by itself, add --wait-for-nodes",
    )


def types_of(node: Node) -> set[str]:
    """Return the types of GPU that ``node`` says it has."""
    labelled = (node.labels or {}).get(LABEL)
    prefix = "accelerator_type:"
    older = {name.removeprefix(prefix) for name in node.resources_total if name.startswith(prefix)}
    return older | ({labelled} if labelled else set())


def _described(node: Node) -> str:
    has = node.resources_total
    kinds = ", ".join(sorted(types_of(node))) or "no type known"
    gpus = f"{has.get('GPU', 0):g} GPUs ({kinds})" if has.get("GPU") else "no GPU"
    memory = has.get("memory", 0) / _GIB
    return f"{node.node_ip}: {has.get('CPU', 0):g} CPUs, {gpus}, {memory:.1f} GiB of memory"
