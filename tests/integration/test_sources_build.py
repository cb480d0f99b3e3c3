"""Real projects from git, examined and built in real containers."""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from pathlib import Path

import msgspec
import pytest

from envbuilder.layers.wheel_reconstruction import wheel_file
from envbuilder.model.errors import BuildError, NetworkError, ResolutionError
from envbuilder.model.git_url import Address
from envbuilder.model.lock import DebianBase, GitSource, Lock, Wheel
from envbuilder.model.package_spec import BuildSource, Index, Package, SourceBuild
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.model.spec import Base, Spec, Steps
from envbuilder.resolve.git.contained import contained
from envbuilder.resolve.git.context import GitContext
from envbuilder.resolve.git.mirror import Mirror
from envbuilder.resolve.git.sandbox import Sandbox, host_sandbox
from envbuilder.resolve.git.transfer import export_wheels, import_wheels
from envbuilder.resolve.git.wheel_build import build_sources, check_reproducible
from envbuilder.resolve.python.metadata_wheel import stand_ins
from envbuilder.resolve.python.requirements import choose_packages, resolve_python
from envbuilder.resolve.resolve import resolve
from envbuilder.resolve.sources import lock_sources, locking
from envbuilder.resolve.target import python_target
from envbuilder.runtime import OUTPUT_LIMIT
from envbuilder.storage.store import Store
from tests.contexts import git_context, indexes
from tests.servers import git_projects
from tests.servers.git_repositories import Origin

pytestmark = pytest.mark.integration

PYTHON = "3.11"
BASE = DebianBase(suite="trixie", packages=())
INDEX = Index(exclude_newer="2025-06-29T00:00:00Z")  # what is released tomorrow changes no test


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """Share a store: build environments are fetched and unpacked once."""
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def context(store) -> GitContext:
    return git_context(store)


@pytest.fixture
def sandbox(store):
    """Lend this machine's Python and compiler; a whole base would take a minute to make."""

    def make() -> Sandbox:
        return host_sandbox(PYTHON, store=store)

    return make


def origin_of(tmp_path: Path, files, name: str = "proj") -> Origin:
    origin = Origin.create(tmp_path / name)
    origin.commit(files)
    return origin


def spec_of(name: str, pin: Package, **more) -> Spec:
    return Spec(
        version=1,
        name="x",
        python=PYTHON,
        base=Base(debian="trixie"),
        packages={name: pin, **more},
        index=INDEX,
    )


def lock_of(name: str, origin: Origin, context: GitContext, *, more=None, **pin) -> Lock:
    spec = spec_of(name, Package(git=str(origin.path), branch="main", **pin), **(more or {}))
    sources = lock_sources(locking(spec, target=python_target(spec, BASE), context=context))
    return Lock(spec=spec, base=BASE, wheels=(), sources=sources)


def source_of(name: str, origin: Origin, context: GitContext, **more) -> GitSource:
    return lock_of(name, origin, context, **more).sources[0]


def members(lock: Lock, store: Store) -> dict[str, bytes]:
    wheel = lock.sources[0].wheel
    assert wheel is not None
    with wheel_file(store, wheel.sha256) as path, zipfile.ZipFile(path) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.mark.parametrize(
    ("name", "files", "version", "needs", "builders"),
    [
        ("flitty", git_projects.FLIT, "1.2", ("packaging>=24",), {"flit-core"}),
        ("hatchy", git_projects.HATCH, "0.3", ("iniconfig; extra == 'extra'",), {"hatchling"}),
        ("poetic", git_projects.POETRY, "2.0", ("iniconfig",), {"poetry-core"}),
        ("oldy", git_projects.LEGACY, "3", ("packaging",), {"setuptools", "iniconfig"}),
    ],
)
def test_projects_of_every_backend(
    tmp_path, context, sandbox, *, name, files, version, needs, builders
):
    lock = lock_of(name, origin_of(tmp_path, files), context)
    source = lock.sources[0]
    assert (source.version, source.requires_dist) == (version, needs)
    assert builders <= {wheel.name for wheel in source.requires}
    built = build_sources(lock, make=contained(sandbox, context), context=context)
    assert f"{name}-{version}.dist-info/METADATA" in members(built, context.store)


