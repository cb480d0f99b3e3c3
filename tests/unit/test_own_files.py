"""A user's own files: what a spec may say, which are left out, what is locked, what is laid."""

import os
import socket
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from envbuilder.engines.docker import _named
from envbuilder.engines.foundation import Foundation
from envbuilder.engines.own_files import copy_files, may_replace_modules, own_files_layers
from envbuilder.engines.render import render
from envbuilder.evidence.statements import provenance
from envbuilder.layers.below import Below, Owned
from envbuilder.layers.own_files import Entries, entries_of, laid, own_files_layer
from envbuilder.layers.untar import untar
from envbuilder.model.errors import BuildError, LockError, ResolutionError, SpecError
from envbuilder.model.image_spec import OwnFiles
from envbuilder.model.lock import FileTree, LockedFile
from envbuilder.model.lock_diff import compare
from envbuilder.model.own_files import Patterns
from envbuilder.model.pylock import dump_lock, needed_blobs, parse_lock
from envbuilder.model.reference import Digest
from envbuilder.model.spec_file import load
from envbuilder.resolve.debian import unchecked_pyc
from envbuilder.resolve.own_files import check_files, lock_files, project_of, read_tree, take_files
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.unit import locks
from tests.unit.rendered import image as rendered_image

SPEC = """\
version: 1
name: own
python: "3.12"
base: {debian: trixie}
packages: {}
"""


@pytest.mark.parametrize(
    ("patterns", "out", "stays"),
    [
        (["*.pyc"], ["a.pyc", "deep/er/a.pyc"], ["a.py", "a.pyc.txt"]),
        (["/*.pyc"], ["a.pyc"], ["deep/a.pyc"]),
        (["data/*"], ["data/x", "data/x/y"], ["other/data/x"]),
        (["**/raw"], ["raw", "a/b/raw", "a/raw/file"], ["a/raws"]),
        (["a/**/z"], ["a/z", "a/b/c/z"], ["z"]),
        (["__pycache__/"], ["__pycache__/x", "a/__pycache__/x"], ["a/pycache"]),
        (["*", "!keep.txt"], ["a", "b/c"], ["keep.txt"]),
        (["*.log", "!main.log", "main.log"], ["main.log"], ["main.txt"]),
        (["file[0-9].tx?"], ["file1.txt"], ["filea.txt", "file1.t/xt"]),
        (["[^a]"], ["b"], ["a"]),
        ([r"\*"], ["*"], ["a"]),
        (["a.c", "", "  "], ["a.c"], ["abc"]),
    ],
)
def test_patterns(patterns, out, stays):
    found = Patterns(patterns)
    assert [path for path in out if not found.excludes(path)] == []
    assert [path for path in stays if found.excludes(path)] == []


def test_a_folder_is_closed_only_where_no_exception_can_reach_into_it():
    assert Patterns(["data"]).closes("data")
    assert not Patterns(["data", "!data/keep"]).closes("data")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{from: app, to: srv}", "expected an absolute path"),
        ("{from: app, to: /srv/../etc}", "not a plain path"),
        ("{from: app, to: /opt/venv/lib}", "/opt/venv is no place"),
        ("{from: app, to: /usr/share/envbuilder/x}", "no place"),
        ("{from: app, to: /tmp}", "/tmp is no place"),
        ("{from: app, to: /srv, owner: app}", "makes no user 'app'"),
        ('{from: app, to: /srv, owner: "2147483647"}', "beyond 2147483646"),
        ("{from: app, to: /srv, mode: 0644}", "quote it"),
        ('{from: app, to: /srv, mode: "rwx"}', "a file's mode in octal"),
        ("{from: /etc/passwd, to: /srv/x}", "a path of this machine alone"),
        ("{from: app, to: /srv, exclude: ['[z-a]']}", "is no pattern"),
        ("{form: app, to: /srv}", "did you mean from?"),
        ("{to: /srv}", "'from' is missing"),
    ],
)
def test_a_spec_that_cannot_be_meant(tmp_path, entry, message):
    path = tmp_path / "own.yaml"
    path.write_text(SPEC + f"files: [{entry}]\n")
    with pytest.raises(SpecError) as caught:
        load(path)
    assert message in f"{caught.value.message} {caught.value.hint}"
    assert "own.yaml:6:" in caught.value.message


