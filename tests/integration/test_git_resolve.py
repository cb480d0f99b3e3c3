"""Pins of a spec against real git servers: what is found, what is refused, what crosses over."""

from __future__ import annotations

import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from envbuilder.model.errors import NetworkError, ResolutionError
from envbuilder.model.git_url import Address
from envbuilder.model.lock import GitSource
from envbuilder.model.package_spec import GitPackage
from envbuilder.model.progress import Silent
from envbuilder.resolve.git import stall_timeout
from envbuilder.resolve.git.mirror import Mirror
from envbuilder.resolve.git.refs import Revision, resolve_git
from envbuilder.storage.store import Store
from tests.servers.git import GitHttp, git_daemon, git_http
from tests.servers.git_repositories import BORN, Origin

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _no_user_configuration(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    (tmp_path / "home").mkdir()


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def origin(tmp_path) -> Origin:
    return Origin.create(tmp_path / "served" / "proj")


@pytest.fixture
def server(tmp_path, origin):  # noqa: ARG001 - what it serves
    with git_http(tmp_path / "served") as running:
        yield running


def mirror_of(url: str, store: Store, **more) -> Mirror:
    return Mirror(Address.parse(url), store=store, progress=Silent(), **more)


def resolve(url: str, store: Store, *, locked: GitSource | None = None, **pin) -> Revision:
    package = GitPackage(git=url, **pin)
    return resolve_git("proj", package, mirror=mirror_of(url, store), locked=locked)


def locked_at(url: str, revision: Revision) -> GitSource:
    return GitSource(
        name="proj",
        version="1",
        repository=url,
        requested=revision.requested,
        commit=revision.commit,
        tree=revision.tree,
        requires=(),
    )


@pytest.mark.parametrize("annotated", [True, False])
def test_a_tag_gives_its_commit_tree_and_time(origin, server, store, annotated):
    commit = origin.commit({"a.txt": "1"})
    origin.tag("v1.0", annotated=annotated)
    origin.commit({"a.txt": "2"})
    found = resolve(server.address("proj/.git"), store, tag="v1.0")
    tree = origin.git("rev-parse", f"{commit}^{{tree}}")
    assert found == Revision(requested="v1.0", commit=commit, tree=tree, time=BORN + 60)


def test_a_branch_gives_its_tip_and_keeps_a_locked_commit_while_it_grows(origin, server, store):
    url = server.address("proj/.git")
    first = origin.commit({"a.txt": "1"})
    found = resolve(url, store, branch="main")
    assert found.commit == first
    second = origin.commit({"a.txt": "2"})
    assert resolve(url, store, branch="main", locked=locked_at(url, found)).commit == first
    assert resolve(url, store, branch="main").commit == second


def test_a_rewritten_branch_is_told_with_both_commits(origin, server, store):
    url = server.address("proj/.git")
    origin.commit({"a.txt": "1"})
    lost = origin.commit({"a.txt": "2"})
    found = resolve(url, store, branch="main")
    origin.git("reset", "--hard", "HEAD~1")
    tip = origin.commit({"a.txt": "3"})
    with pytest.raises(ResolutionError, match="was rewritten") as error:
        resolve(url, store, branch="main", locked=locked_at(url, found))
    assert lost in error.value.message
    assert tip in error.value.message
    assert "--upgrade-package proj" in error.value.hint


def test_a_moved_tag_is_told_with_both_commits(origin, server, store):
    url = server.address("proj/.git")
    origin.commit({"a.txt": "1"})
    origin.tag("v1.0")
    found = resolve(url, store, tag="v1.0")
    moved = origin.commit({"a.txt": "2"})
    origin.tag("v1.0", force=True)
    with pytest.raises(ResolutionError, match=r"tag v1\.0 of .* moved") as error:
        resolve(url, store, tag="v1.0", locked=locked_at(url, found))
    assert found.commit in error.value.message
    assert moved in error.value.message


@pytest.mark.parametrize("digits", [8, 40])
def test_a_rewritten_branch_is_told_of_a_pinned_commit_too(origin, server, store, digits):
    url = server.address("proj/.git")
    origin.commit({"a.txt": "1"})
    lost = origin.commit({"a.txt": "2"})
    pin = {"branch": "main", "commit": lost[:digits]}
    found = resolve(url, store, **pin)
    origin.git("reset", "--hard", "HEAD~1")
    tip = origin.commit({"a.txt": "3"})
    with pytest.raises(ResolutionError, match="was rewritten") as error:
        resolve(url, store, **pin, locked=locked_at(url, found))
    assert lost in error.value.message
    assert tip in error.value.message


@pytest.mark.parametrize("held", [True, False])
def test_a_tag_that_is_gone_is_told_with_the_commit_that_it_named(origin, server, store, held):
    url = server.address("proj/.git")
    origin.commit({"a.txt": "1"})
    if not held:
        origin.git("checkout", "--quiet", "--detach")
    commit = origin.commit({"a.txt": "2"})
    origin.tag("v1.0")
    found = resolve(url, store, tag="v1.0")
    origin.git("tag", "--delete", "v1.0")
    with pytest.raises(ResolutionError, match=r"tag v1\.0 of .* is gone") as error:
        resolve(url, store, tag="v1.0", locked=locked_at(url, found))
    assert commit in error.value.message
    assert (f"commit: {commit}" in error.value.hint) is held


def test_a_tag_that_names_another_commit_than_the_spec(origin, server, store):
    other = origin.commit({"a.txt": "1"})
    origin.commit({"a.txt": "2"})
    origin.tag("v1.0")
    with pytest.raises(ResolutionError, match=f"names commit .*, the spec says {other[:10]}"):
        resolve(server.address("proj/.git"), store, tag="v1.0", commit=other[:10])


def test_a_missing_tag_names_the_near_ones(origin, server, store):
    origin.commit({"a.txt": "1"})
    origin.tag("v4.51.3-preview")
    with pytest.raises(ResolutionError, match=r"has no tag v4\.51\.3-prview") as error:
        resolve(server.address("proj/.git"), store, tag="v4.51.3-prview")
    assert error.value.hint == "did you mean v4.51.3-preview?"


def test_a_tag_of_a_tree_is_no_pin(origin, server, store):
    origin.commit({"a.txt": "1"})
    origin.git("tag", "files", "HEAD^{tree}")
    with pytest.raises(ResolutionError, match="names a tree, not a commit"):
        resolve(server.address("proj/.git"), store, tag="files")


def test_a_short_commit_is_found_on_its_branch(origin, server, store):
    wanted = origin.commit({"a.txt": "1"})
    origin.commit({"a.txt": "2"})
    found = resolve(server.address("proj/.git"), store, branch="main", commit=wanted[:10])
    assert (found.commit, found.requested) == (wanted, wanted[:10])


def test_a_commit_that_lies_on_another_branch(origin, server, store):
    origin.commit({"a.txt": "1"})
    origin.git("checkout", "--quiet", "-b", "other")
    wanted = origin.commit({"a.txt": "2"})
    origin.git("checkout", "--quiet", "main")
    origin.commit({"a.txt": "3"})
    for commit in (wanted, wanted[:8]):
        with pytest.raises(ResolutionError, match=r"does not contain commit .*; it is on other"):
            resolve(server.address("proj/.git"), store, branch="main", commit=commit)


def test_an_ambiguous_commit_lists_the_candidates(origin, server, store):
    base = origin.commit({"a.txt": "1"})
    twins = _twins(origin, base)
    for number, commit in enumerate(twins):
        origin.git("branch", f"twin-{number}", commit)
    short = twins[0][:7]
    with pytest.raises(ResolutionError, match=r"is ambiguous on .*, 2 commits begin so") as error:
        resolve(server.address("proj/.git"), store, commit=short)
    assert all(commit in error.value.message for commit in twins)
    chosen = resolve(server.address("proj/.git"), store, commit=short, branch="twin-1")
    assert chosen.commit == twins[1]


def _twins(origin: Origin, base: str) -> tuple[str, str]:
    """Make two commits whose ids share seven digits: about 20 000 tries, hashed in here."""
    import hashlib

    tree = origin.git("rev-parse", f"{base}^{{tree}}")
    seen: dict[str, bytes] = {}
    for number in range(1_000_000):
        who = f"A <a@example.org> {BORN} +0000"
        body = f"tree {tree}\nparent {base}\nauthor {who}\ncommitter {who}\n\n{number}\n".encode()
        name = hashlib.sha1(b"commit %d\0" % len(body) + body).hexdigest()
        if (other := seen.setdefault(name[:7], body)) is not body:
            make = [origin.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=each)
                    for each in (other, body)]  # fmt: skip
            return make[0], make[1]
    raise AssertionError("no twins")


