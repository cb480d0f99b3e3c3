"""Find out what a source will be once it is built: on this machine if that is enough.

It is enough if the source was shown not to look at the machine (see ``hook_watch.py``): then every
machine gives the same answer. Else the environment that its wheel is built in is asked. Answers are
remembered in the store: one commit with one way to build it is asked once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from envbuilder.model.errors import BuildError
from envbuilder.model.image import canonical_json

from .ask import ask
from .build_environment import BuildEnvironment
from .context import GitContext
from .project import has_script
from .question import Examined, Question, is_doubted
from .sandbox import Sandbox, host_sandbox
from .tools import Toolbox

_KIND = "source"
_SHOWN = 4  # of the things that a source looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What was said in one place, None for a failure, and why another place may say otherwise."""

    examined: Examined | None
    looked: tuple[str, ...] = ()


def examine(
    question: Question,
    context: GitContext,
    *,
    toolbox: Toolbox,
    environment: BuildEnvironment | None = None,
    fresh: bool = False,
) -> Examined:
    """Answer ``question``, from the store if it was asked before and not ``fresh``.

    Without an ``environment`` to ask in, this machine's answer counts whatever it depends on.
    Raises BuildError if the source's own code fails, ResolutionError if its requirements cannot be
    met or it is not for the target's Python, and what Mirror and the runtime raise.
    """
    here = _here(question, context, toolbox, environment, fresh=fresh)
    if environment is None or not here.looked:
        assert here.examined is not None  # noqa: S101 - else it was raised
        return here.examined
    return _there(question, context, toolbox, environment, here, fresh=fresh)


def _here(
    question: Question,
    context: GitContext,
    toolbox: Toolbox,
    environment: BuildEnvironment | None,
    *,
    fresh: bool,
) -> _Answer:
    """Ask on this machine, with the variables that the build environment has."""
    variables = () if environment is None else environment.variables()
    key = canonical_json([question.key, list(variables)]).decode()
    found = None if fresh else context.store.record(_KIND, key, _Answer)
    if found is None or (found.examined is None and environment is None):
        sandbox = host_sandbox(question.target.python, store=context.store)
        sandbox = replace(sandbox, settings={"Env": list(variables)})
        told = ask(question, sandbox, context, toolbox)
        looked = (*told.looked, *_other_python(question, sandbox))
        if isinstance(told.result, BuildError) and (environment is None or not looked):
            raise told.result
        examined = None if isinstance(told.result, BuildError) else told.result
        found = _Answer(examined=examined, looked=looked)
        context.store.put_record(_KIND, key, found)
    if is_doubted(context.store, question):
        return replace(found, looked=(*found.looked, "what nobody saw"))
    return found


def _there(
    question: Question,
    context: GitContext,
    toolbox: Toolbox,
    environment: BuildEnvironment,
    here: _Answer,
    *,
    fresh: bool,
) -> Examined:
    key = canonical_json([question.key, environment.identity()]).decode()
    found = None if fresh else context.store.record(_KIND, key, _Answer)
    if found is not None and found.examined is not None:
        return found.examined
    words = ", ".join(here.looked[:_SHOWN]) + (", …" if len(here.looked) > _SHOWN else "")
    title = f"the metadata of {question.checkout.tree.place} in {environment.title}"
    context.progress.note(f"asking for {title}: it may depend on where it is asked ({words})")
    with context.progress.step("build", title, unit="items"):
        told = ask(question, environment.sandbox(), context, toolbox)
    if isinstance(told.result, BuildError):
        error = told.result
        also = "" if here.examined is not None else ", as here"
        raise BuildError(
            f"asked for its metadata in {environment.title}{also}, {error.message}",
            hint=f"it looked for {words}: what it needs belongs into the image that it is built "
            f"in, {environment.key}; {error.hint}",
        ) from error
    context.store.put_record(_KIND, key, _Answer(examined=told.result))
    return told.result


def _other_python(question: Question, sandbox: Sandbox) -> tuple[str, ...]:
    """Name the Python here if it is not the spec's, and the source has a script to tell it by."""
    wanted, checkout = question.target.python, question.checkout
    if sandbox.target.python == wanted or not has_script(
        checkout.tree, subdirectory=checkout.pin.subdirectory
    ):
        return ()
    return (f"Python {sandbox.target.python} instead of {wanted}",)
