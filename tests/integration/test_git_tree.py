"""Commits written out as folders: exactly their files, and nothing that a hostile tree wants."""

from __future__ import annotations

import hashlib
import os
import subprocess
import zlib
from pathlib import Path

import pytest

from envbuilder.layers import bounds
from envbuilder.model.errors import BuildError, EnvbuilderError, ResolutionError
from envbuilder.model.git_url import Address
from envbuilder.model.package_spec import GitPackage
from envbuilder.model.progress import Silent
from envbuilder.resolve.git.checkout import Checkout
from envbuilder.resolve.git.mirror import Mirror
from envbuilder.resolve.git.project import read_project
from envbuilder.resolve.git.tree import Commit, export
from envbuilder.storage.store import Store
from tests.contexts import git_context
from tests.servers.git import git_http
from tests.servers.git_repositories import BORN, Origin

pytestmark = pytest.mark.integration


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def origin(tmp_path) -> Origin:
    return Origin.create(tmp_path / "proj")


def opener(store: Store):
    return lambda address: Mirror(address, store=store, progress=Silent())


def commit_of(url: str, commit: str, store: Store) -> Commit:
    repository = opener(store)(Address.parse(url)).content(commit)
    return Commit(repository=repository, commit=commit, time=BORN)


def exported(url: str, commit: str, store: Store, folder: Path, *, submodules=False) -> Path:
    export(commit_of(url, commit, store), folder, open_mirror=opener(store), submodules=submodules)
    return folder


def snapshot(folder: Path) -> dict:
    found = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        content = (
            str(path.readlink()) if path.is_symlink() else path.is_file() and path.read_bytes()
        )
        found[str(path.relative_to(folder))] = (oct(facts.st_mode), facts.st_mtime, content)
    return found


