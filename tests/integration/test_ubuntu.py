"""Ubuntu suites as bases: the same ways as Debian's, against a signed archive on loopback."""

import pytest

from envbuilder.engines.foundation import fetch_base
from envbuilder.engines.render import render
from envbuilder.evidence.sbom import sbom
from envbuilder.model.errors import MissingToolError, ResolutionError
from envbuilder.model.lock import DebianBase, Lock
from envbuilder.model.lock_diff import compare
from envbuilder.model.pylock import dump_lock, parse_lock
from envbuilder.model.reference import Digest
from envbuilder.model.system_plan import system_plan
from envbuilder.resolve.debian.archives import debian_archives
from envbuilder.resolve.debian.distribution import DEBIAN, UBUNTU
from envbuilder.resolve.debian.system_layers import _key
from envbuilder.resolve.resolve import resolve
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.servers.debian import Deb, Signer, debian_mirror
from tests.unit import locks

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("told_nothing")]

ESSENTIAL = {"Essential": "yes", "Priority": "required"}
NOBLE = [
    Deb(name="base", fields=ESSENTIAL),
    Deb(name="libc6", version="2.39-0ubuntu8"),
    Deb(name="python3.12", version="3.12.3-1ubuntu0.5"),
    Deb(name="tool", version="1.0"),
]


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    with debian_mirror(tmp_path / "ubuntu") as mirror:
        mirror.publish("noble", NOBLE)
        mirror.publish("noble-updates", [])
        mirror.publish("noble-security", [Deb(name="tool", version="1.1")])
        monkeypatch.setenv(UBUNTU.mirror, mirror.uri)
        monkeypatch.setenv(UBUNTU.keyring_variable, str(mirror.signer.public))
        yield mirror


def ubuntu(**more) -> Lock:
    system = {"packages": ["python3.12", "libc6", "tool"]}
    return locks.lock({}, base={"ubuntu": "noble"}, system=system, **more)


def test_a_suite_is_locked_with_its_security_pocket(mirror, tmp_path):
    store = Store(tmp_path / "store")
    lock = resolve(context(store), ubuntu().spec)
    assert isinstance(lock.base, DebianBase)
    assert (lock.base.distribution, lock.base.suite) == ("ubuntu", "noble")
    versions = {deb.name: deb.version for deb in lock.base.packages}
    assert versions == {
        "base": "1.0", "libc6": "2.39-0ubuntu8", "python3.12": "3.12.3-1ubuntu0.5", "tool": "1.1",
    }  # fmt: skip
    assert parse_lock(dump_lock(lock)) == lock
    assert mirror.uri not in dump_lock(lock)
    other = Store(tmp_path / "other")
    fetch_base(context(other), lock)
    assert all(other.has(deb.sha256) for deb in lock.base.packages)


def test_what_is_said_of_it_names_ubuntu(mirror, tmp_path):  # noqa: ARG001
    lock = resolve(context(Store(tmp_path / "store")), ubuntu().spec)
    assert isinstance(lock.base, DebianBase)
    assert all(group.title.startswith("Ubuntu noble: ") for group in system_plan(lock.base))
    debian = DebianBase(suite="noble", packages=lock.base.packages)
    assert _key(lock.base, "amd64") != _key(debian, "amd64")
    assert "FROM ubuntu:noble AS bootstrap" in render(lock)["Dockerfile"]
    components = sbom(lock, Digest.of(b""), finished="2025-01-01T00:00:00+00:00").predicate
    purls = {each.get("purl", "") for each in components["components"]}
    assert "pkg:deb/ubuntu/tool@1.1?arch=amd64&distro=ubuntu-24.04" in purls
    change = next(each for each in compare(locks.lock({}), lock) if each.kind == "base")
    assert (change.old, change.new) == ("debian:trixie", "ubuntu:noble")


def test_another_key_is_refused_with_the_keyring_to_name(mirror, tmp_path, monkeypatch):  # noqa: ARG001
    stranger = Signer()
    try:
        monkeypatch.setenv(UBUNTU.keyring_variable, str(stranger.public))
        with pytest.raises(MissingToolError, match="signs the Ubuntu archive") as caught:
            resolve(context(Store(tmp_path / "store")), ubuntu().spec)
    finally:
        stranger.end()
    assert "ubuntu-keyring" in caught.value.hint
    assert UBUNTU.keyring_variable in caught.value.hint


def test_an_unknown_package_or_suite(mirror, tmp_path):  # noqa: ARG001
    store = Store(tmp_path / "store")
    with pytest.raises(ResolutionError, match="the Ubuntu archive has no package 'tol'"):
        resolve(context(store), locks.lock({}, base={"ubuntu": "noble"},
                                           system={"packages": ["tol"]}).spec)  # fmt: skip
    with pytest.raises(ResolutionError, match="does not hold the suite") as caught:
        resolve(context(store), locks.lock({}, base={"ubuntu": "nobel"}).spec)
    assert "base: ubuntu:" in caught.value.hint


SOURCES = """\
Types: deb
URIs: http://mirror.example/ubuntu/
Suites: jammy jammy-updates jammy-security
Components: main restricted universe

Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
"""


def test_each_takes_its_own_of_the_machines_sources(tmp_path, monkeypatch):
    monkeypatch.delenv(UBUNTU.mirror, raising=False)
    monkeypatch.delenv(DEBIAN.mirror, raising=False)
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "a.sources").write_text(SOURCES)
    (ours,) = debian_archives("noble", etc=tmp_path, of=UBUNTU)
    assert (ours.uri, ours.suites) == (
        "http://mirror.example/ubuntu", ("noble", "noble-updates", "noble-security"),
    )  # fmt: skip
    (theirs,) = debian_archives("trixie", etc=tmp_path)
    assert theirs.uri == "http://mirror.example/debian"


def test_two_mirrors_and_none(tmp_path, monkeypatch):
    monkeypatch.setenv(UBUNTU.mirror, "http://a.example/x http://b.example/y")
    archive, security = debian_archives("noble", etc=tmp_path, of=UBUNTU)
    assert archive.suites == ("noble", "noble-updates")
    assert archive.components == ("main", "universe")
    assert (security.uri, security.suites) == ("http://b.example/y", ("noble-security",))
    monkeypatch.setenv(UBUNTU.mirror, "")
    with pytest.raises(MissingToolError, match="no mirror of the Ubuntu archive") as caught:
        debian_archives("noble", etc=tmp_path, of=UBUNTU)
    assert UBUNTU.mirror in caught.value.hint
