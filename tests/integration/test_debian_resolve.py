"""apt in its private root, against a signed archive on loopback that changes and breaks."""

import shutil
from dataclasses import replace

import pytest

from envbuilder.model.errors import MissingToolError, NetworkError, ResolutionError
from envbuilder.model.reference import Digest
from envbuilder.resolve.debian.apt import PrivateApt, run_apt
from envbuilder.resolve.debian.debs import fetch_debs
from envbuilder.resolve.debian.packages import resolve_debs
from envbuilder.resolve.debian.system_python import find_distributions
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.servers.debian import METADATA, Deb, Signer, debian_mirror

pytestmark = pytest.mark.integration

ESSENTIAL = {"Essential": "yes", "Priority": "required"}
APT = Deb(name="apt", fields={"Priority": "important"})
BASE = Deb(name="base", fields={**ESSENTIAL, "Pre-Depends": "libbase"})
LIBBASE = Deb(name="libbase")
TOOL = Deb(name="tool", fields={"Depends": "libtool-data (>= 1)", "Recommends": "tool-doc"})
DATA = Deb(name="libtool-data")
DOC = Deb(name="tool-doc")
STANDARD = [APT, BASE, LIBBASE, TOOL, DATA, DOC]


@pytest.fixture
def mirror(tmp_path):
    with debian_mirror(tmp_path / "debian") as mirror:
        mirror.publish("trixie", STANDARD)
        yield mirror


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def solve(mirror, store):
    def solve(*packages, suites=("trixie",), archives=None, held=()):
        return resolve_debs(
            packages,
            architecture="amd64",
            archives=archives or [mirror.archive(*suites)],
            store=store,
            held=held,
        )

    return solve


def versions(debs):
    return {deb.name: deb.version for deb in debs}


def test_takes_essential_packages_and_dependencies_and_nothing_else(solve, store):
    debs = solve("tool")
    assert versions(debs) == dict.fromkeys(["base", "libbase", "libtool-data", "tool"], "1.0")
    assert list(debs) == sorted(debs)
    assert not list((store.root / "tmp").iterdir())


def test_describes_each_file_by_pool_path_size_and_hash(solve, mirror):
    for deb in solve("tool"):
        content = (mirror.root / deb.filename).read_bytes()
        assert (deb.size, deb.sha256) == (len(content), Digest.of(content))


def test_a_version_with_an_epoch_is_told_as_the_archive_writes_it(solve, mirror):
    odd = Deb(name="libodd2.0++", version="1:2.0~rc1+b1-3")
    mirror.publish("trixie", [*STANDARD, odd])
    assert versions(solve(odd.name))[odd.name] == odd.version


def test_takes_the_newest_version_of_all_pockets(solve, mirror):
    mirror.publish("trixie-updates", [replace(TOOL, version="1.1")])
    assert versions(solve("tool", suites=("trixie", "trixie-updates")))["tool"] == "1.1"


def test_a_held_version_stays_while_the_archive_has_it(solve, mirror):
    held = solve("tool")
    mirror.publish("trixie-updates", [replace(TOOL, version="1.1")])
    assert solve("tool", suites=("trixie", "trixie-updates"), held=held) == held


def test_a_held_version_that_is_gone_gives_way(solve, mirror):
    held = solve("tool")
    mirror.publish("trixie", [*STANDARD[:3], replace(TOOL, version="2.0"), DATA, DOC])
    assert versions(solve("tool", held=held)) == versions(held) | {"tool": "2.0"}


def test_only_the_held_versions_that_stand_in_the_way_give_way(solve, mirror):
    held = solve("tool")
    newer = Deb(name="libtool-dev", version="2", fields={"Depends": "libtool-data (= 2)"})
    updates = [newer, replace(DATA, version="2"), replace(LIBBASE, version="2")]
    mirror.publish("trixie-updates", updates)
    found = solve("tool", "libtool-dev", suites=("trixie", "trixie-updates"), held=held)
    assert versions(found) == versions(held) | {"libtool-data": "2", "libtool-dev": "2"}


def test_a_version_may_be_asked_for(solve, mirror):
    mirror.publish("trixie-updates", [replace(TOOL, version="1.1")])
    found = solve("tool=1.0", suites=("trixie", "trixie-updates"))
    assert versions(found)["tool"] == "1.0"


def test_an_unknown_package_is_named_with_near_ones(solve):
    with pytest.raises(ResolutionError, match="no package 'toool'") as caught:
        solve("toool")
    assert "tool" in caught.value.hint


def test_a_name_is_never_taken_for_a_pattern(solve):
    with pytest.raises(ResolutionError, match=r"no package 'too\.'"):
        solve("too.")


def test_an_unknown_version_is_named_with_those_there_are(solve):
    with pytest.raises(ResolutionError, match=r"no version 9 of tool") as caught:
        solve("tool=9")
    assert "1.0" in caught.value.hint


def test_a_conflict_says_who_wants_what(solve, mirror):
    mirror.publish("trixie", [*STANDARD, Deb(name="rival", fields={"Conflicts": "tool"})])
    with pytest.raises(ResolutionError, match="rival : Conflicts: tool"):
        solve("tool", "rival")


def test_an_unknown_suite_is_named(solve):
    with pytest.raises(ResolutionError, match="nosuch"):
        solve("tool", suites=("nosuch",))


def test_a_missing_key_is_named_with_the_command_that_installs_it(solve, mirror):
    stranger = Signer()
    try:
        with pytest.raises(MissingToolError, match="lacks the key") as caught:
            solve("tool", archives=[mirror.archive("trixie", signed_by=stranger.public)])
    finally:
        stranger.end()
    assert "debian-archive-keyring" in caught.value.hint