def test_many_entries_are_too_many_layers(tmp_path):
    path = tmp_path / "own.yaml"
    entries = ", ".join(f"{{from: a, to: /srv/{n}}}" for n in range(33))
    path.write_text(SPEC + f"files: [{entries}]\n")
    with pytest.raises(SpecError, match="more than 32 entries"):
        load(path)


# -- what is locked ---------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    app = tmp_path / "app"
    (app / "deep").mkdir(parents=True)
    (app / "empty").mkdir()
    (app / "main.py").write_text("print(1)\n")
    (app / "run.sh").write_text("#!/bin/sh\n")
    (app / "run.sh").chmod(0o775)
    (app / "deep" / "a.pyc").write_bytes(b"x")
    (app / "deep" / "ü n.txt").write_text("text")
    (app / "link").symlink_to("deep/ü n.txt")
    return tmp_path


def entry(to: str = "/srv/app", source: str = "app/", **more: object) -> OwnFiles:
    return OwnFiles(from_=source, to=to, **more)


def test_a_folder_is_read_in_a_fixed_order_without_what_is_left_out(project):
    tree = read_tree(entry(exclude=("*.pyc",)), folder=project)
    assert tree.into == "/srv/app"
    assert [(file.path, file.executable, file.link) for file in tree.files] == [
        ("deep/ü n.txt", False, None),
        ("link", False, "deep/ü n.txt"),
        ("main.py", False, None),
        ("run.sh", True, None),
    ]
    assert tree.files[2].sha256 == Digest.of(b"print(1)\n")


@pytest.mark.parametrize(
    ("to", "place"),
    [
        ("/srv/chat.jinja", ("/srv", "chat.jinja")),
        ("/srv/", ("/srv", "main.py")),
        ("/x", ("/", "x")),
    ],
)
def test_one_file_gets_the_name_that_the_place_has(project, to, place):
    tree = read_tree(entry(to, "app/main.py"), folder=project)
    assert (tree.into, tree.files[0].path) == place


def test_what_no_image_can_hold_is_refused(project, monkeypatch):
    app = project / "app"
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(app)  # a socket's path is short
        server.bind("sock")
        with pytest.raises(ResolutionError, match="sock is a socket"):
            read_tree(entry(), folder=project)
    (app / "sock").unlink()
    os.mkfifo(app / "pipe")
    with pytest.raises(ResolutionError, match="pipe is a pipe"):
        read_tree(entry(), folder=project)
    assert read_tree(entry(exclude=("pipe",)), folder=project).files


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret", "deep/../../secret"])
def test_a_link_out_of_the_folder_is_refused(project, target):
    (project / "app" / "out").symlink_to(target)
    with pytest.raises(ResolutionError, match=r"out is a link to .*, out of"):
        read_tree(entry(), folder=project)


def test_a_link_to_itself_leads_nowhere_and_stays(project):
    (project / "app" / "loop").symlink_to("loop")
    assert "loop" in {file.path for file in read_tree(entry(), folder=project).files}


@pytest.mark.parametrize("name", ["a\nb", ".wh.main.py", os.fsdecode(b"caf\xe9")])
def test_names_that_mean_something_else_in_a_layer(project, name):
    (project / "app" / name).write_text("x")
    with pytest.raises(ResolutionError, match=r"control|UTF-8|begins with"):
        read_tree(entry(), folder=project)


