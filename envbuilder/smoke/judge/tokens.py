"""Judge the counts: what the formula, the processor, the encoder and the spec say of one item.

What is red follows from what serving needs. Too few placeholders are accepted silently by
transformers, so agreement is always a comparison of two numbers that were both counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from envbuilder.smoke.plan import ProbedModel
from envbuilder.smoke.probe.families._text import TEXT_ALONE
from envbuilder.smoke.probe.samples import MODALITIES
from envbuilder.smoke.report import Check, CheckStatus, TokenRow

from . import jobs
from .finding import Fault, conclude, skipped, unproven
from .patterns import pattern
from .reserved import reserved

Facts = Mapping[str, Any]
COUNTED = ("placeholders", "formula", "embeddings")
"""What the probe may know of one item, beside what an engine makes of it."""
_ALONE = "the placeholders were compared with nothing: no formula is known, nothing was encoded"


def judge(model: ProbedModel, document: Facts, *, asked: Collection[str]) -> list[Check]:
    """Return, per modality, the checks of counts and of the stated maximum; then generation.

    ``asked`` are the modalities that the model must have, beside those that it states tokens for.
    """
    checks = []
    for modality in MODALITIES:
        job = jobs.named(document, f"tokens.{modality}")
        if job is not None:
            wanted = modality in model.tokens or modality in asked
            checks += _modality(model, document, modality, job, asked=wanted)
    if checks and all(check.status is CheckStatus.SKIP for check in checks) and not _text(document):
        checks = [_uncounted(check) for check in checks]
    mixed = jobs.named(document, "tokens.mixed")
    if mixed is None:
        return checks + ([_weightless()] if checks and model.family is None else [])
    return [*checks, _generate(mixed)]


def _text(document: Facts) -> bool:
    """Return whether there is nothing to count: the model takes text alone, and says so."""
    found = (jobs.named(document, f"tokens.{kind}") for kind in MODALITIES)
    return any(job is not None and job["facts"].get("counts") == TEXT_ALONE for job in found)


def taken(document: Facts) -> set[str]:
    """Return the modalities that the model takes, as far as anybody asked."""
    found = ((kind, jobs.named(document, f"tokens.{kind}")) for kind in MODALITIES)
    return {kind for kind, job in found if job and job["outcome"] != "inapplicable"}


def _weightless() -> Check:
    why = "there are no weights to generate with: the configuration alone is counted"
    return skipped("tokens.generate", why)


def rows(model: ProbedModel, document: Facts) -> tuple[TokenRow, ...]:
    """Return the token table: one row per sample, the engine's count beside the others."""
    engine = jobs.named(document, "engine.vllm") or {"items": []}
    counted = {(item["modality"], item["label"]): item for item in engine["items"]}
    table = []
    found = [item for kind in MODALITIES for item in _items(document, kind)]
    for item in sorted(found, key=lambda one: MODALITIES.index(one["modality"])):
        other = counted.get((item["modality"], item["label"]), {})
        stated = model.tokens.get(item["modality"]) if item["role"] == "maximum" else None
        table.append(_row(item, other.get("embeds"), stated))
    return tuple(table)


def _items(document: Facts, modality: str) -> list[Facts]:
    """Return what the job of ``modality`` counted; a video's sound is an item of audio."""
    job = jobs.named(document, f"tokens.{modality}")
    return [] if job is None else list(job["items"])


def _row(item: Facts, engine: int | None, stated: int | None) -> TokenRow:
    taken = {item.get(key) for key in COUNTED} | {engine}
    return TokenRow(
        modality=item["modality"],
        sample=item["label"],
        role=item["role"],
        formula=item.get("formula"),
        placeholders=item.get("placeholders"),
        embeddings=item.get("embeddings"),
        engine=engine,
        stated=stated,
        agree="error" not in item and len(taken - {None}) == 1,
        note=item.get("error") or item.get("note") or _alone(item, engine),
        grid=tuple(item.get("grid") or ()),
    )