def test_the_version_of_setuptools_scm_comes_from_tags_and_brings_tracked_files(
    tmp_path, context, sandbox
):
    origin = origin_of(tmp_path, git_projects.SCM)
    origin.tag("v1.4.2")
    commit = origin.commit({"more.txt": "x"})
    lock = lock_of("scmy", origin, context)
    assert lock.sources[0].version == f"1.4.3.dev1+g{commit[:9]}"
    assert lock.sources[0].describe == f"v1.4.2-1-g{commit[:9]}"
    origin.tag("v9.9.9")  # a tag that comes later changes nothing
    built = build_sources(lock, make=contained(sandbox, context), context=context)
    assert "scmy/data.txt" in members(built, context.store)


def test_a_setup_py_that_asks_for_setuptools_scm_when_it_is_run(tmp_path, context):
    setup = "setup(name='oldy', use_scm_version=True, setup_requires=['setuptools_scm'])"
    origin = origin_of(tmp_path, {"setup.py": f"from setuptools import setup\n{setup}\n"})
    origin.tag("v1.4.2")
    assert source_of("oldy", origin, context).version == "1.4.2"


def test_submodules_are_part_of_the_files(tmp_path, context, sandbox):
    inner = origin_of(tmp_path, {"inner.txt": "inside"}, "inner")
    origin = origin_of(tmp_path, git_projects.SCM)
    origin.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add",
               str(inner.path), "src/scmy/inner")  # fmt: skip
    origin.commit()
    origin.tag("v1.0")
    built = build_sources(
        lock_of("scmy", origin, context, submodules=True),
        make=contained(sandbox, context),
        context=context,
    )
    assert members(built, context.store)["scmy/inner/inner.txt"] == b"inside"


def test_a_c_extension_gives_one_digest_on_other_paths_moments_umasks_and_jobs(
    tmp_path, context, sandbox
):
    origin = origin_of(tmp_path, git_projects.NATIVE)
    first = build_sources(
        lock_of("natty", origin, context), make=contained(sandbox, context), context=context
    )
    elsewhere = Store(tmp_path / "a longer path than the other")
    old = os.umask(0o077)
    try:
        other = git_context(elsewhere)
        again = build_sources(
            lock_of("natty", origin, other, build=SourceBuild(env={"MAX_JOBS": "1"})),
            make=contained(lambda: host_sandbox(PYTHON, store=elsewhere), other),
            context=other,
        )
    finally:
        os.umask(old)
    assert first.sources[0].wheel is not None
    assert "linux" in first.sources[0].wheel.filename
    assert again.sources[0].wheel == first.sources[0].wheel
    check_reproducible(first, make=contained(sandbox, context), context=context)


def test_a_wheel_is_built_once(tmp_path, context, sandbox):
    lock = lock_of("flitty", origin_of(tmp_path, git_projects.FLIT), context)
    built = build_sources(lock, make=contained(sandbox, context), context=context)

    def never() -> Sandbox:
        raise AssertionError("it was built again")

    assert build_sources(lock, make=contained(never, context), context=context) == built
    assert build_sources(built, make=contained(never, context), context=context) is built


def test_a_build_that_differs_is_told_file_by_file(tmp_path, context, sandbox):
    files = dict(git_projects.LEGACY)
    files["setup.py"] = (
        "import uuid; open('oldy.py', 'w').write(str(uuid.uuid4()))\n" + files["setup.py"]
    )
    lock = lock_of("oldy", origin_of(tmp_path, files), context)
    built = build_sources(lock, make=contained(sandbox, context), context=context)
    with pytest.raises(BuildError, match="gave another wheel") as error:
        check_reproducible(built, make=contained(sandbox, context), context=context)
    assert "oldy.py: other content" in error.value.message
    assert "METADATA" not in error.value.message
    wheel = built.sources[0].wheel
    assert wheel is not None
    context.store.discard(wheel.sha256)
    with pytest.raises(BuildError, match=r"oldy\.py: other content"):
        build_sources(built, make=contained(sandbox, context), context=context)