def test_what_is_named_must_be_there_and_inside_of_the_project(project):
    with pytest.raises(ResolutionError, match="is not there"):
        read_tree(entry(source="ap"), folder=project)
    with pytest.raises(ResolutionError, match="link is a link"):
        read_tree(entry(source="app/link"), folder=project)
    with pytest.raises(ResolutionError, match="outside of the project"):
        read_tree(entry(source="../main.py"), folder=project / "app" / "deep")
    with pytest.raises(ResolutionError, match="holds the spec itself"):
        read_tree(entry(source="."), folder=project)
    with pytest.raises(ResolutionError, match="holds no file"):
        read_tree(entry(source="app/empty"), folder=project)


def test_the_project_is_the_work_tree_around_the_spec(tmp_path):
    (tmp_path / "lockfiles").mkdir()
    assert project_of(tmp_path / "lockfiles") == tmp_path.resolve()
    deep = tmp_path / "deploy" / "gpu"
    deep.mkdir(parents=True)
    assert project_of(deep) == deep.resolve()
    (tmp_path / ".git").mkdir()
    assert project_of(deep) == tmp_path.resolve()


def locked(project: Path, store: Store, *entries: str, **spec: object):
    plain = [{"from": each.partition(" ")[0], "to": each.partition(" ")[2]} for each in entries]
    lock = locks.lock({}, files=plain, **spec)
    trees = lock_files(context(store), lock.spec, folder=project)
    return locks.replace_files(lock, trees)


def test_the_lock_holds_the_files_and_says_which_changed(project, tmp_path):
    store = Store(tmp_path / "store")
    lock = locked(project, store, "app/ /srv/app", "app/main.py /srv/main.py")
    assert parse_lock(dump_lock(lock)) == lock
    assert Digest.of(b"print(1)\n") in needed_blobs(lock)
    assert all(store.has(each) for each in needed_blobs(lock))
    check_files(lock, project)

    (project / "app" / "main.py").write_text("print(2)\n")
    (project / "app" / "new.py").write_text("")
    (project / "app" / "run.sh").unlink()
    with pytest.raises(LockError) as caught:
        check_files(lock, project)
    for line in ("app: main.py changed", "app: new.py is new", "app: run.sh is gone",
                 "app/main.py: main.py changed"):  # fmt: skip
        assert line in caught.value.message
    assert "envbuilder lock x" in caught.value.hint
    after = locked(project, store, "app/ /srv/app", "app/main.py /srv/main.py")
    moved = {change.name: change.kind for change in compare(lock, after)}
    assert moved == dict.fromkeys(
        ["/srv/app/main.py", "/srv/app/new.py", "/srv/app/run.sh", "/srv/main.py"], "file"
    )


def test_the_executable_bit_counts(project, tmp_path):
    lock = locked(project, Store(tmp_path / "store"), "app/ /srv/app")
    (project / "app" / "main.py").chmod(0o755)
    with pytest.raises(LockError, match=r"main\.py changed"):
        check_files(lock, project)


def test_without_the_folder_the_store_will_do_and_with_it_the_store_is_filled(project, tmp_path):
    lock = locked(project, Store(tmp_path / "one"), "app/ /srv/app")
    other = Store(tmp_path / "two")
    take_files(context(other), lock, project)
    assert all(other.has(each) for each in needed_blobs(lock))
    (project / "app").rename(project / "gone")
    take_files(context(Store(tmp_path / "three")), lock, project)


def test_a_lock_of_before_the_files_is_stale(tmp_path):
    lock = locks.lock({}, files=[{"from": "app", "to": "/srv"}])
    with pytest.raises(LockError, match="lacks the spec's files"):
        check_files(lock, tmp_path)


def test_all_that_cannot_be_used_is_listed_at_once(project, tmp_path):
    with pytest.raises(ResolutionError) as caught:
        locked(project, Store(tmp_path / "store"), "one /srv/one", "two /srv/two")
    assert "files[0]" in caught.value.message
    assert "files[1]" in caught.value.message


# -- what is laid -----------------------------------------------------------------------------