def _alone(item: Facts, engine: int | None) -> str:
    """Say so where a row holds one number alone."""
    taken = [item.get(key) for key in COUNTED] + [engine]
    return "compared with nothing" if sum(one is not None for one in taken) == 1 else ""


def _modality(
    model: ProbedModel, document: Facts, modality: str, job: jobs.Job, *, asked: bool
) -> list[Check]:
    name = f"tokens.{modality}"
    if job["outcome"] == "inapplicable" and not asked:
        return [skipped(name, job["failure"]["message"], seconds=job["seconds"])]
    stopped = jobs.failure(job) or jobs.nothing_counted(job)
    named = model.path or model.config or model.hub
    common = {**job["facts"], "model": named, "pattern": pattern(job["items"])}
    findings = [
        *_vocabulary(job),
        *(found for item in job["items"] for found in _item(common, item)),
    ]
    if stopped:
        findings.append(stopped)
    counted = [item for item in job["items"] if "placeholders" in item]
    if not findings and not any(map(_compared, counted)):
        check = unproven(name, _ALONE, seconds=job["seconds"], details={"facts": job["facts"]})
        return [check, *reserved(model, document, modality, job)]
    check = conclude(
        name,
        findings,
        good=(f"{len(counted)} samples agree", _agreement(counted)),
        seconds=job["seconds"],
        details={"facts": job["facts"], "peak_memory": job.get("peak_memory", 0)},
    )
    return [check, *reserved(model, document, modality, job)]


def _uncounted(check: Check) -> Check:
    """Turn the skip of a model that was asked for, and of which nothing counts, into what it is."""
    why = f"the model was not counted: {check.explanation}"
    return unproven(check.name, why, seconds=check.seconds)


def _compared(item: Facts) -> bool:
    return item.get("formula") is not None or item.get("embeddings") is not None


def _agreement(items: list[Facts]) -> str:
    """Say which numbers were compared, so that green claims no more than it is."""
    known = sum(item.get("formula") is not None for item in items)
    encoded = sum(item.get("embeddings") is not None for item in items)
    formula = f"the formula for {known} samples" if known else "no formula (none is known)"
    return f"placeholders agree with {formula}, with the encoder's rows for {encoded}"


def _vocabulary(job: jobs.Job) -> Iterator[Fault]:
    """Yield what is wrong with the placeholder itself."""
    facts = job["facts"]
    if facts.get("degraded"):
        yield Fault(
            kind="processor-degraded",
            text=f"AutoProcessor gave a bare {facts.get('tokenizer')}: it makes no placeholders at "
            "all",
            expected="a multimodal processor",
            actual=facts.get("processor", "another"),
            facts=facts,
        )
    wanted, found = facts.get("model_token_id"), facts.get("token_id")
    if None not in (wanted, found) and wanted != found:
        yield Fault(
            kind="token-id-differs",
            text=f"{facts.get('token')} is {found} to the tokenizer, but the model inserts "
            f"embeddings at {wanted}: they would never meet, and no error would tell",
            expected=str(wanted),
            actual=str(found),
            facts=facts,
        )
    pieces = facts.get("token_splits_into")
    if pieces not in (None, 1):
        yield Fault(
            kind="token-splits",
            text=f"the tokenizer ({facts.get('tokenizer')}) splits {facts.get('token')} into "
            f"{pieces} ids, so no placeholder can be found",
            expected="1 id",
            actual=f"{pieces} ids",
            facts=facts,
        )


def _item(common: Facts, item: Facts) -> Iterator[Fault]:
    """Yield the disagreements of one sample, of whose job ``common`` is known."""
    what = f"{item['modality']} {item['label']}"
    facts = {**common, **item, "message": item.get("error", ""), **_likeness(item)}
    if "error" in item:
        yield _stopped(what, item, facts)
        return
    placeholders, formula, made = (item.get(key) for key in COUNTED)
    if made is not None and placeholders != made:
        yield _differ("placeholders-embeddings", what, facts, ("encoder makes", made))
    if formula is not None and placeholders != formula:
        yield _differ("placeholders-formula", what, facts, ("formula gives", formula))
    for other, count in item.get("strays", {}).items():
        yield Fault(
            kind="stray-placeholders",
            text=f"{what} alone yields {count} placeholders of {other}",
            expected=f"0 {other} placeholders",
            actual=str(count),
            facts=facts,
        )