def test_wheels_move_between_machines(tmp_path, context, sandbox):
    lock = lock_of("flitty", origin_of(tmp_path, git_projects.FLIT), context)
    built = build_sources(lock, make=contained(sandbox, context), context=context)
    paths = export_wheels(built, tmp_path / "out", store=context.store)
    assert [path.name for path in paths] == ["flitty-1.2-py2.py3-none-any.whl"]
    other = Store(tmp_path / "other")
    assert import_wheels(tmp_path / "out", store=other) == [built.sources[0].wheel]

    def never() -> Sandbox:
        raise AssertionError("it was built again")

    there = git_context(other, runtime=context.runtime, offline=True)
    assert build_sources(lock, make=contained(never, there), context=there) == built


def test_a_damaged_export_is_refused(tmp_path, context, sandbox):
    lock = lock_of("flitty", origin_of(tmp_path, git_projects.FLIT), context)
    built = build_sources(lock, make=contained(sandbox, context), context=context)
    [path] = export_wheels(built, tmp_path / "out", store=context.store)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BuildError, match="the content is"):
        import_wheels(tmp_path / "out", store=Store(tmp_path / "other"))


def test_a_failing_build_shows_its_last_lines_and_where_the_log_is(tmp_path, context):
    files = {"setup.py": "for n in range(60): print('line', n)\nraise SystemExit('no compiler!')\n"}
    with pytest.raises(BuildError, match="no compiler!") as error:
        lock_of("oldy", origin_of(tmp_path, files), context)
    assert "line 59" in error.value.message
    assert "line 2\n" not in error.value.message
    log = Path(error.value.hint.removeprefix("the whole log: "))
    assert "line 2\n" in log.read_text()


def test_the_end_of_a_log_is_its_end_however_long_it_is(tmp_path, context):
    files = {"setup.py": "for _ in range(70): print('x' * 999_999)\nraise SystemExit('the end')\n"}
    with pytest.raises(BuildError, match="the end") as error:
        lock_of("oldy", origin_of(tmp_path, files), context)
    log = Path(error.value.hint.removeprefix("the whole log: "))
    assert OUTPUT_LIMIT < log.stat().st_size < OUTPUT_LIMIT + 100_000
    assert b"bytes are left out here" in log.read_bytes()[OUTPUT_LIMIT:]
    log.unlink()


def test_another_name_than_the_specs(tmp_path, context):
    with pytest.raises(ResolutionError, match="is the project 'flitty'") as error:
        lock_of("flatty", origin_of(tmp_path, git_projects.FLIT), context)
    assert error.value.hint == "call it flitty in the spec"


def test_a_repository_without_a_project_and_a_wrong_subdirectory(tmp_path, context):
    origin = origin_of(tmp_path, {"a.txt": "x", "sub/setup.py": "import setuptools"})
    with pytest.raises(ResolutionError, match="there is no Python project"):
        lock_of("oldy", origin, context)
    with pytest.raises(ResolutionError, match=r"no nowhere/pyproject\.toml"):
        lock_of("oldy", origin, context, subdirectory="nowhere")


@pytest.mark.parametrize("line", ["iniconfig @ https://example.org/x.whl", "not a requirement!"])
def test_a_build_requirement_that_no_index_can_be_asked_for(tmp_path, context, line):
    backend = f"def get_requires_for_build_wheel(_): return [{line!r}]"
    pyproject = '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n'
    origin = origin_of(tmp_path, {"b.py": backend, "pyproject.toml": pyproject})
    with pytest.raises(ResolutionError, match="its build requirement"):
        lock_of("oldy", origin, context)


def test_a_source_that_needs_an_address_is_refused(tmp_path, context):
    files = dict(git_projects.FLIT)
    files["pyproject.toml"] = files["pyproject.toml"].replace(
        "packaging>=24", "packaging @ file:///nothing.whl"
    )
    with pytest.raises(ResolutionError, match=r"flitty: its requirement .* names an address"):
        lock_of("flitty", origin_of(tmp_path, files), context)