def members(store: Store, layer) -> dict[str, tarfile.TarInfo]:
    with untar(store.path(layer.digest), layer.media_type, layer.diff_id) as tar:
        return {each.info.name.rstrip("/"): each.info for each in tar.entries()}


def file(path: str, content: bytes = b"x", **more: object) -> LockedFile:
    return LockedFile(path=path, size=len(content), sha256=Digest.of(content), **more)


PLACES = Below(
    folders={
        "root": Owned(mode=0o700),
        "srv": Owned(mode=0o755),
        "usr": Owned(mode=0o755),
        "usr/bin": Owned(mode=0o755),
    },
    links={"bin": "usr/bin", "round": "/round"},
)


def test_folders_that_are_there_stay_and_new_ones_are_the_owners(tmp_path):
    store = Store(tmp_path)
    store.add(b"x")
    tree = FileTree(into="/root/a/b", files=(file("c/f", executable=True), file("g", link="c/f")))
    layer = own_files_layer(
        store, entries_of(tree, PLACES, owner=(1000, 2000), mode=None), title="files"
    )
    found = members(store, layer)
    assert list(found) == ["root/a", "root/a/b", "root/a/b/c", "root/a/b/c/f", "root/a/b/g"]
    assert {(each.uid, each.gid, each.mtime) for each in found.values()} == {
        (1000, 2000, 946684800)
    }
    modes = [each.mode for each in found.values()]
    assert modes == [0o755, 0o755, 0o755, 0o755, 0o777]
    assert found["root/a/b/g"].linkname == "c/f"


def test_a_mode_is_that_of_every_file_and_of_no_folder(tmp_path):
    store = Store(tmp_path)
    store.add(b"x")
    tree = FileTree(into="/srv", files=(file("d/f", executable=True),))
    layer = own_files_layer(store, entries_of(tree, PLACES, owner=(0, 0), mode=0o600), title="t")
    assert [each.mode for each in members(store, layer).values()] == [0o755, 0o600]


def test_a_place_behind_a_link_means_what_the_link_points_to():
    tree = FileTree(into="/bin", files=(file("tool"),))
    assert list(entries_of(tree, PLACES, owner=(0, 0), mode=None).files) == ["usr/bin/tool"]


@pytest.mark.parametrize(
    ("into", "path", "message"),
    [
        ("/", "bin/tool", "has a link there"),
        ("/", "srv", "has a folder there"),
        ("/round/x", "f", "in a circle"),
    ],
)
def test_what_would_break_the_base_is_refused(into, path, message):
    with pytest.raises(BuildError, match=message):
        entries_of(FileTree(into=into, files=(file(path),)), PLACES, owner=(0, 0), mode=None)


# -- bytecode of what is replaced -------------------------------------------------------------

PYTHON, CACHE = "usr/lib/python3", "usr/lib/python3/__pycache__"
COMPILED = (
    f"{CACHE}/linked.cpython-311.pyc",
    f"{CACHE}/other.cpython-311.pyc",
    f"{CACHE}/sitecustomize.cpython-311.pyc",
    f"{CACHE}/this.cpython-311.opt-1.pyc",
    f"{CACHE}/this.cpython-311.pyc",
)
LINKS = {
    "lib": "usr/lib",
    f"{PYTHON}/sitecustomize.py": "../../../etc/python3/sitecustomize.py",
    f"{PYTHON}/linked.py": "../../../etc/alternatives/linked.py",
    "etc/alternatives/linked.py": "../../usr/share/linked.py",
}
REPLACING = {
    "a module": ("/usr/lib/python3", {"this.py": None}, {"this"}),
    "behind a link": ("/lib/python3", {"this.py": None}, {"this"}),
    "from the root": ("/", {"usr/lib/python3/this.py": None}, {"this"}),
    "what a link leads to": ("/etc/python3", {"sitecustomize.py": None}, {"sitecustomize"}),
    "a link": ("/usr/lib/python3", {"sitecustomize.py": None}, {"sitecustomize"}),
    "a link on the way": ("/etc/alternatives", {"linked.py": None}, {"linked"}),
    "the end of two links": ("/usr/share", {"linked.py": None}, {"linked"}),
    "not any more": ("/etc/python3", {"this.py": None}, set()),
    "by a link": ("/usr/lib/python3", {"this.py": "other.py"}, {"this"}),
    "no module": ("/usr/lib/python3", {"this.txt": None}, set()),
    "another": ("/srv", {"this.py": None}, set()),
    "with bytecode": (
        "/usr/lib/python3",
        {"this.py": None, "__pycache__/this.cpython-311.pyc": None},
        {"this.cpython-311.opt-1"},
    ),
}