def _likeness(item: Facts) -> Facts:
    """Return whether the encoder agrees, and whether the image turned by a quarter would."""
    placeholders = item.get("placeholders")
    same = {key for key in ("embeddings", "turned") if item.get(key) == placeholders is not None}
    return {"agreed": "embeddings" in same, "turned": "turned" in same}


def _stopped(what: str, item: Facts, facts: Facts) -> Fault:
    """Say why ``item`` was not counted: no verdict where memory or a decoder is all it lacks."""
    kind = item.get("error_kind")
    actual = {"memory": "out of memory", "undecodable": "nothing decodes it"}.get(str(kind))
    verb = "decoded" if kind == "undecodable" else "processed"
    return Fault(
        kind=f"item-{kind}" if actual else "item-error",
        text=f"{what} cannot be {verb}: {item['error']}",
        expected="counts",
        actual=actual or "an exception",
        status=CheckStatus.ERROR if actual else CheckStatus.FAIL,
        facts=facts,
    )


def _differ(kind: str, what: str, facts: Facts, other: tuple[str, int]) -> Fault:
    who, number = other
    placeholders = facts["placeholders"]
    return Fault(
        kind=kind,
        text=f"{what}: {facts.get('processor', 'the processor')} put {placeholders} placeholders "
        f"into the prompt, the {who} {number}",
        expected=str(number),
        actual=str(placeholders),
        facts={**facts, "difference": placeholders - number, "ratio": _ratio(placeholders, number)},
    )


def _ratio(placeholders: int, number: int) -> int | None:
    """Return how often ``number`` goes into ``placeholders``, if it does without a rest."""
    return placeholders // number if number and placeholders % number == 0 else None


def _generate(job: jobs.Job) -> Check:
    if job["outcome"] == "inapplicable":
        return skipped("tokens.generate", job["failure"]["message"], seconds=job["seconds"])
    stopped = jobs.failure(job) or jobs.nothing_counted(job)
    findings = [found for item in job["items"] for found in _prompt(job, item)]
    if stopped:
        findings.append(stopped)
    return conclude(
        "tokens.generate",
        findings,
        good=(
            f"{len(job['items'])} prompts",
            f"{_asked(job['items'])} run forward with finite logits and generate greedily",
        ),
        seconds=job["seconds"],
        details={"facts": job["facts"], "prompts": job["items"]},
    )


def _asked(items: Sequence[Facts]) -> str:
    """Name the prompts that were run: some families take one item at a time."""
    if all(item["label"].endswith("alone") for item in items):
        return "prompts of one item each"
    return "each modality alone, twice, and all together"


def _prompt(job: jobs.Job, item: Facts) -> Iterator[Fault]:
    """Yield what is wrong with one prompt that was run through the model."""
    facts = {**job["facts"], **item, "message": item.get("error", "")}
    if "error" in item:
        yield Fault(
            kind="generate-error",
            text=f"{item['label']}: {item['error']}",
            expected="an answer",
            actual="an exception",
            facts=facts,
        )
        return
    if item["placeholders"] != item["embeddings"]:
        yield Fault(
            kind="placeholders-embeddings",
            text=f"{item['label']}: placeholders {item['placeholders']}, encoder rows "
            f"{item['embeddings']}",
            expected=str(item["embeddings"]),
            actual=str(item["placeholders"]),
            facts=facts,
        )
    if not item["finite"]:
        yield Fault(
            kind="logits-not-finite",
            text=f"{item['label']}: the model's logits are not finite numbers ({item['dtype']})",
            expected="finite logits",
            actual="NaN or infinity",
            facts=facts,
        )