def test_an_address_in_an_extra_that_nobody_asked_for_is_no_hindrance(tmp_path, context):
    files = dict(git_projects.FLIT)
    files["pyproject.toml"] += (
        '[project.optional-dependencies]\naudio = ["kenlm @ file:///k.whl"]\n'
    )
    origin = origin_of(tmp_path, files)
    (source,) = lock_of("flitty", origin, context).sources
    assert not any("file:" in line for line in source.requires_dist)
    with pytest.raises(ResolutionError, match="names an address") as caught:
        lock_of("flitty[audio]", origin, context)
    assert "kenlm: " in caught.value.hint


def test_a_source_for_another_python_is_refused(tmp_path, context):
    files = dict(git_projects.FLIT)
    files["pyproject.toml"] += 'requires-python = ">=3.12"\n'
    with pytest.raises(ResolutionError, match=f"it asks for Python >=3.12, the spec says {PYTHON}"):
        lock_of("flitty", origin_of(tmp_path, files), context)


ASKING = """\
import os
def get_requires_for_build_wheel(_):
    return {asked}
def prepare_metadata_for_build_wheel(output, *_):
    os.mkdir(output + "/asking-1.dist-info")
    with open(output + "/asking-1.dist-info/METADATA", "w") as file:
        file.write("Name: asking\\nVersion: 1\\n")
    return "asking-1.dist-info"
"""


@pytest.mark.parametrize(
    ("present", "asked", "locked"),
    [
        ("iniconfig", ["iniconfig<2"], ["iniconfig 1.1.1"]),
        ("iniconfig", ["iniconfig<2; python_version < '3.11'"], ["iniconfig 2.1.0"]),
        ("", ["tomli; python_version < '3.11'"], []),
    ],
)
def test_what_a_build_asks_for_counts_whole(tmp_path, context, present, asked, locked):
    requires = [present] if present else []
    pyproject = f"[build-system]\nrequires = {requires}\n"
    pyproject += 'build-backend = "b"\nbackend-path = ["."]\n'
    files = {"b.py": ASKING.format(asked=asked), "pyproject.toml": pyproject}
    source = source_of("asking", origin_of(tmp_path, files), context)
    assert [f"{wheel.name} {wheel.version}" for wheel in source.requires] == locked


def test_a_build_that_never_stops_asking(tmp_path, context):
    asked = "[f'iniconfig!=0.{int.from_bytes(os.urandom(4))}']"
    pyproject = '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n'
    files = {"b.py": ASKING.format(asked=asked), "pyproject.toml": pyproject}
    with pytest.raises(BuildError, match="asks for other requirements each time"):
        source_of("asking", origin_of(tmp_path, files), context)


def test_a_subdirectory_is_built(tmp_path, context, sandbox):
    files = {f"python/{name}": content for name, content in git_projects.FLIT.items()}
    lock = lock_of("flitty", origin_of(tmp_path, files), context, subdirectory="python")
    built = build_sources(lock, make=contained(sandbox, context), context=context)
    assert "flitty.py" in members(built, context.store)


def test_the_specs_own_pins_hold_for_build_environments(tmp_path, context):
    origin = origin_of(tmp_path, git_projects.NATIVE)
    source = source_of("natty", origin, context, more={"setuptools": "==79.0.1"})
    assert [wheel.version for wheel in source.requires] == ["79.0.1"]
    with pytest.raises(ResolutionError, match="setuptools"):
        source_of("natty", origin, context, more={"setuptools": "==70.0.0"})
    own = SourceBuild(requires=("setuptools>=80",))
    source = source_of("natty", origin, context, more={"setuptools": "==70.0.0"}, build=own)
    assert [wheel.version for wheel in source.requires] == ["80.9.0"]


def test_what_was_locked_stays_until_it_is_released(tmp_path, context):
    origin = origin_of(tmp_path, git_projects.FLIT)
    lock = lock_of("flitty", origin, context)
    odd = dataclasses.replace(lock.sources[0], requires=())
    previous = dataclasses.replace(lock, sources=(odd,))

    def again(spec: Spec, release=()) -> GitSource:
        target = python_target(spec, BASE)
        return lock_sources(
            locking(spec, target=target, context=context, previous=previous, release=release)
        )[0]

    assert again(lock.spec) == odd
    assert again(lock.spec, release={"flitty"}) == lock.sources[0]
    changed = msgspec.structs.replace(
        lock.spec,
        packages={"flitty": msgspec.structs.replace(
            lock.spec.packages["flitty"], build=SourceBuild(env={"A": "b"}))},
    )  # fmt: skip
    assert again(changed) == lock.sources[0]