def test_a_commit_that_no_branch_holds_is_refused_although_the_server_has_it(origin, server, store):
    origin.commit({"a.txt": "1"})
    orphan = origin.commit({"a.txt": "2"})
    origin.git("reset", "--hard", "HEAD~1")
    with pytest.raises(ResolutionError, match=f"no branch or tag of .* holds commit {orphan}"):
        resolve(server.address("proj/.git"), store, commit=orphan)
    with pytest.raises(ResolutionError, match=f"no commit on .* begins with {orphan[:9]}"):
        resolve(server.address("proj/.git"), store, commit=orphan[:9])


def test_a_full_commit_without_ref(origin, server, store):
    wanted = origin.commit({"a.txt": "1"})
    origin.commit({"a.txt": "2"})
    assert resolve(server.address("proj/.git"), store, commit=wanted).commit == wanted


@pytest.mark.parametrize("filters", [True, False])
@pytest.mark.parametrize("protocol_2", [True, False])
def test_servers_of_every_kind(tmp_path, store, filters, protocol_2):
    origin = Origin.create(tmp_path / "served" / "proj", filters=filters)
    wanted = origin.commit({"a.txt": "1"})
    for number in range(3):
        origin.commit({"a.txt": str(number)})
    with git_http(tmp_path / "served") as server:
        server.protocol_2 = protocol_2
        found = resolve(server.address("proj/.git"), store, branch="main", commit=wanted[:10])
    assert found.commit == wanted


