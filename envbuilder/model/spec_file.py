"""Reading a spec file, and checking what types cannot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from .account import user_problems
from .codec import convert
from .errors import SpecError, UsageError
from .own_files import file_problems
from .package_checks import Problem, index_problems, package_problems
from .reference import ImageRef
from .requirements_file import read_requirements
from .resources import other_family
from .samples import sample_problems
from .smoke_spec import Model, ServedModel
from .spec import Spec
from .spec_misfit import explain
from .spec_platforms import one_platform, platforms
from .spec_words import Platform
from .variables import variable_problems
from .yaml_document import Document, KeyPath, excerpt, read_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def load(path: Path, platform: Platform | None = None) -> Spec:
    """Read and check the spec at ``path``; of one for several platforms, that for ``platform``.

    Raises SpecError with file, line, column, what was expected, and the likely meant name, and
    UsageError if the spec names several platforms and none is chosen.
    """
    return _named(read_document(path), platform)


def load_each(path: Path) -> dict[Platform | None, Spec]:
    """Read and check the spec at ``path`` for each of its platforms; None stands for the only one.

    Raises SpecError as :func:`load` does.
    """
    document = read_document(path)
    return {each: _named(document, each) for each in platforms(document)}


def platforms_at(path: Path) -> tuple[Platform | None, ...]:
    """Return the platforms of the spec at ``path``, whatever else it says; None is the only one."""
    return platforms(read_document(path))


def _named(document: Document, platform: Platform | None) -> Spec:
    spec, path = parse(document, platform), document.path
    if spec.name != path.stem:  # its lock, ledger and answers lie beside it under one name
        message = f"the name is {spec.name}, and the file is called {path.name}"
        raise document.error(("name",), message, hint=f"rename one: {spec.name}{path.suffix}")
    return spec


def parse(document: Document, platform: Platform | None = None) -> Spec:
    """Check a document that was read already, as :func:`load` does; raises SpecError."""
    _check_quoting(document)
    plain = document.value | _lines_of_files(document) | one_platform(document, platform)
    try:
        spec: Spec = convert(plain, Spec)
    except msgspec.ValidationError as error:
        raise explain(document, str(error)) from error
    found = [document.error(path, message, hint=hint) for path, message, hint in problems(spec)]
    if found:
        raise SpecError("\n".join(p.message for p in found), hint=found[0].hint)
    return spec


def _check_quoting(document: Document) -> None:
    """Refuse versions that YAML turned into numbers: ``3.10`` is the float 3.1."""
    versions: list[KeyPath] = [("python",)]
    versions += [path for path in document.nodes if path[:1] == ("packages",) and len(path) == 2]
    for path in versions:
        node = document.nodes.get(path)
        if node is not None and node.tag in {
            "tag:yaml.org,2002:float",
            "tag:yaml.org,2002:int",
        }:
            raise document.error(
                path,
                f"{path[-1]} is the number {excerpt(node.value)}, and YAML drops digits of "
                "numbers (3.10 becomes 3.1): expected a string",
                hint=f'quote it: "{excerpt(node.value)}"',
            )


def _lines_of_files(document: Document) -> dict[str, list[str]]:
    """Read the files that the spec names for lines of its own; the lock holds what they say."""
    named = {key: document.value.get(key) for key in ("overrides", "constraints")}
    found = {}
    for key, path in named.items():
        if isinstance(path, str):
            try:
                found[key] = read_requirements(document.path.parent / path)
            except SpecError as error:
                raise document.error((key,), error.message, hint=error.hint) from error
    return found


def problems(spec: Spec) -> Iterator[Problem]:
    """Yield what types cannot say: path, message, hint."""
    checks: tuple[Callable[[Spec], Iterator[Problem]], ...] = (
        _check_base,
        package_problems,
        index_problems,
        _check_smoke,
        _check_samples,
        _check_build,
        file_problems,
        user_problems,
        variable_problems,
    )
    for check in checks:
        yield from check(spec)


def _check_base(spec: Spec) -> Iterator[Problem]:
    if [spec.base.debian, spec.base.ubuntu, spec.base.image].count(None) != 2:
        hint = "base: {debian: trixie}"
        yield ("base",), "expected exactly one of debian, ubuntu and image", hint
    if spec.build.system.packages and spec.build.image is None:
        hint = "name the image to compile in, or add them to `system: packages:`"
        yield ("build", "system"), "build.system is laid on build.image, which is not there", hint
    if spec.base.image is not None and spec.system.site_packages:
        hint = "leave it out, or use base: {debian: …}"
        yield ("system", "site_packages"), "site_packages needs a Debian base", hint
    yield from _check_image(("base", "image"), spec.base.image)


def _check_image(at: KeyPath, image: str | None) -> Iterator[Problem]:
    try:
        if image is not None:
            ImageRef.parse(image)
    except UsageError as error:
        yield at, error.message, error.hint


def _check_smoke(spec: Spec) -> Iterator[Problem]:
    smoke = spec.smoke
    if smoke.model is not None and smoke.models:
        hint = "move it into the list"
        yield ("smoke", "model"), "models stands beside model, its short form for one", hint
        return
    if smoke.tokens and smoke.models:
        hint = "models: [{family: qwen2_5_omni, tokens: {image: 16384}}]"
        yield ("smoke", "tokens"), "each of several models has tokens of its own", hint
    elif smoke.tokens and smoke.model is None:
        hint = "add model: {family: qwen2_5_omni}, or leave the tokens out"
        yield ("smoke", "tokens"), "without a model there is nothing to count", hint
    if smoke.model is not None:
        yield from _check_model(("smoke", "model"), smoke.model, ("family", "path", "hub"))
    if smoke.start.arguments and not smoke.served:
        hint = "add model: {family: qwen2_5_omni}"
        yield ("smoke", "start", "serve"), "without a model there is nothing to serve", hint
    if smoke.start.arguments and not spec.entrypoint and spec.base.image is None:
        hint = "add entrypoint: [vllm, serve]"
        yield ("smoke", "start", "serve"), "without an entrypoint nothing serves", hint
    if smoke.gpus and smoke.gpu == "never":
        hint = "leave one of the two out"
        yield ("smoke", "gpus"), "gpu: never, and types of GPUs to smoke on", hint
    names: list[str] = []
    for number, model in enumerate(smoke.models):
        at = ("smoke", "models", number)
        yield from _check_model(at, model, ("family", "path", "config", "hub"))
        if model.name in names:
            hint = "list each model once"
            yield at, f"models has {model.name} twice", hint
        names.append(model.name)


def _check_model(at: KeyPath, model: Model | ServedModel, ways: Sequence[str]) -> Iterator[Problem]:
    """Yield what is wrong with one model: it is named in one way, and a family that is known."""
    if sum(getattr(model, name) is not None for name in ways) != 1:
        words = f"expected exactly one of {', '.join(ways[:-1])} and {ways[-1]}"
        yield at, words, f"{'- ' if len(at) > 2 else 'model: '}{{family: qwen2_5_omni}}"
    if model.family is not None and (hint := other_family(model.family)) is not None:
        yield (*at, "family"), f"no family is called {model.family!r}", hint
    if model.revision is not None and model.hub is None:
        yield (*at, "revision"), "a revision goes with hub", "leave it out"


def _check_samples(spec: Spec) -> Iterator[Problem]:
    if spec.smoke.samples and not spec.smoke.served:
        hint = "add model: {family: qwen2_5_omni}, or leave the samples out"
        yield ("smoke", "samples"), "without a model nothing counts them", hint
    for number, message, hint in sample_problems(spec):
        yield ("smoke", "samples", number), message, hint


def _check_build(spec: Spec) -> Iterator[Problem]:
    yield from _check_image(("build", "image"), spec.build.image)
    for name, secret in spec.build.secrets.items():
        if (secret.env is None) == (secret.file is None):
            hint = f"{name}: {{env: VARIABLE}}"
            yield ("build", "secrets", name), "expected exactly one of env and file", hint