def test_a_commit_is_written_out_as_it_is_whatever_umask_and_configuration(
    origin, store, tmp_path, monkeypatch
):
    files = {
        "a.txt": "line\n", "mixed.bin": b"a\r\nb\n", "sub/ignored.txt": "$Format:%H$",
        ".gitattributes": "*.txt text eol=crlf export-subst export-ignore\n",
        "naïve ünï.py": "x", "empty": "",
    }  # fmt: skip
    (origin.path / "run.sh").write_text("#!/bin/sh\n")
    (origin.path / "run.sh").chmod(0o755)
    (origin.path / "link").symlink_to("sub/ignored.txt")
    commit = origin.commit(files)
    one = snapshot(exported(str(origin.path), commit, store, tmp_path / "one"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.autocrlf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    old = os.umask(0o077)
    try:
        two = snapshot(exported(str(origin.path), commit, store, tmp_path / "two"))
    finally:
        os.umask(old)
    assert one == two
    assert one["mixed.bin"] == ("0o100644", BORN, b"a\r\nb\n")
    assert one["a.txt"][2] == b"line\n"
    assert one["sub/ignored.txt"][2] == b"$Format:%H$"
    assert one["run.sh"][0] == "0o100755"
    assert one["link"][2] == "sub/ignored.txt"
    assert one["sub"][:2] == ("0o40755", BORN)
    assert not any(name.startswith(".git/") or name == ".git" for name in one)


def test_submodules_within_submodules(tmp_path, store):
    served = tmp_path / "served"
    third = Origin.create(served / "third")
    third.commit({"deep.txt": "3"})
    second = Origin.create(served / "second")
    second.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../third", "in")
    second.commit({"mid.txt": "2"})
    first = Origin.create(served / "first")
    first.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../second", "in")
    commit = first.commit({"top.txt": "1"})
    with git_http(served) as server:
        for path in ("first", "second", "third"):
            (served / f"{path}.git").symlink_to(served / path / ".git")
        for each in (second, first):
            text = (each.path / ".gitmodules").read_text()
            each.commit({".gitmodules": text.replace("../second", "../second.git")
                         .replace("../third", "../third.git")})  # fmt: skip
        first.git("-C", "in", "fetch", "-q")
        first.git("-C", "in", "checkout", "-q", "origin/main")
        commit = first.commit()
        folder = exported(
            server.address("first.git"), commit, store, tmp_path / "out", submodules=True
        )
        assert (folder / "in/in/deep.txt").read_text() == "3"
        bare = exported(server.address("first.git"), commit, store, tmp_path / "bare")
        assert list((bare / "in").iterdir()) == []


def tree(origin: Origin, *entries: tuple[str, str, str]) -> str:
    """Write a tree object byte by byte, also one that git would never make; commit it."""
    body = b"".join(
        f"{mode} {name}".encode() + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries
    )
    arguments = ("hash-object", "-t", "tree", "--literally", "-w", "--stdin")
    made = origin.git(*arguments, stdin=body)
    commit = origin.git("commit-tree", made, "-m", "hostile")
    origin.git("update-ref", "refs/heads/hostile", commit)
    return commit


def blob(origin: Origin, content: bytes) -> str:
    return origin.git("hash-object", "-w", "--stdin", stdin=content)


def with_modules(origin: Origin, mode: str, modules: str) -> str:
    """Commit a submodule ``sub`` and a ``.gitmodules`` of this mode and content."""
    content = blob(origin, modules.encode())
    entries = f"160000 commit {'1' * 40}\tsub\n{mode} blob {content}\t.gitmodules\n"
    made = origin.git("mktree", stdin=entries.encode())
    commit = origin.git("commit-tree", made, "-m", "hostile")
    origin.git("update-ref", "refs/heads/hostile", commit)
    return commit


@pytest.mark.parametrize("name", ["..", ".", ".git", ".GIT"])
def test_a_tree_that_climbs_out_or_hides_git_is_refused(origin, store, tmp_path, name):
    inner = origin.git("mktree", stdin=f"100644 blob {blob(origin, b'x')}\tevil.txt\n".encode())
    commit = tree(origin, ("40000", name, inner))
    with pytest.raises(EnvbuilderError):
        exported(str(origin.path), commit, store, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_link_with_files_below_it_is_refused(origin, store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    inner = origin.git("mktree", stdin=f"100644 blob {blob(origin, b'x')}\tevil.txt\n".encode())
    link = blob(origin, str(outside).encode())
    commit = tree(origin, ("120000", "d", link), ("40000", "d", inner))
    with pytest.raises(ResolutionError, match="is refused"):
        exported(str(origin.path), commit, store, tmp_path / "out")
    assert list(outside.iterdir()) == []


def test_a_submodule_below_a_link_is_refused(origin, store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    inner = origin.git("mktree", stdin=f"160000 commit {'1' * 40}\tsub\n".encode())
    link = blob(origin, str(outside).encode())
    commit = tree(origin, ("120000", "d", link), ("40000", "d", inner))
    with pytest.raises(ResolutionError, match="below a file, link or submodule"):
        exported(str(origin.path), commit, store, tmp_path / "out", submodules=True)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[build-system]\nrequires = "setuptools"', "is no list of texts"),
        ("[build-system]\nrequires = [1]", "is no list of texts"),
        ('[build-system]\nrequires = []\nbackend-path = "src"', "is no list of texts"),
        ("build-system = 1", "cannot be read"),
        ("[build-system", "cannot be read"),
        ("a = " + "[" * 5000, "cannot be read"),
    ],
)
def test_a_pyproject_that_makes_no_sense_is_refused_in_words(origin, store, text, said):
    commit = commit_of(str(origin.path), origin.commit({"pyproject.toml": text}), store)
    with pytest.raises(ResolutionError, match=said):
        read_project(commit, subdirectory=None)


def checkout(origin: Origin, commit: str, store: Store, folder: Path) -> None:
    """Write the commit out as for a build whose version comes from tags."""
    pin = GitPackage(git=str(origin.path), commit=commit)
    context = git_context(store)
    found = commit_of(str(origin.path), commit, store)
    Checkout(tree=found, pin=pin, described="v1.0-0-g0").write(folder, context)


def test_the_version_is_written_into_the_folder_and_through_no_link(origin, store, tmp_path):
    outside = tmp_path / "bashrc"
    outside.write_text("mine")
    (origin.path / ".git_archival.txt").symlink_to(outside)
    commit = origin.commit()
    checkout(origin, commit, store, tmp_path / "out")
    assert outside.read_text() == "mine"
    written = tmp_path / "out" / ".git_archival.txt"
    assert not written.is_symlink()
    assert written.read_text() == f"node: {commit}\ndescribe-name: v1.0-0-g0\n"


def test_a_folder_in_the_place_of_the_version_is_refused(origin, store, tmp_path):
    commit = origin.commit({".git_archival.txt/a": "x"})
    with pytest.raises(ResolutionError, match=r"has a folder \.git_archival\.txt"):
        checkout(origin, commit, store, tmp_path / "out")


@pytest.mark.parametrize("url", ["/etc", "--upload-pack=touch /tmp/x", "ext::sh -c id"])
def test_a_submodule_with_a_hostile_address(tmp_path, store, url):
    served = tmp_path / "served"
    origin = Origin.create(served / "proj")
    modules = f'[submodule "x"]\n\tpath = sub\n\turl = {url}\n'
    commit = with_modules(origin, "100644", modules)
    with git_http(served) as server, pytest.raises(EnvbuilderError):
        exported(server.address("proj/.git"), commit, store, tmp_path / "out", submodules=True)


def test_gitmodules_that_is_a_link_is_not_followed(origin, store, tmp_path):
    secret = tmp_path / "modules"
    secret.write_text('[submodule "x"]\n\tpath = sub\n\turl = /srv/secret\n')
    commit = with_modules(origin, "120000", str(secret))
    with pytest.raises(ResolutionError, match=r"whose address \.gitmodules does not tell"):
        exported(str(origin.path), commit, store, tmp_path / "out", submodules=True)


def test_includes_in_gitmodules_are_not_read(origin, store, tmp_path):
    secret = tmp_path / "included"
    secret.write_text('[submodule "x"]\n\tpath = sub\n\turl = /srv/secret\n')
    modules = f"[include]\n\tpath = {secret}\n"
    commit = with_modules(origin, "100644", modules)
    with pytest.raises(ResolutionError, match="does not tell"):
        exported(str(origin.path), commit, store, tmp_path / "out", submodules=True)


def test_a_damaged_mirror_is_noticed(origin, store, tmp_path):
    commit = origin.commit({"a.txt": "right"})
    place = commit_of(str(origin.path), commit, store).repository.path
    name = hashlib.sha1(b"blob 5\0right").hexdigest()
    loose = place / "objects" / name[:2] / name[2:]
    if not loose.exists():
        for pack in place.glob("objects/pack/*.pack"):
            moved = tmp_path / pack.name
            pack.rename(moved)
            pack.with_suffix(".idx").unlink()
            with moved.open("rb") as stream:
                subprocess.run(
                    ["git", "-C", place, "unpack-objects", "-q"], stdin=stream, check=True
                )
    loose.chmod(0o644)
    loose.write_bytes(zlib.compress(b"blob 5\0wrong"))
    with pytest.raises(BuildError, match="is damaged at"):
        exported(str(origin.path), commit, store, tmp_path / "out")


def levels(origin: Origin, bottom: tuple[str, str, str], *, count: int) -> str:
    """Commit trees of ten trees each, ``count`` levels of them: ten to that power of ``bottom``."""
    entries = [bottom]
    for _ in range(count):
        body = b"".join(
            f"{mode} {name}".encode() + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries
        )
        made = origin.git("hash-object", "-t", "tree", "-w", "--stdin", stdin=body)
        entries = [("40000", str(number), made) for number in range(10)]
    return tree(origin, *entries)


@pytest.mark.parametrize("kind", ["files", "folders"])
def test_trees_of_trees_are_refused(origin, store, tmp_path, kind):
    empty = origin.git("hash-object", "-t", "tree", "-w", "--stdin")
    bottom = ("100644", "f", blob(origin, b"")) if kind == "files" else ("40000", "d", empty)
    commit = levels(origin, bottom, count=10)
    with pytest.raises(ResolutionError, match=f"commit {commit} .*more members than any honest"):
        exported(str(origin.path), commit, store, tmp_path / "out")


def test_a_file_that_inflates_to_far_too_much_is_refused(origin, store, tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "FLOOR", 1 << 20)
    commit = origin.commit({"zeros": bytes(64 << 20)})
    with pytest.raises(ResolutionError, match="it inflates to more than 100 times its size"):
        exported(str(origin.path), commit, store, tmp_path / "out")


def test_a_pyproject_of_megabytes_is_refused(origin, store):
    commit = commit_of(str(origin.path), origin.commit({"pyproject.toml": bytes(5 << 20)}), store)
    with pytest.raises(ResolutionError, match=r"'pyproject\.toml' has 5242880 bytes, more than"):
        read_project(commit, subdirectory=None)


def test_a_folder_in_the_place_of_a_file_is_none(origin, store):
    commit = commit_of(str(origin.path), origin.commit({"setup.py/a": "", "a/b.txt": "b"}), store)
    assert commit.read("setup.py") is None
    assert commit.read("a/b.txt") == b"b"


def test_far_too_many_submodules_are_refused(tmp_path, store, monkeypatch):
    monkeypatch.setattr("envbuilder.resolve.git.tree._MOST", 3)
    served = tmp_path / "served"
    inner = Origin.create(served / "inner.git")
    link = inner.commit({"file": "1"})
    outer = Origin.create(served / "outer.git")
    up = "../.."
    modules = "".join(
        f'[submodule "{n}"]\npath = s{n}\nurl = {up}/inner.git/.git\n' for n in range(4)
    )
    entries = [("100644", ".gitmodules", blob(outer, modules.encode()))]
    commit = tree(outer, *entries, *[("160000", f"s{n}", link) for n in range(4)])
    with git_http(served) as server:
        url = server.address("outer.git/.git")
        with pytest.raises(ResolutionError, match="more than 3 submodules"):
            exported(url, commit, store, tmp_path / "out", submodules=True)
