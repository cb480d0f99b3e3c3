"""Build requirements that come as sdists alone: built first, locked, refused, in both engines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envbuilder.engines.docker import build_with_docker
from envbuilder.engines.source_wheels import check_reproducible as check_with
from envbuilder.engines.source_wheels import with_wheels
from envbuilder.model.errors import BuildError, NetworkError, ResolutionError
from envbuilder.model.lock import ArchiveSource, Lock, in_build_order
from envbuilder.model.pylock import dump_lock, needed_blobs
from envbuilder.model.spec_file import load
from envbuilder.resolve import resolve as resolving
from envbuilder.resolve.archives.supply import take_archives_beside
from envbuilder.resolve.git.build_environment import BuildEnvironment
from envbuilder.resolve.git.contained import contained
from envbuilder.resolve.git.sandbox import host_sandbox
from envbuilder.resolve.git.wheel_build import check_reproducible, fetch_sources
from envbuilder.resolve.release import EVERYTHING
from envbuilder.resolve.resolve import resolve
from envbuilder.resolve.target import python_target
from envbuilder.runtime import Mount
from envbuilder.storage.store import Store
from envbuilder.workflow.lock import lock_environment
from envbuilder.workflow.make import make_image
from tests.contexts import context, git_context
from tests.integration.test_archives import BASE, Noting, World, make_project
from tests.integration.test_docker_archives import wheels_of_folder
from tests.integration.test_docker_same_tree import tree
from tests.sdists import project, sdist
from tests.servers.git_repositories import Origin
from tests.servers.packages import Packages
from tests.servers.scripted import scripted
from tests.unit.locks import deb

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("told_nothing")]

USES = 'import {0}; Path("code.py").write_text("x = " + repr({0}.x + 1) + "\\n")'
"""What a build does with a tool: its own ``x`` is more by one than the tool's."""


PREPARED = """
def prepare_metadata_for_build_wheel(folder, settings=None):
    info = Path(folder, "plug-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: plug\\nVersion: 1.0\\n")
    return info.name
"""
"""Tells the metadata of ``plug`` without building it."""


@pytest.fixture
def world(tmp_path):
    packages = Packages(wheels={})
    with scripted(packages.respond) as running:
        yield World(tmp_path, running.host, packages)


def needing(world: World, name: str, *tools: str, **more) -> None:
    """Offer an sdist of ``name`` whose build imports what ``tools``, which it needs, hold."""
    names = [each.partition("=")[0] for each in tools]
    code = "; ".join(["from pathlib import Path", *(USES.format(each) for each in names)])
    world.sdist(name, needs=tools, build=code, **more)


def tools(lock: Lock, name: str) -> dict[str, str]:
    """Return the tools of a source, and theirs, by name."""
    (source,) = [each for each in lock.built if each.name == name]
    return {each.name: each.version for each in in_build_order(source.tools)}


def test_a_tool_is_locked_built_first_and_built_again_without_a_network(world, tmp_path):
    needing(world, "needy", "plug")
    needing(world, "plug", "deep", requires=("helper>=1",))
    world.sdist("deep")
    world.wheel("helper", "1.5")
    lock = world.lock('needy: "*"', sdists="[needy, plug, deep]")
    assert tools(lock, "needy") == {"plug": "1.0", "deep": "1.0"}
    assert [each.name for each in lock.archives] == ["needy"]
    assert [each.name for each in lock.wheels] == []
    (needy,) = lock.archives
    assert [each.name for each in needy.requires] == ["helper"]
    assert {each.sha256 for each in in_build_order(needy.tools)} <= needed_blobs(lock)
    assert world.lock('needy: "*"', sdists="[needy, plug, deep]", before=lock) == lock

    built = world.build(lock)
    assert world.members(built, "needy")["needy.py"] == b"x = 3\n"
    assert built.archives[0].tools == needy.tools, "what builds the wheel is as it was locked"
    work = git_context(world.store, offline=True)
    sandbox = host_sandbox("3.11", store=world.store)
    check_reproducible(built, make=contained(lambda: sandbox, work), context=work)

    other = Store(tmp_path / "other")
    fetch_sources(lock, git_context(other))
    assert world.build(lock, other) == built


def test_all_that_is_refused_is_told_at_once_however_deep_and_before_the_base(world, monkeypatch):
    needing(world, "needy", "plug", "pin")
    needing(world, "plug", "deep")
    for name in ("deep", "pin", "alone"):
        world.sdist(name)
    make_project(world.root / "mine", "mine", needs=("plug",))
    monkeypatch.setattr(resolving, "resolve_base", lambda *_: pytest.fail("asked for the base"))
    path = world.write('needy: "*", alone: "*", mine: {path: ../mine}', sdists="[needy]")
    with pytest.raises(ResolutionError, match="only sdists") as caught:
        resolve(context(world.store), load(path), folder=world.folder)
    lines = ("alone", "deep, to build plug", "pin, to build needy", "plug, to build mine, needy")
    assert "".join(f"\n  {line}" for line in lines) in caught.value.message
    assert "`build: {sdists: [alone, deep, needy, pin, plug]}`" in (caught.value.hint or "")