def test_git_daemon_local_path_and_file_url(tmp_path, origin, store):
    wanted = origin.commit({"a.txt": "1"})
    origin.commit({"a.txt": "2"})
    with git_daemon(tmp_path / "served") as url:
        assert resolve(f"{url}/proj", store, branch="main", commit=wanted[:9]).commit == wanted
    for place in (str(origin.path), f"file://{origin.path}"):
        assert resolve(place, store, branch="main", commit=wanted[:9]).commit == wanted


def test_a_repository_with_sha256_ids(tmp_path, store):
    path = tmp_path / "served" / "proj"
    subprocess.run(["git", "init", "-q", "-b", "main", "--object-format=sha256", path], check=True)
    origin = Origin(path=path)
    wanted = origin.commit({"a.txt": "1"})
    origin.commit({"a.txt": "2"})
    with git_http(tmp_path / "served") as server:
        found = resolve(server.address("proj/.git"), store, branch="main", commit=wanted[:12])
    assert found.commit == wanted
    assert len(found.tree) == 64


def test_a_warm_mirror_answers_offline_and_fetches_nothing_twice(origin, server, store):
    url = server.address("proj/.git")
    wanted = origin.commit({"a.txt": "1"})
    origin.commit({"a.txt": "2"})
    pin = GitPackage(git=url, branch="main", commit=wanted[:10])
    first = resolve_git("proj", pin, mirror=mirror_of(url, store))
    server.requests.clear()
    assert resolve_git("proj", pin, mirror=mirror_of(url, store)) == first
    assert not any("git-upload-pack" in line and "GET" in line for line in server.requests[1:])
    server.requests.clear()
    assert resolve_git("proj", pin, mirror=mirror_of(url, store, offline=True)) == first
    assert server.requests == []


