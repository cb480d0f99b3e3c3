"""Lock -> image by BuildKit: the second engine, over the same plan, for what needs ``RUN``."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Timer

from envbuilder.layers.wheel_reconstruction import has_wheel, wheel_file
from envbuilder.model.account import account_of
from envbuilder.model.errors import BuildError, NetworkError
from envbuilder.model.image import Image, Layer, compose
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import DebianBase, ImageBase, Lock, Wheel
from envbuilder.model.plan import PREFIX
from envbuilder.model.spec import Steps
from envbuilder.model.system_plan import system_plan
from envbuilder.registry.layout import export, load
from envbuilder.resolve.context import Context
from envbuilder.resolve.git.build_log import first_errors, is_starved
from envbuilder.resolve.git.hooks import out_of_time, starved, with_errors
from envbuilder.resolve.git.no_network import explain
from envbuilder.resolve.git.wheel_build import Job
from envbuilder.resolve.python.uv import find_uv
from envbuilder.storage.store import Store

from .buildkit import BuildxRun, build, find_builder, gather
from .foundation import foundation_layers
from .given_wheels import copy_given
from .labels import label
from .own_files import copy_files, inputs, may_replace_modules, title
from .render import (
    files_stage,
    further_stage,
    index_layers,
    render,
    system_packages,
    wheel_stage,
    write,
)
from .standalone import copy_archive
from .standalone import title as python_title

_UV = "opt/uv/bin"
"""Where the rendered Dockerfile takes uv from, in its stage ``tools``."""
_NO_STEPS = Steps()


def build_with_docker(context: Context, lock: Lock) -> Image:
    """Build the image of ``lock`` with BuildKit; its blobs are in the store afterwards.

    A Debian base is made here, as for the embedded engine, and handed to BuildKit, so that both
    build on the same bytes; wheels from git, too, if the store has them. Raises MissingToolError
    if no builder is fit, NetworkError for what Docker would fetch offline, and what
    ``buildkit.build`` raises.
    """
    image = build_target(context, lock, "runtime")
    return replace(image, layers=named_layers(lock, image))


def build_target(context: Context, lock: Lock, target: str) -> Image:
    """Build one target that is an image, ``system`` or ``runtime``; its blobs are in the store.

    Raises what ``build_with_docker`` does.
    """
    if context.offline:
        _refuse_to_fetch(lock.base, lock.wheels, lock.spec.steps)
    chosen = find_builder(context.builder)
    secrets = gather(lock.spec)
    with context.store.scratch() as work:
        folder = work / "context"
        write(render(lock), folder)
        copy_given(lock, folder, store=context.store)
        if target == "runtime":  # others do not look at them
            copy_files(lock, folder, store=context.store)
        copy_archive(lock, folder, store=context.store)
        wanted = BuildxRun(
            folder=folder,
            target=target,
            platform=lock.spec.platform,
            contexts=made_here(context, lock, work),
        )
        made = work / "image"
        build(context, wanted, made, builder=chosen, secrets=secrets)
        return _adopt(lock, made, context.store)


def build_wheel(context: Context, job: Job) -> str:
    """Build a source's wheel by BuildKit into ``job.output``; return its file name.

    BuildKit gets the files that were checked here, so it needs neither git nor the repository.
    """
    if context.offline:
        _refuse_to_fetch(job.lock.builder or job.lock.base, job.source.requires)
    chosen = find_builder(context.builder)
    secrets = gather(job.lock.spec)
    with context.store.scratch() as work:
        folder = work / "context"
        write(render(job.lock), folder)
        given = _base(context, job.lock, work)
        wanted = BuildxRun(
            folder=folder,
            target=wheel_stage(label(job.lock, job.source)),
            platform=job.lock.spec.platform,
            contexts=given | _given_files(job) | _given_tools(context, job, work),
            fresh=job.fresh,
            log=job.log,
        )
        within, limit = context.part(), job.lock.spec.build.timeout
        with _alarm(limit, within.stop) as rang:
            try:
                build(within, wanted, job.output, builder=chosen, secrets=secrets)
            except BuildError as error:
                why = f"the build {out_of_time(limit)}" if rang.is_set() else error.message
                raise _explained(why, error, job.log) from error
    made = [path.name for path in job.output.iterdir()]
    if len(made) != 1:
        raise BuildError(f"its build made {len(made)} files instead of one wheel: {made}")
    return made[0]


@contextmanager
def _alarm(seconds: float, stop: Event) -> Iterator[Event]:
    """Set ``stop``, and what this gives, after ``seconds``, unless all is over before."""
    rang = Event()

    def ring() -> None:
        rang.set()
        stop.set()

    timer = Timer(seconds, ring)
    timer.daemon = True
    timer.start()
    try:
        yield rang
    finally:
        timer.cancel()


def _explained(why: str, error: BuildError, log: Path) -> BuildError:
    """Tell why a build failed: its own errors first. A full disk stays one."""
    hint, errors = error.hint or f"the whole log: {log}", first_errors(log)
    said = log.read_text("utf-8", "replace") if log.is_file() else error.message
    if is_starved(errors):
        hint = starved(hint)
    if cause := explain(said):
        why, hint = f"{cause[0]}; {why}", f"{cause[1]}; {hint}"
    return type(error)(with_errors(why, errors), hint=hint)


def _given_files(job: Job) -> dict[str, str]:
    name = label(job.lock, job.source)
    further = {further_stage(name): str(job.sources)} if job.source.sources else {}
    return {files_stage(name): str(job.files)} | further


def _given_tools(context: Context, job: Job, work: Path) -> dict[str, str]:
    """Hand over the wheels of what the source is built with and was built before it."""
    given = {}
    for tool in job.source.tools:
        assert tool.wheel is not None  # noqa: S101 - as a Job says
        name = label(job.lock, tool)
        given[wheel_stage(name)] = _copied(tool.wheel, work / "tools" / name, context.store)
    return given


def _refuse_to_fetch(
    image: ImageBase | DebianBase, wheels: Collection[Wheel], steps: Steps = _NO_STEPS
) -> None:
    """Raise NetworkError for what BuildKit, which does not see the store, has to fetch."""
    needed = [f"the image {image.reference}"] if isinstance(image, ImageBase) else []
    needed += ["wheels"] if wheels else []
    needed += ["what the spec's steps ask for"] if steps != _NO_STEPS else []
    if needed:
        raise NetworkError(
            f"--offline, and Docker would fetch {', '.join(needed)}",
            hint="--engine embedded builds from the store",
        )


def made_here(context: Context, lock: Lock, work: Path) -> dict[str, str]:
    """Hand over what BuildKit needs no server for: wheels from git, a Debian base, and uv."""
    return _wheels(lock, work, context.store) | _base(context, lock, work)


def _wheels(lock: Lock, work: Path, store: Store) -> dict[str, str]:
    given = {}
    for source in lock.built:
        if source.wheel is not None and has_wheel(store, source.wheel.sha256):
            folder = work / "wheels" / source.name
            given[wheel_stage(source.name)] = _copied(source.wheel, folder, store)
    return given


def _copied(wheel: Wheel, folder: Path, store: Store) -> str:
    """Make ``folder`` with the one ``wheel`` in it; return its path."""
    folder.mkdir(parents=True)
    with wheel_file(store, wheel.sha256) as path:
        shutil.copyfile(path, folder / wheel.filename)
    return str(folder)


def _base(context: Context, lock: Lock, work: Path) -> dict[str, str]:
    if isinstance(lock.base, ImageBase):
        return {}
    foundation = foundation_layers(context, lock)
    base = compose(foundation.layers, platform=lock.spec.platform)
    place = f"oci:{work / 'base'}"
    layout = export(base, context.store, place, name="base", progress=context.progress)
    tools = work / "tools"
    (tools / _UV).mkdir(parents=True)
    shutil.copy2(find_uv(), tools / _UV / "uv")
    return {
        "base": f"oci-layout://{layout}@{base.digest}",
        "tools": str(tools),
        "bootstrap": str(tools),  # needless then, but BuildKit would still ask for its image
    }


def _adopt(lock: Lock, layout: Path, store: Store) -> Image:
    """Take the image that BuildKit wrote into the store."""
    image, blobs = load(layout, lock.spec.platform)
    for layer in image.layers:
        store.adopt(blobs / layer.digest.hex, layer.digest)
    store.add(image.config)
    store.add(image.manifest)
    return image


def named_layers(lock: Lock, image: Image) -> tuple[Layer, ...]:
    """Call the layers of an image that the rendered Dockerfile gave what they are."""
    named = zip(image.layers, _named(lock, len(image.layers)), strict=True)
    return tuple(
        replace(layer, kind=kind, title=title, inputs=inputs)
        for layer, (kind, title, inputs) in named
    )


_Name = tuple[LayerKind, str, tuple[str, ...]]


def _named(lock: Lock, count: int) -> list[_Name]:
    """Name the layers in the order of the Dockerfile: kinds, titles, and hashes of what went in."""
    steps = lock.spec.steps
    names = _base_names(lock.base)
    if packages := system_packages(lock):
        names.append((LayerKind.SYSTEM, "system packages", packages))
    names += _steps("before", len(steps.before_python))
    if account := account_of(lock.spec):
        names.append((LayerKind.ACCOUNT, f"user {account.name}", (account.passwd,)))
    names += [
        (LayerKind.PACKAGES, layer.title, tuple(str(wheel.sha256) for wheel in layer.wheels))
        for layer in index_layers(lock)
    ]
    names += [
        (LayerKind.PACKAGES, f"{source.name} {source.version}", (source.identity,))
        for source in lock.built
    ]
    compiled = [(LayerKind.BYTECODE, f"bytecode of {PREFIX}", ())] if lock.spec.bytecode else []
    names += [] if steps.after_python else compiled
    names += [
        (LayerKind.FILES, title(entry), inputs(tree))
        for entry, tree in zip(lock.spec.files, lock.files, strict=True)
    ]
    names += [(LayerKind.FILES, "replaced modules", ())] if may_replace_modules(lock) else []
    names += [(LayerKind.ENVIRONMENT, "environment", ()), (LayerKind.LOCK, "lock", ())]
    names += _steps("after", len(steps.after_python))
    names += compiled if steps.after_python else []
    names += [(LayerKind.SETTINGS, "settings", ())] * count  # WORKDIR makes a layer of its own
    return names[:count]


def _base_names(base: ImageBase | DebianBase) -> list[_Name]:
    if isinstance(base, ImageBase):
        return [(LayerKind.BASE, "base", ())] * len(base.layers)
    return [
        (LayerKind.SYSTEM, group.title, tuple(str(deb.sha256) for deb in group.packages))
        for group in system_plan(base)
    ] + _standalone_names(base)


def _standalone_names(base: DebianBase) -> list[_Name]:
    if base.standalone is None:
        return []
    digest = str(base.standalone.sha256)
    return [(LayerKind.PYTHON, python_title(base.standalone), (digest,))]


def _steps(when: str, count: int) -> list[_Name]:
    return [(LayerKind.STEP, f"step {each} {when} Python", ()) for each in range(1, count + 1)]