def test_what_only_its_code_asks_for_is_refused_when_it_is_asked(world):
    ask = "globals()['get_requires_for_build_wheel'] = lambda settings=None: ['plug', 'pin']"
    world.sdist("needy", first=ask)
    world.sdist("plug")
    world.sdist("pin")
    with pytest.raises(ResolutionError, match=r"\n  pin\n  plug\n") as caught:
        world.lock('needy: "*"', sdists="[needy]")
    assert caught.value.message.startswith("needy: ")
    assert "`build: {sdists: [needy, pin, plug]}`" in (caught.value.hint or "")
    lock = world.lock('needy: "*"', sdists="[needy, pin, plug]")
    assert tools(lock, "needy") == {"pin": "1.0", "plug": "1.0"}
    assert world.build(lock).archives[0].wheel is not None


def test_a_tool_that_needs_itself_is_refused_and_its_code_never_runs(world):
    ran = 'open("/nowhere/ran", "w")'
    world.sdist("needy", needs=("plug",), first=ran)
    world.sdist("plug", needs=("other",), first=ran)
    world.sdist("other", needs=("plug",), first=ran)
    with pytest.raises(ResolutionError) as caught:
        world.lock('needy: "*"', sdists="all")
    assert "plug 1.0 can only be built with itself: plug 1.0 → other 1.0 → plug 1.0" in (
        caught.value.message
    )
    assert "a version that has a wheel" in (caught.value.hint or "")
    world.wheel("plug", "0.9")
    packages = 'needy: "*", other: {version: "*", build: {requires: ["plug==0.9"]}}'
    world.sdist("needy", needs=("plug==1.0",))
    world.sdist("plug", needs=("other",))
    world.sdist("other")
    assert tools(world.lock(packages, sdists="all"), "needy") == {"plug": "1.0", "other": "1.0"}


def test_tools_of_tools_end_somewhere(world):
    for number in range(12):
        world.sdist("plug", f"{number}.0", needs=(f"plug=={number + 1}.0",))
    world.sdist("needy", needs=("plug==0.0",))
    with pytest.raises(ResolutionError, match=r"with tools too deep: plug 0\.0 → "):
        world.lock('needy: "*"', sdists="all")


def test_a_version_with_a_wheel_comes_before_any_sdist(world):
    world.sdist("plug", "2.0")
    world.wheel("plug", "1.0")
    world.sdist("needy", needs=("plug",))
    lock = world.lock('needy: "*"', sdists="[needy, plug]")
    assert lock.archives[0].tools == ()
    assert [(each.name, each.version) for each in lock.archives[0].requires] == [("plug", "1.0")]


def test_a_build_of_the_packages_own_allows_and_steers_its_tool(world):
    world.sdist("plug", build='assert __import__("os").environ["OPS"] == "0"')
    needing(world, "needy", "plug")
    packages = 'needy: "*", plug: {{version: "==1.0", build: {{env: {{OPS: "{}"}}}}}}'
    lock = world.lock(packages.format(0), sdists="[needy]")
    assert {each.name for each in lock.archives} == {"needy", "plug"}
    assert world.members(world.build(lock), "needy")["needy.py"] == b"x = 2\n"
    with pytest.raises(BuildError) as caught:  # what was locked of needy no longer holds
        world.lock(packages.format(1), sdists="[needy]", before=lock)
    assert "AssertionError" in caught.value.message


def test_a_tool_that_fails_says_whose_it_is(world):
    world.sdist("plug", first=PREPARED, build="1 / 0")
    needing(world, "needy", "plug")
    with pytest.raises(BuildError) as caught:
        world.lock('needy: "*"', sdists="[needy, plug]")
    assert caught.value.message.startswith("needy: plug 1.0, which it is built with: ")
    assert "ZeroDivisionError" in caught.value.message


@pytest.mark.parametrize(
    ("made", "said"),
    [("plug.zip", "made no wheel, but 'plug.zip'"), ("plug-1-py3-none-any.whl", "is not there")],
)
def test_a_tool_whose_build_lies_is_refused(world, made, said):
    lie = f"from pathlib import Path\n{PREPARED}\ndef build_wheel(*_):\n    return {made!r}\n"
    files = project("plug") | {"backend.py": lie.encode()}
    world.files["plug-1.0.tar.gz"] = sdist("plug-1.0", files)
    needing(world, "needy", "plug")
    with pytest.raises(BuildError) as caught:
        world.lock('needy: "*"', sdists="[needy, plug]")
    assert said in caught.value.message


