"""The bill of materials of an environment, or of any image."""

from __future__ import annotations

from envbuilder.evidence.bill import (
    Bill,
    PackageFacts,
    bill_of_image,
    bill_of_lock,
    facts_of_store,
    python_part,
)
from envbuilder.layers.installed import system_facts
from envbuilder.model.errors import LockError
from envbuilder.model.lock import Lock
from envbuilder.registry.open_image import OpenedImage
from envbuilder.resolve.context import Context
from envbuilder.storage.ledger import now

from .diff import carried_lock


def bill_of_environment(context: Context, lock: Lock, *, built: str | None) -> Bill:
    """List what the sealed image of ``lock`` consists of, by the lock and what the store has.

    ``built`` is when the ledger says that it was (RFC 3339), else the bill is dated with now.
    Raises LockError for a lock that was never built.
    """
    if lock.seal is None:
        name = lock.spec.name
        raise LockError(
            f"the lock of {name} has no seal: it was never built", hint=f"envbuilder build {name}"
        )
    with context.progress.step("read", "what the packages say of themselves", unit="items"):
        facts = facts_of_store(context.store, lock)
    return bill_of_lock(lock, lock.seal.manifest, finished=built or now(), facts=facts)


def bill_of_opened(context: Context, opened: OpenedImage) -> Bill:
    """List what an image consists of, by reading all its layers; dated with now.

    One of ours carries its lock, which adds the hashes and commits. Raises what reading raises.
    """
    contents = opened.contents(context.progress)
    system = system_facts(contents.documents)
    metadata = contents.python_metadata()
    digest = opened.image.digest
    if (lock := carried_lock(opened)) is not None:
        facts = PackageFacts(system=system, metadata=lambda name, _wheel: metadata.get(name))
        return bill_of_lock(lock, digest, finished=now(), facts=facts)
    python = [
        python_part(name, str(head["Version"]), head, None)
        for name, head in sorted(metadata.items())
    ]
    return bill_of_image(opened.name, digest, finished=now(), python=python, system=system)
