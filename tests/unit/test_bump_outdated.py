"""What is newer: releases by age and yanking, commits, tags that moved, .debs."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from envbuilder.cli.outdated import _print, shortened
from envbuilder.model.errors import ResolutionError
from envbuilder.model.image import Layer
from envbuilder.model.lock import ArchiveSource, ImageBase, Lock
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.resolve.git.mirror import Refs
from envbuilder.resolve.python.releases import Release
from envbuilder.workflow.bump.outdated import Newer, What, outdated
from envbuilder.workflow.bump.stages import Stages
from tests.unit.locks import deb, lock, source
from tests.unit.oracle import World

OFFERED = {
    "app": (
        Release(version="1.0", uploaded="2025-01-01T00:00:00Z"),
        Release(version="1.9", uploaded="2025-02-01T00:00:00Z", size=10),
        Release(version="1.10", uploaded="2025-03-01T00:00:00Z", size=11),
        Release(version="1.11", uploaded="2025-03-02T00:00:00Z", yanked=True),
        Release(version="2.0rc1", uploaded="2025-03-03T00:00:00Z"),
    ),
    "gone": (Release(version="1.0", yanked=True), Release(version="0.9")),
    "newest": (Release(version="1.0"),),
    "undated": (Release(version="1.0"), Release(version="2.0")),
}
MOMENTS = {"b": "2025-01-01T00:00:00+00:00", "c": "2025-06-01T00:00:00+00:00"}


def stages(refs: Refs | None = None) -> Stages:
    return replace(
        World({}).stages(),
        releases=lambda name, _: OFFERED[name],
        refs=lambda _: refs or Refs(heads={}, tags={}),
        commits=lambda _, new: (new.commit,),
        moment=lambda source: MOMENTS.get(source.commit[0], ""),
    )


def look(locked: Lock, stages: Stages, youngest: str | None = None) -> list[Newer]:
    until = None if youngest is None else datetime.fromisoformat(youngest).replace(tzinfo=UTC)
    return list(outdated(locked, stages=stages, progress=Silent(), youngest=until))


def test_the_newest_release_with_date_and_size() -> None:
    (newer,) = look(lock({"app": "1.0", "newest": "1.0"}, pins={"app": "*"}), stages())
    assert newer == Newer(
        what=What.RELEASE,
        name="app",
        current="1.0",
        newest="1.10",
        date="2025-03-01T00:00:00Z",
        size=11,
        named=True,
        pin="app==1.10",
    )


def test_sdists_of_an_index_are_looked_at_and_those_of_an_address_are_not() -> None:
    found = lock({}, pins={"app": "*", "far": {"url": "https://x.example/far-1.0.tar.gz"}})
    sdists = [
        ArchiveSource(
            name=name, version="1.0", filename=f"{name}-1.0.tar.gz", size=1, sha256=Digest.of(b"")
        )
        for name in ("app", "far")
    ]
    (newer,) = look(replace(found, archives=tuple(sdists)), stages())
    assert (newer.name, newer.current, newer.newest) == ("app", "1.0", "1.10")


def test_a_minimum_age() -> None:
    found = look(lock({"app": "1.0", "undated": "1.0"}), stages(), "2025-02-15")
    assert [(each.name, each.newest) for each in found] == [("app", "1.9")]


def test_a_preview_counts_for_who_uses_one() -> None:
    (newer,) = look(lock({"app": "2.0b1"}), stages())
    assert newer.newest == "2.0rc1"


def test_a_yanked_release_is_told_even_where_nothing_is_newer() -> None:
    (newer,) = look(lock({"gone": "1.0"}), stages())
    assert (newer.what, newer.newest) == (What.YANKED, "0.9")


def sourced(**pin: str) -> Lock:
    plain = {"vllm": {"git": "https://example.org/vllm.git", **pin}}
    return lock({}, pins=plain, sources=(source("vllm", "a" * 40),))


def test_newer_commits_on_a_branch() -> None:
    refs = Refs(heads={"main": "b" * 40}, tags={})
    (newer,) = look(sourced(branch="main"), stages(refs))
    assert (newer.what, newer.newest) == (What.COMMIT, "b" * 40)
    assert newer.pin == f"vllm@{'b' * 40}"
    assert look(sourced(branch="main"), stages(Refs(heads={"main": "a" * 40}, tags={}))) == []


@pytest.mark.parametrize("pin", [{"branch": "main"}, {"tag": "v1.0"}])
def test_a_branch_or_a_tag_that_is_gone_is_told_beside_the_rest(pin: dict[str, str]) -> None:
    (newer,) = look(sourced(**pin), stages(Refs(heads={"other": "b" * 40}, tags={})))
    assert (newer.what, newer.current, newer.newest) == (What.GONE, *pin.values(), "")


def test_a_repository_that_is_gone_is_told_beside_the_rest() -> None:
    def refuse(_: object) -> Refs:
        raise ResolutionError("there is no git repository")

    locked = replace(sourced(branch="main"), wheels=lock({"app": "1.0"}).wheels)
    release, gone = look(locked, replace(stages(), refs=refuse))
    assert (release.what, gone.what) == (What.RELEASE, What.GONE)
    assert gone.current == "https://example.org/vllm.git"


def test_a_branch_that_was_rewritten() -> None:
    refs = Refs(heads={"main": "c" * 40}, tags={})
    rewritten = replace(stages(refs), commits=lambda *_: ())
    (newer,) = look(sourced(branch="main"), rewritten)
    assert (newer.what, newer.current, newer.newest) == (What.REWRITTEN, "a" * 40, "c" * 40)
    assert newer.date == MOMENTS["c"]


def test_newer_tags_and_moved_ones() -> None:
    tags = {"v0.9": "a" * 40, "v0.10": "b" * 40, "v0.11rc1": "c" * 40, "nightly": "d" * 40}
    (newer,) = look(sourced(tag="v0.9"), stages(Refs(heads={}, tags=tags)))
    assert (newer.what, newer.newest) == (What.TAG, "v0.10")
    assert newer.date == MOMENTS["b"]
    young = stages(Refs(heads={"main": "c" * 40}, tags={**tags, "v0.11": "c" * 40}))
    for pin in ({"tag": "v0.9"}, {"branch": "main"}):
        assert [each.newest for each in look(sourced(**pin), young, "2025-02-01")] == (
            ["v0.10"] if "tag" in pin else []
        )
    moved = Refs(heads={}, tags={"v0.9": "b" * 40})
    (newer,) = look(sourced(tag="v0.9"), stages(moved))
    assert (newer.what, newer.current, newer.newest) == (What.MOVED, "a" * 40, "b" * 40)
    assert newer.pin == "vllm@v0.9"  # by its commit, `tag:` would become `commit:`


PREVIEW = "v4.51.3-Qwen2.5-Omni-preview"


@pytest.mark.parametrize(
    ("tag", "others", "newest"),
    [
        (PREVIEW, ["v4.51.3", "v4.52.0-Gemma-3"], None),
        (PREVIEW, ["v4.52.0", "v4.53.0rc1", "v4.52.1"], "v4.52.1"),
        (PREVIEW, ["v4.52.0", "v4.52.4-Qwen2.5-Omni-preview"], "v4.52.4-Qwen2.5-Omni-preview"),
        (PREVIEW, ["release-9.0"], None),
        ("build-2025-06-01", ["build-2025-5-31", "build-2025-10-01", "v3.0"], "build-2025-10-01"),
        ("nightly", ["v1.0", "nightly-2"], None),
    ],
)
def test_newer_than_a_tag_that_is_no_version(tag: str, others: list[str], newest: str) -> None:
    refs = Refs(heads={}, tags=dict.fromkeys(others, "b" * 40) | {tag: "a" * 40})
    found = look(sourced(tag=tag), stages(refs))
    assert [each.newest for each in found] == ([] if newest is None else [newest])


def test_a_package_that_no_index_knows_is_one_line() -> None:
    def offered(name: str, _: Lock) -> tuple[Release, ...]:
        if name == "inhouse":
            raise ResolutionError("none of the 1 configured indexes has a package inhouse")
        return OFFERED[name]

    looking = replace(stages(), releases=offered)
    found = look(lock({"app": "1.0", "inhouse": "3"}), looking)
    assert [(each.what, each.name, each.newest, each.pin) for each in found] == [
        (What.RELEASE, "app", "1.10", "app==1.10"),
        (What.UNKNOWN, "inhouse", "", ""),
    ]


def image(digest: bytes) -> ImageBase:
    layer = Layer(digest=Digest.of(digest), size=5, diff_id=Digest.of(digest), title="base")
    return ImageBase(
        reference="example.org/cuda:12", digest=layer.digest, config=layer.digest, layers=(layer,)
    )


def test_a_newer_builder() -> None:
    locked = replace(lock({}, pins={}), builder=image(b"old"))
    fresh = replace(locked, builder=image(b"new"))
    looking = replace(
        stages(),
        refresh=lambda _: fresh,
        created=lambda _, found: "2025-06-01T00:00:00Z" if found == fresh.builder else "",
    )
    (newer,) = look(locked, looking)
    assert (newer.what, newer.name, newer.size, newer.pin) == (What.BASE, "builder", 5, "system")
    assert newer.date == "2025-06-01T00:00:00Z"
    assert newer.newest == f"example.org/cuda:12 ({fresh.builder.digest.hex[:12]})"


def test_newer_debs() -> None:
    locked = lock({}, pins={}, debs={"libc6": "2.41-1", "git": "1"})
    fresh = replace(
        locked.base, packages=(deb("libc6", "2.41-2"), deb("git", "1"), deb("new", "1"))
    )
    renewed = replace(stages(), refresh=lambda _: replace(locked, base=fresh))
    found = look(locked, renewed)
    assert [(each.what, each.name, each.current, each.newest) for each in found] == [
        (What.DEB, "libc6", "2.41-1", "2.41-2"),
        (What.DEB, "new", "-", "1"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("1.0", "2.0", ("1.0", "2.0")),
        ("a" * 40, "b" * 40, ("a" * 27 + "…", "b" * 27 + "…")),
        (
            "registry.example/team/image@sha256:" + "0" * 64,
            "registry.example/team/image@sha256:" + "0" * 10 + "1" * 54,
            ("registry.exa…" + "0" * 14 + "…", "registry.exa…" + "1" * 14 + "…"),
        ),
        ("2.8.3+cu12torch2.8cxx11abitrue", "2.8.3+cu12torch2.8cxx11abifalse",
         ("2.8.3+cu12to…true", "2.8.3+cu12to…false")),
        ("x" * 30, "x" * 31, ("xxxxxxxxxxxx…", "xxxxxxxxxxxx…x")),
    ],
)  # fmt: skip
def test_two_long_texts_are_cut_so_that_they_still_differ(one, other, shown):
    assert shortened(one, other) == shown
    assert max(map(len, shown)) <= 28


def test_a_narrow_place_cuts_nothing(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    digests = [f"r@sha256:{digit * 64}" for digit in "01"]
    newer = Newer(
        what=What.BASE, name="a-package-with-a-long-name", current=digests[0], newest=digests[1]
    )
    _print([newer], hidden=0)
    printed = "".join(capsys.readouterr().out.split())
    assert "0" * 8 in printed
    assert "1" * 8 in printed
    assert all(part in printed for part in ("a-package", "long"))