def test_a_tool_stays_until_it_is_let_go_and_what_is_no_longer_allowed_does_not(world):
    needing(world, "needy", "plug")
    world.sdist("plug")
    lock = world.lock('needy: "*"', sdists="[needy, plug]")
    world.sdist("plug", "2.0")
    assert world.lock('needy: "*"', sdists="[needy, plug]", before=lock) == lock
    released = world.lock('needy: "*"', sdists="[needy, plug]", before=lock, release={"plug"})
    assert tools(released, "needy") == {"plug": "2.0"}
    with pytest.raises(ResolutionError, match="\n  plug, to build needy\n"):
        world.lock('needy: "*"', sdists="[needy]", before=lock)


def test_a_tool_counts_as_needed_and_a_yanked_one_only_for_whoever_names_it(world):
    good, bad = world.sdist("plug", "1.0"), world.sdist("plug", "2.0")
    needing(world, "needy", "plug")
    every = (good, bad, "needy-1.0.tar.gz")
    world.packages.uploaded = dict.fromkeys(every, "2024-01-01T00:00:00Z")
    world.packages.yanked = {bad}
    notes = Noting()
    lock = world.lock('needy: "*"', sdists="[needy, plug]", progress=notes)
    assert (tools(lock, "needy"), notes.told) == ({"plug": "1.0"}, [])
    needing(world, "needy", "plug==2.0")
    lock = world.lock('needy: "*"', sdists="[needy, plug]", progress=notes)
    assert (tools(lock, "needy"), notes.told) == (
        {"plug": "2.0"},
        ["warning: plug==2.0 was yanked"],
    )


def test_without_a_network_the_tools_sdist_is_missed_by_name_or_found_beside_the_lock(
    world, tmp_path
):
    needing(world, "needy", "plug")
    name = world.sdist("plug")
    lock = world.lock('needy: "*"', sdists="[needy, plug]")
    bare = Store(tmp_path / "bare")
    fetch_sources(lock, git_context(bare))
    (plug,) = lock.archives[0].tools
    bare.prune(keep=needed_blobs(lock) - {plug.sha256}, unused_for=0)
    with pytest.raises(NetworkError, match=r"the store lacks plug-1\.0\.tar\.gz"):
        world.build(lock, bare)
    (world.folder / "sdists").mkdir()
    (world.folder / "sdists" / name).write_bytes(world.files[name])
    take_archives_beside(context(bare), lock, world.folder)
    assert world.build(lock, bare).archives[0].wheel is not None


def test_letting_a_tool_go_moves_no_commit(world):
    further = Origin.create(world.root / "further")
    origin = Origin.create(world.root / "mine")
    first = further.commit({"x.txt": "1"}), origin.commit(project("mine", needs=("plug",)))
    world.sdist("plug")
    build = f"build: {{sources: {{more: {{git: {further.path}, branch: main}}}}}}"
    packages = (
        f'mine: {{git: {origin.path}, branch: main, {build}}}, needy: {{version: "*", {build}}}'
    )
    needing(world, "needy", "plug")

    def commits(lock: Lock) -> set[str]:
        (mine,), (needy,) = lock.sources, lock.archives
        return {mine.commit, mine.sources[0].commit, needy.sources[0].commit}

    lock = world.lock(packages, sdists="[needy, plug]")
    further.commit({"x.txt": "2"})
    origin.commit({"more.txt": ""})
    world.sdist("plug", "2.0")
    released = world.lock(packages, sdists="[needy, plug]", before=lock, release={"plug"})
    assert [tools(released, name) for name in ("mine", "needy")] == [{"plug": "2.0"}] * 2
    assert commits(released) == commits(lock) == set(first)
    moved = world.lock(packages, sdists="[needy, plug]", before=lock, release={"mine", "needy"})
    assert commits(moved).isdisjoint(first)


def test_letting_everything_go_renews_what_builds_sdists_folders_and_tools(world):
    make_project(world.root / "mine", "mine", needs=("plug",))
    needing(world, "needy", "plug")
    world.sdist("plug", needs=("helper",))
    world.sdist("deep")
    world.wheel("helper", "1.0")
    packages, sdists = 'needy: "*", mine: {path: ../mine}', "[needy, plug]"
    lock = world.lock(packages, sdists=sdists)
    world.wheel("helper", "2.0")
    assert world.lock(packages, sdists=sdists, before=lock) == lock
    for number in ("2.0", "3.0"):
        world.wheel("helper", number)
        lock = world.lock(packages, sdists=sdists, before=lock, release={EVERYTHING})
        for source in lock.archives:
            assert helper_of(source.tools[0]) == number
    world.sdist("plug", "2.0")
    lock = world.lock(packages, sdists=sdists, before=lock, release={EVERYTHING})
    assert [tools(lock, name) for name in ("mine", "needy")] == [{"plug": "2.0"}] * 2