def test_another_commit_is_built_with_the_same_tools(tmp_path, context):
    """Else every commit of a bisection would be tried with other tools."""
    origin = origin_of(tmp_path, git_projects.FLIT)
    lock = lock_of("flitty", origin, context)
    [newest] = lock.sources[0].requires
    older = resolve_python(
        ["flit_core==3.9.0"],
        indexes=indexes(),
        target=python_target(lock.spec, BASE),
        index=lock.spec.index,
    )
    before = dataclasses.replace(lock.sources[0], requires=older)
    previous = dataclasses.replace(lock, sources=(before,))
    origin.commit({"more.txt": "x"})
    later = dataclasses.replace(context, opened={})  # which asks the server again

    def again(release) -> GitSource:
        target = python_target(lock.spec, BASE)
        return lock_sources(
            locking(lock.spec, target=target, context=later, previous=previous, release=release)
        )[0]

    moved = again({"flitty"})
    assert moved.commit == origin.git("rev-parse", "HEAD")
    assert moved.requires == older
    assert again({"flitty", "flit-core"}).requires == (newest,)
    assert again({"*"}).requires == (newest,)


def test_the_resolver_sees_a_sources_own_requirements(tmp_path, context):
    lock = lock_of("flitty", origin_of(tmp_path, git_projects.FLIT), context)
    lines = list(stand_ins(lock.spec, lock.sources, tmp_path))
    wheels = choose_packages(
        lines,
        apart={"flitty"},
        indexes=indexes(),
        target=python_target(lock.spec, BASE),
        index=lock.spec.index,
    ).wheels
    assert [wheel.name for wheel in wheels] == ["packaging"]
    with pytest.raises(ResolutionError, match="flitty"):
        resolve_python(
            ["packaging<20", *lines],
            indexes=indexes(),
            target=python_target(lock.spec, BASE),
            index=lock.spec.index,
        )


SPY = """\
import json, os, pathlib, socket
import setuptools
found = {}
for name, place in json.loads(os.environ["PLACES"]).items():
    found[name] = os.path.exists(place)
try:
    socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), 1)
    found["network"] = True
except OSError:
    found["network"] = False
found["home"] = os.listdir(os.path.expanduser("~"))
found["env"] = sorted(os.environ)
pathlib.Path("spy.py").write_text("FOUND = " + repr(found))
setuptools.setup(name="spy", version="1", py_modules=["spy"])
"""


def test_a_hostile_build_sees_neither_network_nor_home_nor_files_of_others(
    tmp_path, context, sandbox, monkeypatch
):
    import socket

    monkeypatch.setenv("A_SECRET", "s3cret")
    (tmp_path / "secret").write_text("x")
    places = {
        "secret": str(tmp_path / "secret"),
        "store": str(context.store.root),
        "ssh": str(Path("~/.ssh").expanduser()),
        "hosts": "/etc/hosts.allow",
        "repository": str(Path(__file__).parents[2]),
    }
    with socket.create_server(("127.0.0.1", 0)) as listening:
        env = {"PLACES": json.dumps(places), "PORT": str(listening.getsockname()[1])}
        origin = origin_of(tmp_path, {"setup.py": SPY})
        lock = lock_of("spy", origin, context, build=SourceBuild(env=env))
        built = build_sources(lock, make=contained(sandbox, context), context=context)
    scope: dict = {}
    exec(members(built, context.store)["spy.py"], scope)
    found = scope["FOUND"]
    assert {name: found[name] for name in places} == dict.fromkeys(places, False)
    assert not found["network"]
    assert found["home"] == []
    assert "A_SECRET" not in found["env"]


