"""``envbuilder verify``: proof that a remote image is exactly what its lock says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from envbuilder.model.errors import UsageError

from . import options

if TYPE_CHECKING:
    from envbuilder.evidence.verify.findings import Verdict
    from envbuilder.evidence.verify.measure import Measure
    from envbuilder.evidence.verify.remote import Seen
    from envbuilder.model.reference import ImageRef
    from envbuilder.resolve.context import Context
    from envbuilder.smoke import Report

_STYLES = {"ok": "green", "note": "yellow", "mismatch": "bold red", "unknown": "bold yellow"}


@click.command("verify")
@click.argument("ref", shell_complete=options.complete_refs)
@click.option(
    "--lock", "lock_name", metavar="NAME", shell_complete=options.complete_names,
    help="The environment, or the path of its lock; the image's own label names it otherwise.",
)  # fmt: skip
@click.option(
    "--level", type=click.IntRange(0, 3), help="0 digest, 1 content, 2 signed evidence, 3 packages "
    "of an image whose layers are others. Default: 1, or 2 with --key.",
)  # fmt: skip
@click.option("--key", metavar="KEY", help="The public key that evidence must be signed by.")
@click.option("--policy", type=click.Path(path_type=Path), help="What evidence is required (YAML).")
@click.option("--smoke", is_flag=True, help="Then pull the image by digest, and smoke it.")
@options.runtime("the smoke test")
@options.allow_unproven
@options.output
@options.progress
def command(
    ref: str,
    lock_name: str | None,
    level: int | None,
    key: str | None,
    policy: Path | None,
    smoke: bool,
    runtime: str,
    allow_unproven: bool,
    output: str,
    progress_mode: str,
) -> None:
    """Prove that the image at REF (HOST/NAME:TAG) is what its lock says, without pulling it.

    Of several platforms, that the index there lists the image of each lock, and no other.

    Exits with 9 if something does not match, and with 10 if it could not look.
    """
    from functools import partial

    from envbuilder.evidence.keyring import Keyring
    from envbuilder.evidence.keys import read_public
    from envbuilder.evidence.verify.findings import Level
    from envbuilder.evidence.verify.measure import Measure
    from envbuilder.evidence.verify.platforms import verify_platforms
    from envbuilder.evidence.verify.policy import read_keyring, read_policy
    from envbuilder.evidence.verify.remote import look, verify
    from envbuilder.model.pylock import read_lock
    from envbuilder.model.reference import ImageRef

    from .context import open_context

    if level is not None and level < Level.EVIDENCE and (key or policy):
        raise UsageError(
            f"--level {level} looks at no evidence, which --key and --policy are for",
            hint="leave --level out, or ask for --level 2",
        )
    options.refuse_word(ref)
    rules = None if policy is None else read_policy(policy)
    keyring = Keyring.of(read_public(key)) if key else None
    if keyring is None and rules is not None and policy is not None:
        keyring = read_keyring(rules, policy)
    depth = level if level is not None else (2 if keyring is not None or rules is not None else 1)
    target = ImageRef.parse(ref)
    reports = []
    with open_context(progress_mode) as context:
        seen = None
        if lock_name is None:
            seen = look(context.registries, target)
            lock_name = _lock_name(seen, target)
        measures = [
            Measure(lock=read_lock(path), path=path, by_image=seen is not None)
            for path in options.named_locks(lock_name).values()
        ]
        prove = partial(
            verify, context.registries, level=Level(depth), progress=context.progress,
            policy=rules, keyring=keyring, seen=seen, store=context.store,
        )  # fmt: skip
        locks = [each.lock for each in measures]
        verdict = verify_platforms(
            context.registries, target, locks, prove, level=Level(depth), seen=seen
        )
        if smoke and verdict.ok and verdict.digest is not None:
            at = target.at(verdict.digest)
            reports = [_smoke(context, at, each, runtime) for each in measures]
    if output == "json":
        options.print_json(_plain(verdict, measures, reports))
    else:
        _print(verdict, measures, reports, smoke=smoke)
    red = not all(each.passes(allow_unproven=allow_unproven) for each in reports)
    if verdict.exit_code or red:
        raise SystemExit(verdict.exit_code or 8)


def _lock_name(seen: Seen, ref: ImageRef) -> str:
    """Return the name of the lock that an image's label names: one of those in lockfiles/."""
    import re

    from envbuilder.evidence.verify.content import flat
    from envbuilder.model.image_config import LABEL

    name = flat(seen.image.settings).get(f"label {LABEL}.name")
    if name is None or not re.fullmatch("[a-z0-9-]+", name):
        raise UsageError(
            f"{ref} does not say which lock it was built from",
            hint="name it with --lock NAME, or see what differs: envbuilder diff NAME REF",
        )
    return name


def _plain(verdict: Verdict, measures: list[Measure], reports: list[Report]) -> dict[str, object]:
    locks = [each.to_dict() for each in measures]
    told = [each.to_dict() for each in reports]
    if len(measures) > 1:
        return {**verdict.to_dict(), "locks": locks, **({"smokes": told} if told else {})}
    return {**verdict.to_dict(), "lock": locks[0], **({"smoke": told[0]} if told else {})}


def _smoke(context: Context, ref: ImageRef, measure: Measure, runtime: str) -> Report:
    from envbuilder.registry.manifests import Platform
    from envbuilder.registry.transfer import pull
    from envbuilder.runtime import choose
    from envbuilder.workflow.smoke import smoke_image

    chosen, lock = choose(runtime, context.store), measure.lock
    platform = Platform.parse(lock.spec.platform)
    image = pull(context.registries, ref, platform, context.store, context.progress)
    return smoke_image(context, lock, image, runtime=chosen, folder=measure.path.parent)


def _print(
    verdict: Verdict, measures: list[Measure], reports: list[Report], *, smoke: bool
) -> None:
    from rich.text import Text

    from .console import printable, stdout
    from .report import print_report

    console = stdout()
    for measure in measures:
        console.print(Text(f"lock      {printable(measure.line())}"), soft_wrap=True)
    for finding in verdict.findings:
        line = Text(f"{finding.status:<9}", style=_STYLES[str(finding.status)])
        line.append(f" {printable(finding.subject)}", style="bold")
        line.append(f"  {printable(finding.explanation)}")
        console.print(line, soft_wrap=True)
        if finding.expected != finding.actual:
            for word, text in (("expected", finding.expected), ("found   ", finding.actual)):
                console.print(Text(f"          {word} {printable(text)}"), soft_wrap=True)
    for report in reports:
        print_report(report)
    if smoke and not reports:
        console.print("not smoked: only an image that is what the lock says is run")
    named = f"{verdict.reference} ({verdict.digest})" if verdict.digest else verdict.reference
    ending = measures[0].ending(verdict)
    console.print(Text(f"{named} {ending}, at level {int(verdict.level)}"), soft_wrap=True)