def test_offline_without_a_mirror_says_so(server, store):
    mirror = mirror_of(server.address("proj/.git"), store, offline=True)
    with pytest.raises(NetworkError, match="--offline forbids"):
        resolve_git("proj", GitPackage(git="x", tag="v1"), mirror=mirror)


def test_a_login_comes_from_gits_own_helper_and_is_kept_nowhere(origin, server, store, tmp_path):
    wanted = origin.commit({"a.txt": "1"})
    server.login = ("me", "s3cret-word")
    url = server.address("proj/.git")
    with pytest.raises(NetworkError, match="refused our login") as error:
        resolve(url, store, branch="main")
    assert "credential helper" in error.value.hint
    helper = '!f() { echo username=me; echo "password=s3cret-word"; }; f'
    _configure(tmp_path, "credential.helper", helper)
    assert resolve(url, store, branch="main").commit == wanted
    kept = [path for path in store.root.rglob("*") if path.is_file()]
    assert kept
    assert not any(b"s3cret-word" in path.read_bytes() for path in kept)


def test_instead_of_rewrites_the_address_but_not_the_mirror(origin, server, store, tmp_path):
    wanted = origin.commit({"a.txt": "1"})
    _configure(tmp_path, f"url.{server.url}/.insteadOf", "https://git.example.org/")
    found = resolve("https://git.example.org/proj/.git", store, branch="main", commit=wanted)
    assert found.commit == wanted


def _configure(tmp_path: Path, key: str, value: str) -> None:
    file = tmp_path / "home" / ".gitconfig"
    subprocess.run(["git", "config", "--file", file, key, value], check=True)


def test_a_repository_that_is_gone(server, store):
    with pytest.raises(ResolutionError, match="there is no git repository at"):
        resolve(server.address("nothing.git"), store, branch="main")


def test_a_server_that_is_not_there(store):
    with pytest.raises(NetworkError, match=r"cannot reach http://127\.0\.0\.1:9/x\.git"):
        resolve("http://127.0.0.1:9/x.git", store, branch="main")


def test_a_broken_transfer_leaves_a_mirror_that_the_next_run_completes(
    origin, server: GitHttp, store
):
    import os

    url = server.address("proj/.git")
    wanted = origin.commit({"big.bin": os.urandom(300_000)})
    server.break_after = 100_000
    with pytest.raises(NetworkError):
        resolve(url, store, branch="main")
    server.break_after = None
    for name in ("shallow.lock", "config.lock"):
        (mirror_of(url, store).path / "content.git" / name).touch()
    assert resolve(url, store, branch="main").commit == wanted


def test_one_may_go_ahead_with_the_last_answer_and_learns_whether_it_still_holds(
    origin, server, store
):
    url = server.address("proj/.git")
    first = origin.commit()
    assert mirror_of(url, store, ahead=True).refs.heads == {"main": first}  # there is none yet
    same = mirror_of(url, store, ahead=True)
    assert same.refs.heads == {"main": first}
    assert same.confirmed()
    second = origin.commit()
    outdated = mirror_of(url, store, ahead=True)
    assert outdated.refs.heads == {"main": first}
    assert not outdated.confirmed()
    right = mirror_of(url, store, ahead=True)
    assert right.refs.heads == {"main": second}
    assert right.confirmed()
    server.login = ("nobody", "may")
    refused = mirror_of(url, store, ahead=True)
    assert refused.refs.heads == {"main": second}
    with pytest.raises(NetworkError, match="refused our login"):
        refused.confirmed()


def test_a_fetch_tells_how_many_objects_have_come(origin, server, store):
    commit = origin.commit({f"{number}.txt": str(number) for number in range(40)})
    seen = Counting()
    address = Address.parse(server.address("proj/.git"))
    Mirror(address, store=store, progress=seen).content(commit)
    assert seen.steps == {"proj: receiving objects": (42, 42)}  # files, their tree, the commit


class Counting(Silent):
    """A Progress that adds up the steps which know their end."""

    def __init__(self):
        self.steps: dict[str, tuple[int, int]] = {}
        self.now = ""

    @contextmanager
    def step(self, phase, title, *, total=None, unit="bytes"):  # noqa: ARG002 - the protocol's
        outer, self.now = self.now, title if total else self.now
        if total:
            self.steps[title] = (total, 0)
        yield self
        self.now = outer

    def advance(self, amount):
        total, done = self.steps[self.now]
        self.steps[self.now] = (total, done + amount)


