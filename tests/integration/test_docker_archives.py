"""Sdists and folders by both engines: one tree, and the rendered folder alone gives it, too."""

import pytest

from envbuilder.engines.buildkit import BuildxRun, build, find_builder, gather
from envbuilder.engines.docker import build_with_docker, made_here
from envbuilder.engines.given_archives import copy_archives
from envbuilder.engines.render import render, write
from envbuilder.engines.source_wheels import check_reproducible, with_wheels
from envbuilder.workflow.lock import lock_environment
from envbuilder.workflow.make import make_image
from tests.contexts import context
from tests.integration.test_docker_same_tree import tree
from tests.sdists import project

pytestmark = [pytest.mark.integration, pytest.mark.docker]

SPEC = """\
version: 1
name: built
python: "3.13"
base: {debian: trixie}
system: {packages: [python3]}
packages:
  timeout-decorator: "==0.5.0"
  mine: {path: mine}
build: {sdists: [timeout-decorator]}
index: {exclude_newer: "2025-06-29T00:00:00Z"}
"""


def test_both_engines_give_one_tree_of_what_they_built(trixie, tmp_path):
    store = trixie(tmp_path / "store")
    (tmp_path / "mine").mkdir()
    for name, data in project("mine", requires=("iniconfig",)).items():
        (tmp_path / "mine" / name).write_bytes(data)
    path = tmp_path / "built.yaml"
    path.write_text(SPEC)
    lock = lock_environment(context(store), path)
    made = with_wheels(context(store), lock)
    embedded = make_image(context(store), made)
    found = tree(store, embedded)
    site = "opt/venv/lib/python3.13/site-packages"
    assert f"{site}/mine.py" in found
    assert f"{site}/timeout_decorator-0.5.0.dist-info/REQUESTED" in found
    assert not [name for name in found if name.endswith("direct_url.json")]

    # BuildKit builds the wheels as well, and from the rendered folder alone: the same bytes.
    check_reproducible(context(store), made, engine="docker")
    docker = build_with_docker(context(store), made)
    assert tree(store, docker) == found
    wheels = wheels_of_folder(store, made, tmp_path / "alone")
    assert {each.wheel.filename for each in made.archives} == {path.name for path in wheels}


def wheels_of_folder(store, lock, place):
    """Build the target ``wheels`` of the rendered folder; only the base is made here."""
    write(render(lock), place / "context")
    copy_archives(lock, place / "context", store=store)
    (place / "work").mkdir()
    wanted = BuildxRun(
        folder=place / "context",
        target="wheels",
        platform="linux/amd64",
        contexts=made_here(context(store), lock.with_built(()), place / "work"),
    )
    out, builder = place / "wheels", find_builder(None)
    build(context(store), wanted, out, builder=builder, secrets=gather(lock.spec))
    return [*out.rglob("*.whl")]