def helper_of(source: ArchiveSource) -> str:
    """Return the version of ``helper`` that a source is built with."""
    (version,) = [each.version for each in source.requires if each.name == "helper"]
    return version


def test_a_pin_binds_tools_although_their_user_leaves_it_out(world):
    needing(world, "needy", "plug")
    world.sdist("plug", needs=("helper",))
    for number in ("1.0", "2.0", "3.0"):
        world.wheel("helper", number)
    for number in ("1.0", "2.0"):
        own = '{version: "*", build: {requires: ["helper==3.0"]}}'
        lock = world.lock(f'needy: {own}, helper: "=={number}"', sdists="[needy, plug]")
        (needy,) = lock.archives
        assert (helper_of(needy), helper_of(needy.tools[0])) == ("3.0", number)


def test_a_locked_tool_stays_where_another_version_has_a_wheel_by_now(world):
    make_project(world.root / "mine", "mine", needs=("plug",))
    world.sdist("plug")
    packages = "mine: {path: ../mine}"
    lock = world.lock(packages, sdists="[plug]")
    world.wheel("plug", "2.0")
    (world.root / "mine" / "more.py").touch()
    changed = world.lock(packages, sdists="[plug]", before=lock)
    assert changed.archives[0].sha256 != lock.archives[0].sha256
    assert tools(changed, "mine") == {"plug": "1.0"}
    released = world.lock(packages, sdists="[plug]", before=lock, release={"plug"})
    assert (tools(released, "mine"), released.archives[0].requires[0].version) == ({}, "2.0")


def test_a_tool_that_only_the_base_can_tell_of_is_asked_there(world, tmp_path):
    path = world.write('needy: "*"', sdists="[needy, plug]")
    # Another glibc than this machine's, so that what is asked here is asked for another target.
    base = replace(BASE, packages=(deb("python3.11", "3.11.2-6"), deb("libc6", "2.31")))
    place = "/toolkit"
    (tmp_path / "toolkit").mkdir()
    (tmp_path / "toolkit" / "there").touch()
    world.sdist("plug", first=f'open("{place}/there").close()')
    needing(world, "needy", "plug")
    plain = host_sandbox("3.11", store=world.store)
    there = replace(
        plain,
        target=python_target(load(path), base),
        mounts=(*plain.mounts, Mount(source=tmp_path / "toolkit", target=place)),
    )

    def building(bare: Lock) -> BuildEnvironment:
        return BuildEnvironment(
            lock=bare, variables=lambda: (), pinned=lambda: bare, sandbox=lambda: there
        )

    held = Lock(spec=load(path), base=base, wheels=())
    notes = Noting()
    lock = resolve(
        context(world.store, notes), load(path), previous=held, folder=world.folder,
        building=building,
    )  # fmt: skip
    assert tools(lock, "needy") == {"plug": "1.0"}
    assert any("(what its tools ask for" in told for told in notes.told)


SPEC = """\
version: 1
name: built
python: "3.13"
base: {{debian: trixie}}
system: {{packages: [python3]}}
packages: {{needy: "*"}}
build: {{sdists: [needy, plug, deep]}}
index: {{url: "http://{}/simple"}}
"""


@pytest.mark.docker
@pytest.mark.deep
def test_both_engines_build_the_tools_and_give_one_tree(world):
    needing(world, "needy", "plug", "helper")
    needing(world, "plug", "deep", requires=("helper>=1",))
    world.sdist("deep")
    world.wheel("helper", "1.5", files={"helper.py": b"x = 10\n"})
    path = world.folder / "built.yaml"
    path.write_text(SPEC.format(world.host))
    store = Store.default()
    lock = lock_environment(context(store), path)
    made = with_wheels(context(store, offline=True), lock)
    embedded = make_image(context(store), made)
    found = tree(store, embedded)
    assert "opt/venv/lib/python3.13/site-packages/needy.py" in found
    assert not [name for name in found if "plug" in name or "deep" in name]

    check_with(context(store), made, engine="docker")
    assert tree(store, build_with_docker(context(store), made)) == found
    (wheel,) = wheels_of_folder(store, made, world.root / "alone")
    assert wheel.name == "needy-1.0-py3-none-any.whl"
    assert dump_lock(made).count("plug-1.0.tar.gz") == 1