def test_a_cold_pin_costs_no_more_than_one_commit_and_the_bare_history(origin, server, store):
    import os

    for number in range(20):
        origin.commit({f"big-{number % 2}.bin": os.urandom(100_000)})
    wanted = origin.git("rev-parse", "HEAD~3")
    resolve(server.address("proj/.git"), store, branch="main", commit=wanted[:10])
    assert server.sent < 230_000  # two files of 100 kB; the whole history is 2 MB
    server.sent = 0
    resolve(server.address("proj/.git"), store, branch="main")
    assert server.sent < 230_000


@pytest.mark.parametrize("address", ["git+ssh://git@host.example{path}", "git@host.example:{path}"])
def test_ssh_goes_by_the_users_own_ssh(origin, store, tmp_path, monkeypatch, address):
    wanted = origin.commit({"a.txt": "1"})
    ssh = tmp_path / "ssh"
    ssh.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\nfor last; do :; done\nsh -c "$last"\n'
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    url = address.format(path=origin.path)
    assert resolve(url, store, branch="main").commit == wanted
    assert "git@host.example git-upload-pack" in (tmp_path / "calls").read_text()


@pytest.mark.parametrize("address", ["git://127.0.0.1:{port}/x", "ssh://git@127.0.0.1:{port}/x"])
def test_a_server_that_never_says_a_word(store, monkeypatch, address):
    monkeypatch.setattr(stall_timeout, "LONGEST", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = address.format(port=silent.getsockname()[1])
        with pytest.raises(NetworkError, match=r"cannot reach .*: not a word from it"):
            resolve(url, store, branch="main")


def test_ssh_asks_nobody_on_the_terminal(origin, store, tmp_path, monkeypatch):
    origin.commit({"a.txt": "1"})
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\nenv >{tmp_path}/environment\nexit 1\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    monkeypatch.delenv("SSH_ASKPASS", raising=False)
    with pytest.raises((NetworkError, ResolutionError)):
        resolve(f"ssh://git@host.example{origin.path}", store, branch="main")
    environment = (tmp_path / "environment").read_text().splitlines()
    assert {"SSH_ASKPASS=false", "SSH_ASKPASS_REQUIRE=force"} <= {*environment}


def test_a_git_hook_that_calls_us_does_not_lead_us_astray(origin, server, store, monkeypatch):
    wanted = origin.commit({"a.txt": "1"})
    for name in ("GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.setenv(name, "/nonexistent")
    found = resolve(server.address("proj/.git"), store, branch="main", commit=wanted[:10])
    assert found.commit == wanted


def test_no_program_of_the_users_configuration_runs_but_helpers_and_ssh(
    origin, server, store, tmp_path
):
    origin.commit({"a.txt": "1"})
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("reference-transaction", "post-checkout", "post-update"):
        (hooks / name).symlink_to(trap)
    _configure(tmp_path, "core.hooksPath", str(hooks))
    _configure(tmp_path, "core.fsmonitor", str(trap))
    _configure(tmp_path, "protocol.ext.allow", "always")
    _configure(tmp_path, "url.ext::sh -c touch% /tmp/sprung.insteadOf", "https://evil.example/")
    resolve(server.address("proj/.git"), store, branch="main")
    with pytest.raises((NetworkError, ResolutionError), match="transport 'ext' not allowed"):
        resolve("https://evil.example/x.git", store, branch="main")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("protocol_2", [True, False])
def test_a_locked_commit_that_the_server_lost(origin, server, store, protocol_2):
    origin.commit({"a.txt": "1"})
    server.protocol_2 = protocol_2
    gone = "0123456789" * 4
    mirror = mirror_of(server.address("proj/.git"), store)
    with pytest.raises(ResolutionError, match=f"has no commit {gone} any more"):
        mirror.content(gone)