def base_in(folder: Path) -> Below:
    """Make a base with compiled modules in ``folder``; return what a look at it would say."""
    for path in (*COMPILED, f"{PYTHON}/this.py", f"{PYTHON}/other.py", "usr/share/linked.py",
                 "etc/python3/sitecustomize.py", "srv/empty"):  # fmt: skip
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("base")
    for path, target in LINKS.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to(target)
    folders = {
        path.relative_to(folder).as_posix(): Owned(mode=0o755)
        for path in folder.rglob("*")
        if path.is_dir() and not path.is_symlink()
    }
    return Below(folders=folders, links=LINKS, bytecode=COMPILED)


def copied_in(folder: Path, into: str, files: Mapping[str, str | None]) -> set[str]:
    """Lay ``files`` there as the rendered Dockerfile does; return what bytecode then goes."""
    source = folder.with_name("files")
    for root in (source / "1", folder / into.lstrip("/")):
        for path, link in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).unlink(missing_ok=True)
            if link is None:
                (root / path).write_text("own")
            else:
                (root / path).symlink_to(link)
    before = set(folder.rglob("*.pyc"))
    place = str(folder / into.lstrip("/"))
    unchecked_pyc.drop_replaced(str(folder), set(unchecked_pyc.copied(f"{source}/", [place])))
    return {path.relative_to(folder).as_posix() for path in before - set(folder.rglob("*.pyc"))}


@pytest.mark.parametrize("case", REPLACING)
def test_both_engines_remove_the_bytecode_of_modules_that_are_replaced(case, tmp_path):
    into, files, names = REPLACING[case]
    places = base_in(tmp_path / "base")
    tree = FileTree(into=into, files=tuple(file(path, link=to) for path, to in files.items()))
    found = entries_of(tree, places, owner=(0, 0), mode=None)
    wanted = {path for path in COMPILED if any(f"/{name}." in path for name in names)}
    assert found.removed == wanted
    assert copied_in(tmp_path / "base", into, files) == wanted


def test_the_layer_removes_it_and_is_another_layer(tmp_path):
    store = Store(tmp_path / "store")
    store.add(b"x")
    tree = FileTree(into=f"/{PYTHON}", files=(file("this.py"),))
    places = base_in(tmp_path / "base")
    plain = replace(places, bytecode=())
    layers = [
        own_files_layer(store, entries_of(tree, each, owner=(5, 6), mode=None), title="files")
        for each in (places, plain)
    ]
    assert list(members(store, layers[0])) == [
        f"{CACHE}/.wh.this.cpython-311.opt-1.pyc",
        f"{CACHE}/.wh.this.cpython-311.pyc",
        f"{PYTHON}/this.py",
    ]
    assert list(members(store, layers[1])) == [f"{PYTHON}/this.py"]


def test_an_entry_lies_on_those_before_it(tmp_path):
    places = base_in(tmp_path / "base")

    def lay(path: str, **more: object) -> Entries:
        nonlocal places
        tree = FileTree(into=f"/{PYTHON}", files=(file(path, **more),))
        found = entries_of(tree, places, owner=(0, 0), mode=None)
        places = laid(places, found)
        return found

    mine = "__pycache__/this.cpython-311.pyc"
    assert lay(mine).removed == set()
    assert lay("this.py").removed == {f"{CACHE}/this.cpython-311.opt-1.pyc"}, "ours stays"
    assert lay("this.py").removed == set(), "it is gone already"
    lay("current", link="releases")
    assert places.real(f"/{PYTHON}/current/one") == f"{PYTHON}/releases/one"
    lay("sitecustomize.py")
    assert places.real(f"/{PYTHON}/sitecustomize.py") == f"{PYTHON}/sitecustomize.py"


