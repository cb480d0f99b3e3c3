"""Wheels of git sources: which are kept, which are taken, and what of them is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest

from envbuilder.model.errors import BuildError
from envbuilder.model.lock import DebianBase, GitSource, Lock
from envbuilder.model.package_spec import Package
from envbuilder.model.progress import Silent
from envbuilder.model.spec import Base, Spec
from envbuilder.resolve.git.context import GitContext
from envbuilder.resolve.git.transfer import export_wheels, import_wheels
from envbuilder.resolve.git.wheel_build import Job, Make, build_sources
from envbuilder.storage.store import Store
from tests.contexts import git_context
from tests.servers.git_repositories import Origin

pytestmark = pytest.mark.integration

NAME = "flaky-1-py3-none-any.whl"
METADATA = "Metadata-Version: 2.1\nName: flaky\nVersion: 1\n"


class Noting(Silent):
    """A Progress that keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def progress() -> Noting:
    return Noting()


@pytest.fixture
def context(tmp_path, progress) -> GitContext:
    def never():
        raise AssertionError("nothing here is contained")

    return git_context(Store(tmp_path / "store"), progress, runtime=never)


@pytest.fixture
def lock(tmp_path) -> Lock:
    origin = Origin.create(tmp_path / "proj")
    commit = origin.commit({"pyproject.toml": ""})
    spec = Spec(
        version=1, name="env", python="3.11", base=Base(debian="trixie"),
        packages={"flaky": Package(git=str(origin.path), commit=commit)},
    )  # fmt: skip
    source = GitSource(
        name="flaky", version="1", repository=str(origin.path), requested=commit, commit=commit,
        tree=origin.git("rev-parse", "HEAD^{tree}"),
    )  # fmt: skip
    return Lock(
        spec=spec, base=DebianBase(suite="trixie", packages=()), wheels=(), sources=(source,)
    )


@pytest.fixture
def make() -> Make:
    """Give a build whose every wheel differs."""
    numbers: Iterator[int] = count()

    def build(job: Job) -> str:
        with zipfile.ZipFile(job.output / NAME, "w") as out:
            out.writestr("flaky.py", f"number = {next(numbers)}")
            out.writestr("flaky-1.dist-info/METADATA", METADATA)
            out.writestr("flaky-1.dist-info/RECORD", "")
        return NAME

    return build


def without_blob(built: Lock, context: GitContext) -> None:
    wheel = built.sources[0].wheel
    assert wheel is not None
    context.store.discard(wheel.sha256)


def test_another_wheel_is_taken_with_a_note_where_the_lock_holds_none(
    lock, make, context, progress
):
    first = build_sources(lock, make=make, context=context)
    without_blob(first, context)
    second = build_sources(lock, make=make, context=context)
    assert second != first
    [note] = progress.notes
    assert "gave another wheel" in note
    assert "flaky.py: other content" in note
    assert build_sources(lock, make=make, context=context) == second


def test_the_locks_own_wheel_is_not_replaced(lock, make, context, progress):
    built = build_sources(lock, make=make, context=context)
    without_blob(built, context)
    for _ in range(2):  # the first refusal is not forgotten
        with pytest.raises(BuildError, match=r"flaky\.py: other content") as error:
            build_sources(built, make=make, context=context)
    assert "envbuilder lock env --upgrade-package flaky" in error.value.hint
    assert progress.notes == []
    released = replace(built, sources=(replace(built.sources[0], wheel=None),))
    assert build_sources(released, make=make, context=context) != built


@pytest.mark.parametrize("digest", ["sha256:abc", "md5:abc"])
def test_an_export_with_a_digest_that_is_none(lock, make, context, tmp_path, digest):
    built = build_sources(lock, make=make, context=context)
    export_wheels(built, tmp_path / "out", store=context.store)
    recipe = tmp_path / "out" / f"{NAME}.recipe.json"
    facts = json.loads(recipe.read_text())
    facts["wheel"]["sha256"] = digest
    recipe.write_text(json.dumps(facts))
    with pytest.raises(BuildError, match=r"recipe\.json is not a recipe file"):
        import_wheels(tmp_path / "out", store=Store(tmp_path / "other"))
