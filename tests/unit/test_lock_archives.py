"""What a lock, a plan, a Dockerfile and evidence say of sdists and folders."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.pylock import Pylock

from envbuilder.engines.render import render
from envbuilder.engines.wheel_input import wheel_input
from envbuilder.evidence.sbom import sbom
from envbuilder.evidence.statements import provenance
from envbuilder.evidence.verify.packages import locked_python
from envbuilder.model.lock import ArchiveSource, FolderFile, Lock
from envbuilder.model.lock_diff import artifacts, compare, package_versions
from envbuilder.model.plan import plan, source_for
from envbuilder.model.pylock import dump_lock, needed_blobs, parse_lock
from envbuilder.model.reference import Digest
from envbuilder.resolve.git.recipe import Recipe
from envbuilder.workflow.smoke import expected
from tests.unit import locks
from tests.unit.locks import source, wheel

IMAGE, MOMENT = Digest.of(b"image"), "2026-01-02T03:04:05Z"


def archive(name: str, content: bytes = b"x", **more) -> ArchiveSource:
    filename = more.pop("filename", f"{name}-1.0.tar.gz")
    return ArchiveSource(
        name=name, version="1.0", filename=filename, size=9, sha256=Digest.of(content),
        time=1_600_000_000, **more,
    )  # fmt: skip


def lock(**more) -> Lock:
    """Give a lock with one of each: an index's sdist, one by address, one by path, a folder."""
    pins = {
        "far": {"url": "https://files.example.com/far-1.0.tar.gz", "build": {"env": {"A": "b"}}},
        "near": {"path": "../near-1.0.zip"},
        "mine[x]": {"path": "../mine"},
    }
    files = (FolderFile(path="pyproject.toml", state=Digest.of(b"1")),)
    found = locks.lock({"six": "1.0"}, pins=pins, build={"sdists": ["needy"]}, name="x")
    return replace(
        found,
        archives=(
            archive("far", requires=(wheel("setuptools", "80.0"),)),
            archive("mine", filename="mine.tar", files=files),
            archive("near", filename="near-1.0.zip"),
            archive("needy", requires_dist=("six>=1",), wheel=wheel("needy", "1.0")),
        ),
        **more,
    )


def test_a_lock_reads_back_and_says_as_pep_751_has_it_what_lies_where():
    text = dump_lock(lock())
    assert parse_lock(text) == lock()
    found = {each.name: each for each in Pylock.from_dict(tomllib.loads(text)).packages}
    assert found["needy"].sdist.path == "sdists/needy-1.0.tar.gz"
    assert found["far"].archive.path == "sdists/far-1.0.tar.gz"
    assert found["near"].archive.path == "../near-1.0.zip"
    assert found["near"].archive.hashes == {"sha256": Digest.of(b"x").hex}
    assert found["mine"].directory.path == "../mine"
    assert found["mine"].version is None
    assert str(found["far"].version) == "1.0"
    assert "files.example.com" not in text.replace(
        "https://files.example.com/far-1.0.tar.gz", "", 1
    )


def test_a_file_name_with_a_folder_in_it_is_refused():
    with pytest.raises(ValueError, match="not the name of a file"):
        archive("x", filename="../x.tar.gz")


def test_what_is_needed_offline():
    needed = needed_blobs(lock())
    assert {Digest.of(b"x"), wheel("setuptools", "80.0").sha256} <= needed
    assert wheel("needy", "1.0").sha256 in needed


def test_built_is_sorted_and_is_put_back_where_it_belongs():
    both = lock(sources=(source("kin", "a" * 40),))
    assert [each.name for each in both.built] == ["far", "kin", "mine", "near", "needy"]
    assert both.with_built(reversed(both.built)) == both
    bare = both.with_built(())
    assert (bare.sources, bare.archives) == ((), ())


def test_a_built_archive_is_planned_alone_and_has_no_origin():
    made = lock()
    built = made.archives[3].wheel
    assert built is not None
    assert source_for(made, built) == made.archives[3]
    assert (built,) in [layer.wheels for layer in plan(made).layers]
    told = wheel_input(made, built)
    assert (told.requested, told.direct_url) == (False, None)


def test_recipes_differ_by_archive_and_environment():
    one = lock()
    other = replace(one, archives=(replace(one.archives[0], sha256=Digest.of(b"y")),))
    keys = {Recipe.of(each, each.archives[0]).key for each in (one, other)}
    keys.add(Recipe.of(one, one.archives[2]).key)  # the same file, without the variable
    assert len(keys) == 3


def test_what_changed_between_locks():
    old = lock()
    built = [replace(each, wheel=wheel(each.name, "1.0")) for each in old.archives]
    assert compare(old, old.with_built(built)) == ()
    changed = [replace(each, sha256=Digest.of(b"y")) for each in old.archives[:2]]
    changes = compare(old, old.with_built([*changed, *old.archives[2:]]))
    assert [each.name for each in changes] == ["far", "mine"]
    assert package_versions(old)["mine"] == f"1.0 ({Digest.of(b'x').hex[:12]})"
    assert package_versions(old)["far"] == "1.0"
    assert set(artifacts(old)) == {"far", "mine", "near", "needy", "six"}
    (change,) = compare(
        old, old.with_built([replace(old.archives[0], requires=()), *old.built[1:]])
    )
    assert "built with setuptools 80.0" in str(change.old)


def test_the_smoke_and_verify_expect_them():
    named = {each.name: each.requested for each in expected(lock())}
    assert named == {"far": True, "mine": True, "near": True, "needy": False, "six": False}
    assert {each.name for each in locked_python(lock())} == set(named)


def test_evidence_names_what_was_built_from_what():
    found = provenance(lock(), IMAGE, engine="embedded", finished=MOMENT).predicate
    inputs = found["buildDefinition"]["resolvedDependencies"]
    far = next(each for each in inputs if each["name"] == "far-1.0.tar.gz")
    assert far["digest"] == {"sha256": Digest.of(b"x").hex}
    assert {"builds": "far"} in [each.get("annotations") for each in inputs]
    bom = sbom(lock(), IMAGE, finished=MOMENT).predicate
    needy = next(each for each in bom["components"] if each["name"] == "needy")
    (reference,) = needy["externalReferences"]
    assert (reference["type"], reference["url"]) == ("source-distribution", "needy-1.0.tar.gz")
    assert needy["hashes"][0]["content"] == wheel("needy", "1.0").sha256.hex


def test_a_dockerfile_takes_the_files_from_its_folder_and_fetches_nothing_for_them():
    files = render(lock())
    dockerfile = files["Dockerfile"]
    for name in ("far", "mine", "near", "needy"):
        assert f"FROM scratch AS files-{name}\nADD sources/{name}.tar /\n" in dockerfile
    assert "fetch-source.sh" not in dockerfile
    assert "direct_url.json" not in dockerfile
    assert "REQUESTED=mine" in dockerfile
    assert "REQUESTED=needy" not in dockerfile
    assert "A=b" in dockerfile
    assert "!sources\n" in files[".dockerignore"]
    assert "setuptools==80.0" in files["requirements/source-far.txt"]
    assert "!sources" not in render(locks.lock({"six": "1.0"}))[".dockerignore"]


def test_scripts_know_which_built_wheels_are_requested():
    script = (Path(__file__).parents[2] / "templates/context/install.sh").read_text("utf-8")
    assert "$REQUESTED==0  # requested" in script  # as settle.py reads it