DIGGER = """\
import os, pathlib, setuptools
found = sorted(name for _, _, names in os.walk("/build/cache") for name in names)
if os.path.isdir("/build/cache"):
    pathlib.Path("/build/cache", os.environ["LEAVE"]).write_text("x")
pathlib.Path("digger.py").write_text("FOUND = " + repr(found))
setuptools.setup(name="digger", version="1", py_modules=["digger"])
"""


def test_what_compilers_remember_of_one_repository_no_other_can_reach(tmp_path, context, sandbox):
    good, evil = (origin_of(tmp_path, {"setup.py": DIGGER}, name) for name in ("good", "evil"))

    def found(origin: Origin, leave: str) -> list[str]:
        lock = lock_of("digger", origin, context, build=SourceBuild(env={"LEAVE": leave}))
        built = build_sources(lock, make=contained(sandbox, context), context=context)
        scope: dict = {}
        exec(members(built, context.store)["digger.py"], scope)
        return scope["FOUND"]

    assert found(good, "object") == []
    assert found(evil, "poison") == []
    assert found(good, "another") == ["object"]


def test_locking_goes_by_what_the_server_says_in_the_end(tmp_path, store):
    """It goes ahead with the last answer, which a rewritten branch makes wrong."""
    origin = origin_of(tmp_path, git_projects.FLIT)
    base = Base(debian="trixie", python="/usr/bin/python3.11")
    pin = Package(git=str(origin.path), branch="main")
    spec = msgspec.structs.replace(spec_of("flitty", pin), base=base)
    before = Lock(spec=spec, base=BASE, wheels=())
    first = resolve(git_context(store), spec, previous=before)
    assert resolve(git_context(store), spec, previous=first) == first
    origin.git("commit", "--quiet", "--amend", "-m", "another past")
    with pytest.raises(ResolutionError, match="was rewritten"):
        resolve(git_context(store), spec, previous=first)
    again = resolve(git_context(store), spec, previous=before)
    assert again.sources[0].commit == origin.git("rev-parse", "HEAD")


def test_a_wheel_stays_in_the_lock_while_its_recipe_does(tmp_path, store):
    origin = origin_of(tmp_path, git_projects.FLIT)
    base = Base(debian="trixie", python="/usr/bin/python3.11")
    pin = Package(git=str(origin.path), branch="main")
    spec = msgspec.structs.replace(spec_of("flitty", pin), base=base)
    before = Lock(spec=spec, base=BASE, wheels=())
    lock = resolve(git_context(store), spec, previous=before)
    wheel = Wheel(name="flitty", version="1.2", filename="f.whl", size=1, sha256=Digest.of(b""))
    built = dataclasses.replace(lock, sources=(dataclasses.replace(lock.sources[0], wheel=wheel),))
    more = msgspec.structs.replace(spec, env={"SEEN": "at run time only"})
    other = msgspec.structs.replace(spec, steps=Steps(before_python=("apt-get install cc",)))
    for changed, kept in ((more, wheel), (other, None)):
        again = resolve(git_context(store), changed, previous=built)
        assert again.sources[0] == dataclasses.replace(lock.sources[0], wheel=kept)


def test_a_build_that_leaves_links_in_place_of_results_gives_away_nothing(
    tmp_path, context, sandbox
):
    (tmp_path / "secret").write_text("x")
    backend = f"""\
import os
def build_wheel(output, *_):
    os.symlink({str(tmp_path / "secret")!r}, output + "/evil-1-py3-none-any.whl")
    return "evil-1-py3-none-any.whl"
def prepare_metadata_for_build_wheel(output, *_):
    os.symlink({str(tmp_path)!r}, output + "/evil-1.dist-info")
    return "evil-1.dist-info"
"""
    pyproject = '[build-system]\nrequires = []\nbuild-backend = "evil"\nbackend-path = ["."]\n'
    origin = origin_of(tmp_path, {"evil.py": backend, "pyproject.toml": pyproject})
    with pytest.raises(BuildError, match="without a name or a version"):
        lock_of("evil", origin, context)
    spec = spec_of("evil", Package(git=str(origin.path), branch="main"))
    commit = origin.git("rev-parse", "HEAD")
    source = GitSource(
        name="evil", version="1", repository=str(origin.path), requested="main", commit=commit,
        tree=origin.git("rev-parse", "HEAD^{tree}"),
    )  # fmt: skip
    lock = Lock(spec=spec, base=BASE, wheels=(), sources=(source,))
    with pytest.raises(BuildError, match="which is not there"):
        build_sources(lock, make=contained(sandbox, context), context=context)