def test_bytecode_of_links_in_a_circle_is_let_be():
    path = f"{CACHE}/round.cpython-311.pyc"
    places = Below(
        folders=PLACES.folders, links={f"{PYTHON}/round.py": "round.py"}, bytecode=(path,)
    )
    tree = FileTree(into="/srv", files=(file("a.py"),))
    assert entries_of(tree, places, owner=(0, 0), mode=None).removed == set()


@pytest.mark.parametrize(
    ("into", "path", "more", "may"),
    [
        ("/usr/lib/python3.11", "this.py", {}, True),
        ("/etc", "python3.11/sitecustomize.py", {}, True),
        ("/usr/lib/python3.11", "this.txt", {}, False),
        ("/srv/app", "usr/this.py", {}, False),
        ("/srv/app", "this.py", {"steps": {"before_python": ["true"]}}, True),
        ("/srv/app", "this.txt", {"steps": {"before_python": ["true"]}}, False),
        ("/srv/app", "this.py", {"base": {"image": "registry.example.org/base:1"}}, True),
    ],
)
def test_the_dockerfile_looks_for_bytecode_where_there_may_be_some(into, path, more, may):
    made = locks.lock({}, files=[{"from": "app/", "to": into}], **more)
    if "base" in more:
        made = replace(made, base=rendered_image().base)
    made = replace(made, files=(FileTree(into=into, files=(file(path),)),))
    files = render(made)
    assert may_replace_modules(made) is may
    assert ("--replaced" in files["Dockerfile"]) is may
    if may:
        assert "build/unchecked_pyc.py" in files
        titles = [title for _, title, _ in _named(made, 9)]
        assert titles.index("replaced modules") == titles.index(f"files {into.rstrip('/')}") + 1


def test_entries_lie_in_the_order_of_the_spec_and_each_is_a_layer(project, tmp_path):
    store = Store(tmp_path / "store")
    lock = locked(project, store, "app/ /srv/app", "app/main.py /srv/app/deep/main.py")
    first, second = own_files_layers(context(store), lock, Foundation(layers=()))
    assert (first.title, first.kind) == ("files /srv/app", "files")
    assert list(members(store, second)) == ["srv/app/deep/main.py"]
    assert own_files_layers(context(store), lock, Foundation(layers=())) == (first, second)


def test_a_rendered_folder_holds_them_as_they_were_locked(project, tmp_path):
    store = Store(tmp_path / "store")
    lock = locked(project, store, "app/ /srv/app")
    copy_files(lock, tmp_path / "out", store=store)
    copy_files(lock, tmp_path / "out", store=store)
    made = tmp_path / "out" / "files" / "1"
    assert (made / "link").readlink() == Path("deep/ü n.txt")
    assert (made / "main.py").read_text() == "print(1)\n"
    assert (made / "run.sh").stat().st_mode & 0o777 == 0o755
    with pytest.raises(BuildError, match="is not in the store"):
        copy_files(lock, tmp_path / "other", store=Store(tmp_path / "empty"))


def test_the_provenance_names_each_by_its_hash(project, tmp_path):
    lock = locked(project, Store(tmp_path / "store"), "app/ /srv/app")
    moment = "2026-01-02T03:04:05Z"
    found = provenance(lock, Digest.of(b"image"), engine="embedded", finished=moment).predicate
    inputs = found["buildDefinition"]["resolvedDependencies"]
    digests = {entry["name"]: entry["digest"]["sha256"] for entry in inputs}
    assert digests["/srv/app/main.py"] == Digest.of(b"print(1)\n").hex
