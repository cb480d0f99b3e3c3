"""Compare what manifest and config say with what the lock's seal says (pure)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from envbuilder.model.errors import NetworkError
from envbuilder.model.image import Image, Layer, compose
from envbuilder.model.image_config import LABEL, image_settings
from envbuilder.model.lock import DebianBase, Lock
from envbuilder.model.pylock import lock_checksum
from envbuilder.model.seal import Seal
from envbuilder.model.variables import names_in
from envbuilder.net.messages import parse_json

from .findings import Finding, FindingStatus, Level

_EMBEDDED = "embedded"


def compare_content(lock: Lock, seal: Seal, image: Image) -> Iterator[Finding]:
    """Say where ``image`` is not what ``seal``, the seal of ``lock``, says: layers, then config."""
    yield from compare_layers(seal.layers, image.layers)
    yield from _config(lock, seal, image)
    yield _lock_label(lock, image)


def compare_layers(sealed: Sequence[Layer], found: Sequence[Layer]) -> Iterator[Finding]:
    """Say which layers were replaced, added, removed or moved, by what their tars should hash to.

    Whether a blob holds what it claims is another question (``layers``).
    """
    before, after = [layer.diff_id for layer in sealed], [layer.diff_id for layer in found]
    if before == after:
        yield _ok("layers", f"{len(found)} layers, their content as sealed")
        return
    if sorted(before) == sorted(after):
        first = next(n for n, (a, b) in enumerate(zip(before, after, strict=True), 1) if a != b)
        yield _mismatch(
            "layers", explanation=f"the sealed layers in another order, from layer {first} on"
        )
        return
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for kind, low, high, new_low, new_high in matcher.get_opcodes():
        if kind != "equal":
            first = low if kind == "delete" else new_low
            yield _changed(kind, sealed[low:high], found[new_low:new_high], first + 1)


def _changed(kind: str, old: Sequence[Layer], new: Sequence[Layer], number: int) -> Finding:
    last = number + (len(new) or len(old)) - 1
    subject = f"layer {number}" if last == number else f"layers {number}-{last}"
    explanation = {
        "replace": "another layer in its place",
        "insert": "a layer that is not in the lock; it may hide or change files below it",
        "delete": "a layer of the lock is not there",
    }[kind]
    return _mismatch(subject, _names(old), _names(new), explanation)


def _config(lock: Lock, seal: Seal, image: Image) -> Iterator[Finding]:
    if image.config_digest == seal.config:
        yield _ok("config", "environment, entry point and labels as sealed")
        return
    derivable = _is_derivable(lock, seal)
    changes = list(_settings_changes(lock, image, derivable=derivable))
    yield from changes
    if changes:
        return
    if derivable and _is_composed(lock, image):
        yield Finding(
            level=Level.CONTENT,
            subject="config",
            status=FindingStatus.NOTE,
            expected=str(seal.config),
            actual=str(image.config_digest),
            explanation="other dates or history only; what runs is as sealed",
        )
        return
    yield _mismatch("config", str(seal.config), str(image.config_digest), "is not the sealed one")


def _settings_changes(lock: Lock, image: Image, *, derivable: bool) -> Iterator[Finding]:
    """Compare the settings with those that the lock gives; what a base brings is not known."""
    system, _, architecture = lock.spec.platform.partition("/")
    of_base = {name for name, text in lock.spec.env.items() if names_in(text)}
    unknown = {"Env PATH", "Cmd", *(f"Env {name}" for name in of_base)}
    expected = {"os": system, "architecture": architecture} | flat(image_settings(lock, {}))
    actual = image_facts(image)
    for name in sorted(expected.keys() | actual.keys()):
        old, new = expected.get(name), actual.get(name)
        known = derivable or (name in expected and name not in unknown)
        if old != new and known:
            explanation = "changed" if old and new else ("removed" if old else "added")
            yield _mismatch(name, old or "(none)", new or "(none)", explanation)


def flat(settings: Mapping[str, Any]) -> dict[str, str]:
    """Spread a config's settings into one text per variable, label and other member."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        if key == "Env" and isinstance(value, list):
            pairs = (str(entry).partition("=") for entry in value)
            found |= {f"Env {name}": text for name, _, text in pairs}
        elif key == "Labels" and isinstance(value, dict):
            found |= {f"label {name}": str(text) for name, text in value.items()}
        elif value not in (None, "", [], {}, False):
            found[key] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return found


def _is_composed(lock: Lock, image: Image) -> bool:
    """Return whether the config is what the lock gives, dates and history aside, to the letter.

    What reads like it may run as something else: of two variables with one name a program sees the
    first, and Go's parsers, which overlook case, take ``Config`` for ``config``.
    """
    try:
        found = parse_json(image.config, "the config")
    except NetworkError:
        return False
    plain = {key: value for key, value in found.items() if key not in {"created", "history"}}
    made = compose(image.layers, platform=lock.spec.platform, settings=image_settings(lock, {}))
    return bool(plain == json.loads(made.config))


def _is_derivable(lock: Lock, seal: Seal) -> bool:
    """Return whether the lock alone gives every setting, so that none can have slipped in."""
    return isinstance(lock.base, DebianBase) and seal.engine == _EMBEDDED


def _lock_label(lock: Lock, image: Image) -> Finding:
    """Compare the lock that the image says it was built from with the one we hold."""
    name, expected = f"label {LABEL}.lock", str(lock_checksum(lock))
    actual = flat(image.settings).get(name, "(none)")
    if actual == expected:
        return _ok("lock", "the image was built from this very lock")
    return _mismatch("lock", expected, actual, "the image was built from another lock")


def image_facts(image: Image) -> dict[str, str]:
    """Return an image's platform and settings as flat texts, to list or compare."""
    config = json.loads(image.config)
    facts = {key: str(config[key]) for key in ("os", "architecture", "variant") if config.get(key)}
    return facts | flat(image.settings)


def _names(layers: Sequence[Layer]) -> str:
    return ", ".join(layer.title or str(layer.diff_id)[:19] for layer in layers) or "(none)"


def _ok(subject: str, explanation: str) -> Finding:
    return Finding(
        level=Level.CONTENT, subject=subject, status=FindingStatus.OK, explanation=explanation
    )


def _mismatch(subject: str, expected: str = "", actual: str = "", explanation: str = "") -> Finding:
    return Finding(
        level=Level.CONTENT,
        subject=subject,
        status=FindingStatus.MISMATCH,
        expected=expected,
        actual=actual,
        explanation=explanation,
    )
