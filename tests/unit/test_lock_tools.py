"""What a lock, a recipe, a Dockerfile and evidence say of tools: sdists built for a build."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envbuilder.engines.labels import label, labelled
from envbuilder.engines.render import render
from envbuilder.evidence.statements import provenance
from envbuilder.model.lock import ArchiveSource, Lock, build_environment, in_build_order
from envbuilder.model.lock_diff import compare
from envbuilder.model.pylock import dump_lock, needed_blobs, parse_lock
from envbuilder.model.reference import Digest
from envbuilder.resolve.git.recipe import Recipe
from envbuilder.resolve.release import releasable
from tests.unit import locks
from tests.unit.locks import source, wheel

DEEP = ArchiveSource(
    name="deep", version="1.0", filename="deep-1.0.tar.gz", size=9, sha256=Digest.of(b"deep"),
    requires=(wheel("setuptools", "80.0"),),
)  # fmt: skip
PLUG = ArchiveSource(
    name="plug", version="2.0", filename="plug-2.0.tar.gz", size=9, sha256=Digest.of(b"plug"),
    tools=(DEEP,),
)  # fmt: skip
NEEDY = ArchiveSource(
    name="needy", version="1.0", filename="needy-1.0.tar.gz", size=9, sha256=Digest.of(b"needy"),
    requires=(wheel("wheel", "0.45"),), tools=(PLUG,),
)  # fmt: skip


def lock(*archives: ArchiveSource, **more) -> Lock:
    names = ["needy", "plug", "deep"]
    made = locks.lock({"six": "1.0"}, build={"sdists": names}, name="x")
    return replace(made, archives=archives or (NEEDY,), **more)


def test_a_lock_with_tools_reads_back_and_pep_751_hears_nothing_of_them():
    made = lock(sources=(replace(source("kin", "a" * 40), tools=(PLUG,)),))
    text = dump_lock(made)
    assert parse_lock(text) == made
    assert "plug" not in text.partition("[tool.envbuilder]")[0]
    assert text.count("plug-2.0.tar.gz") == 2


def test_tools_come_before_what_they_build_and_once():
    made = in_build_order([NEEDY, replace(NEEDY, name="other"), DEEP])
    assert [each.name for each in made] == ["deep", "plug", "needy", "other"]


def test_what_is_built_with_tools_has_their_wheels_beside_its_own():
    made = replace(NEEDY, tools=(replace(PLUG, wheel=wheel("plug", "2.0")),))
    assert build_environment(made) == (wheel("plug", "2.0"), wheel("wheel", "0.45"))
    assert build_environment(NEEDY) == NEEDY.requires


def test_all_that_builds_tools_is_needed_offline():
    needed = needed_blobs(lock())
    assert {PLUG.sha256, DEEP.sha256, wheel("setuptools", "80.0").sha256} <= needed


def test_a_recipe_depends_on_how_its_tools_are_made_and_on_nothing_if_there_are_none():
    bare = replace(NEEDY, tools=())
    other = replace(NEEDY, tools=(replace(PLUG, tools=()),))
    keys = {Recipe.of(lock(each), each).key for each in (NEEDY, bare, other)}
    assert len(keys) == 3
    assert "tools" not in Recipe.of(lock(bare), bare).key
    made = replace(NEEDY, tools=(replace(PLUG, wheel=wheel("plug", "2.0")),))
    assert Recipe.of(lock(), made).key == Recipe.of(lock(), NEEDY).key


def test_another_tool_is_another_package_and_is_named():
    newer = replace(NEEDY, tools=(replace(PLUG, version="3.0"),))
    (change,) = compare(lock(), lock(newer))
    assert (change.name, change.old, change.new) == (
        "needy", "1.0 (built with plug 2.0)", "1.0 (built with plug 3.0)",
    )  # fmt: skip


def test_tools_can_be_let_go_by_name():
    assert releasable(["Plug", "deep"], lock().spec, [lock()]) == {"plug", "deep"}


def test_tools_have_labels_of_their_own_unless_they_are_packages_as_well():
    names = [*labelled(lock())]
    assert [name.partition(".")[0] for name in names] == ["deep", "plug", "needy"]
    assert all("." in name for name in names[:2])
    both = lock(DEEP, NEEDY)
    assert [name.partition(".")[0] for name in labelled(both)] == ["deep", "plug", "needy"]
    assert label(both, DEEP) == "deep"
    made = replace(DEEP, wheel=wheel("deep", "1.0"))
    assert label(lock(), made) == label(lock(), DEEP)


def test_a_dockerfile_builds_tools_first_and_installs_none_of_them():
    files = render(lock())
    dockerfile = files["Dockerfile"]
    deep, plug, needy = labelled(lock())
    at = [dockerfile.index(f"FROM scratch AS wheel-{name}\n") for name in (deep, plug, needy)]
    assert at == sorted(at)
    mount = "--mount=type=bind,from=wheel-{0},target=/run/tools/{0} "
    assert dockerfile.count(mount.format(deep)) == 1
    assert dockerfile.count(mount.format(plug)) == 1
    assert f"ADD sources/{plug}.tar /" in dockerfile
    assert "package-needy" in dockerfile
    assert f"package-{plug}" not in dockerfile
    assert f"COPY --from=wheel-{plug}" not in dockerfile
    assert "setuptools==80.0" in files[f"requirements/source-{deep}.txt"]
    assert "!sources\n" in files[".dockerignore"]
    assert "/run/tools" not in render(lock(replace(NEEDY, tools=())))["Dockerfile"]


@pytest.mark.parametrize("name", ["plug-2.0.tar.gz", "deep-1.0.tar.gz", "setuptools-80.0"])
def test_provenance_names_tools_and_what_they_are_built_with(name):
    found = provenance(lock(), Digest.of(b"x"), engine="embedded", finished="2026-01-02T03:04:05Z")
    inputs = found.predicate["buildDefinition"]["resolvedDependencies"]
    users = {"plug-2.0.tar.gz": "needy", "deep-1.0.tar.gz": "plug", "setuptools-80.0": "deep"}
    (entry,) = [each for each in inputs if each["name"].startswith(name)]
    assert entry["annotations"] == {"builds": users[name]}