@pytest.mark.parametrize("answer", ["[]", "{", "{}", '{"made": 3}', '{"requires": 4}'])
def test_a_build_that_forges_its_answer(tmp_path, context, answer):
    backend = f"""\
import os
def prepare_metadata_for_build_wheel(output, *_):
    open(output + "/result.json", "w").write({answer!r})
    os._exit(0)
"""
    pyproject = '[build-system]\nrequires = []\nbuild-backend = "evil"\nbackend-path = ["."]\n'
    origin = origin_of(tmp_path, {"evil.py": backend, "pyproject.toml": pyproject})
    with pytest.raises(BuildError):
        lock_of("evil", origin, context)


def test_extras_of_a_source_are_resolved(tmp_path, context):
    origin = origin_of(tmp_path, git_projects.HATCH)
    lock = lock_of("hatchy[extra]", origin, context)
    wheels = choose_packages(
        stand_ins(lock.spec, lock.sources, tmp_path),
        apart={"hatchy"},
        indexes=indexes(),
        target=python_target(lock.spec, BASE),
        index=lock.spec.index,
    ).wheels
    assert [wheel.name for wheel in wheels] == ["iniconfig"]


def test_metadata_that_changes_with_the_builder_is_refused(tmp_path, context, sandbox):
    lock = lock_of("flitty", origin_of(tmp_path, git_projects.FLIT), context)
    changed = dataclasses.replace(lock.sources[0], requires_dist=("iniconfig",))
    with pytest.raises(BuildError, match=r"\+ packaging>=24"):
        build_sources(
            dataclasses.replace(lock, sources=(changed,)),
            make=contained(sandbox, context),
            context=context,
        )


def test_offline_without_the_commit_or_its_build_environment(tmp_path, context, sandbox):
    lock = lock_of("flitty", origin_of(tmp_path, git_projects.FLIT), context)
    other = Store(tmp_path / "other")
    there = git_context(other, runtime=context.runtime, offline=True)
    make = contained(sandbox, there)
    with pytest.raises(NetworkError, match="not on this machine"):
        build_sources(lock, make=make, context=there)
    source = lock.sources[0]
    address = Address.parse(source.repository)
    Mirror(address, store=other, progress=Silent()).content(source.commit)
    with pytest.raises(NetworkError, match="the store lacks flit_core"):
        build_sources(lock, make=make, context=there)


@pytest.mark.parametrize("further", [False, True])
def test_a_git_server_that_refuses_is_met_before_the_base_is_asked(
    tmp_path, store, monkeypatch, further
):
    """A Debian base takes minutes; a repository that is gone is known in a second."""

    def never(*_, **__):
        raise AssertionError("the base was asked first")

    monkeypatch.setattr("envbuilder.resolve.resolve.resolve_base", never)
    gone, there = tmp_path / "gone", origin_of(tmp_path, git_projects.FLIT)
    build = SourceBuild(sources={"more": BuildSource(git=str(gone), branch="main")})
    pin = Package(git=str(there.path if further else gone), branch="main",
                     build=build if further else SourceBuild())  # fmt: skip
    with pytest.raises(ResolutionError, match="there is no git repository"):
        resolve(git_context(store), spec_of("flitty", pin))


def test_what_lies_in_this_machines_usr_local_is_not_seen_by_a_source(tmp_path, context):
    """A version that depends on the CUDA of whoever asks would lock another wheel than is built."""
    files = {
        "setup.py": """\
import os
from setuptools import setup
here = sorted(set(os.listdir("/usr/local")) - {"bin", "lib", "lib64", "include", "share"})
setup(name="looky", version="1.0" + ("+" + here[0].replace("-", ".") if here else ""))
""",
    }
    assert source_of("looky", origin_of(tmp_path, files), context).version == "1.0"