def test_a_forged_index_is_refused(solve, mirror):
    index = mirror.root / "dists/trixie/main/binary-amd64/Packages"
    index.write_text(index.read_text().replace("Version: 1.0", "Version: 6.6", 1))
    with pytest.raises(ResolutionError, match="not what Debian signed") as caught:
        solve("tool")
    assert "do not trust that mirror" in caught.value.hint


def test_a_forged_release_is_refused(solve, mirror):
    release = mirror.root / "dists/trixie/InRelease"
    release.write_text(release.read_text().replace("Label: Debian", "Label: Debiam"))
    with pytest.raises(ResolutionError, match="signatures were invalid"):
        solve("tool")


def test_no_signature_is_no_answer(solve, mirror):
    release = mirror.root / "dists/trixie/InRelease"
    text = release.read_text().split("\n\n", 1)[1].partition("-----BEGIN PGP SIGNATURE")[0]
    release.unlink()
    release.with_name("Release").write_text(text)
    with pytest.raises(ResolutionError, match="is not signed"):
        solve("tool")


def test_a_page_that_wants_a_login_is_the_networks(solve, mirror):
    (mirror.root / "dists/trixie/InRelease").write_text("<html>Welcome to the hotel</html>")
    with pytest.raises(NetworkError, match="cannot read the package lists"):
        solve("tool")


def test_no_mirror_that_answers_is_a_network_error(solve, mirror, closed):
    gone = replace(mirror.archive("trixie"), uri=closed)
    with pytest.raises(NetworkError, match="onnect"):
        solve("tool", archives=[gone])


def test_no_apt_is_one_clear_sentence(solve, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingToolError, match="apt is not installed"):
        solve("tool")


def fetch(debs, archives, store):
    fetch_debs(context(store), debs, archives=archives)


def test_fetches_what_the_store_lacks(solve, mirror, store):
    debs = solve("tool")
    fetch(debs, [mirror.archive("trixie")], store)
    assert all(store.has(deb.sha256) for deb in debs)
    shutil.rmtree(mirror.root)
    fetch(debs, [mirror.archive("trixie")], store)


def test_fetches_from_the_archive_that_has_the_file(solve, mirror, store):
    security = mirror.root / "security"
    debs = solve("tool")
    shutil.copytree(mirror.root / "pool", security / "pool/updates")
    shutil.rmtree(mirror.root / "pool")
    moved = [replace(d, filename=d.filename.replace("pool/", "pool/updates/")) for d in debs]
    archives = [
        mirror.archive("trixie"),
        replace(mirror.archive("trixie-security"), uri=f"{mirror.uri}/security"),
    ]
    fetch(moved, archives, store)
    assert all(store.has(deb.sha256) for deb in debs)


def test_a_changed_file_is_refused_and_named(solve, mirror, store):
    debs = solve("tool")
    tool = next(deb for deb in debs if deb.name == "tool")
    file = mirror.root / tool.filename
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ResolutionError, match=r"not what the lock says for tool 1\.0"):
        fetch(debs, [mirror.archive("trixie")], store)
    assert not store.has(tool.sha256)


def test_a_file_that_is_gone_is_named_with_the_way_out(solve, mirror, store):
    debs = solve("tool")
    tool = next(deb for deb in debs if deb.name == "tool")
    (mirror.root / tool.filename).unlink()
    with pytest.raises(ResolutionError, match=r"no mirror has tool 1\.0") as caught:
        fetch(debs, [mirror.archive("trixie")], store)
    assert "snapshot" in caught.value.hint


def test_a_mirror_that_does_not_answer_is_a_network_error(solve, mirror, store, closed):
    gone = replace(mirror.archive("trixie"), uri=closed)
    with pytest.raises(NetworkError, match="cannot download"):
        fetch(solve("tool"), [gone], store)


def test_lists_the_python_distributions_that_the_files_hold(solve, mirror, store):
    folder = "usr/lib/python3/dist-packages"
    new = METADATA.format(name="New_Style", version="1.2+debian")
    old = METADATA.format(name="old", version="3")
    files = {
        f"{folder}/new_style-1.2.dist-info/METADATA": new,
        f"{folder}/old-3.egg-info": old,
        f"{folder}/old/vendored-9.dist-info/METADATA": METADATA.format(name="hidden", version="9"),
    }
    mirror.publish("trixie", [*STANDARD, Deb(name="python3-new", files=files)])
    debs = solve("tool", "python3-new")
    fetch(debs, [mirror.archive("trixie")], store)
    found = find_distributions(debs, store=store)
    assert [(each.name, each.version) for each in found] == [
        ("new-style", "1.2+debian"),
        ("old", "3"),
    ]


def test_leaves_the_host_alone(mirror, tmp_path):
    PrivateApt(tmp_path, architecture="amd64", archives=[mirror.archive("trixie")])
    said = run_apt("apt-config", "-c", str(tmp_path / "apt.conf"), "dump", "--format", "%f=%v%n")
    settings = dict(line.split("=", 1) for line in said.stdout.splitlines())
    for place in ("State", "State::lists", "State::status", "Cache", "Etc::sourcelist"):
        assert settings[f"Dir::{place}"].startswith(str(tmp_path))
    hooks = [name for name, value in settings.items() if "Invoke" in name and value]
    assert not [name for name in hooks if name.startswith("APT::Update::")]
