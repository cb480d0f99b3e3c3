"""Which mirrors this machine's apt sources name for a suite: formats, pockets, strangers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.model.errors import MissingToolError, UsageError
from envbuilder.resolve.debian.archives import (
    MIRROR_VARIABLE,
    AptSource,
    Archive,
    debian_archives,
    for_suite,
    mirror_sources,
    parse_deb822,
    parse_one_line,
    read_sources,
)

BOOKWORM = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
# between
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
Check-Valid-Until: no
"""


@pytest.fixture(autouse=True)
def _no_mirror_in_the_environment(monkeypatch):
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)


def test_takes_the_archive_and_its_pockets_with_the_suite_replaced():
    archive, security = for_suite("trixie", list(parse_deb822(BOOKWORM)))
    assert (archive.uri, archive.suites) == (
        "http://mirror.example/debian",
        ("trixie", "trixie-updates"),
    )
    assert security.suites == ("trixie-security",)
    assert (archive.security, security.security) == (False, True)
    assert (archive.fresh, security.fresh) == (True, False)


def test_a_rolling_suite_has_no_pockets():
    (archive,) = for_suite("sid", list(parse_deb822(BOOKWORM)))
    assert archive.suites == ("sid",)


def test_reads_one_line_sources_with_options():
    text = """\
    # deb http://off.example/debian bookworm main
    deb [signed-by=/a.gpg,/b.gpg arch=amd64] http://mirror.example/debian/ bookworm main contrib # x
    deb-src http://mirror.example/debian bookworm main
    deb cdrom:[Debian] bookworm main
    """
    source, cdrom = parse_one_line(text)
    assert source == AptSource(
        uris=("http://mirror.example/debian",),
        suites=("bookworm",),
        components=("main", "contrib"),
        options={"signed-by": "/a.gpg /b.gpg", "arch": "amd64"},
    )
    assert cdrom.uris == ("cdrom:[Debian]",)


def test_joins_entries_for_one_mirror():
    text = """\
    deb http://mirror.example/debian bookworm main
    deb http://mirror.example/debian bookworm contrib main
    deb http://mirror.example/debian bookworm-updates main
    """
    (archive,) = for_suite("bookworm", list(parse_one_line(text)))
    assert archive.suites == ("bookworm", "bookworm-updates")
    assert archive.components == ("main", "contrib")


@pytest.mark.parametrize(
    "line",
    [
        "deb https://download.example/linux/debian bookworm stable",
        "deb https://packages.example/apt bookworm main",
        "deb http://archive.example/ubuntu noble main",
        "deb http://mirror.example/debian bookworm-backports main",
        "deb http://mirror.example/debian bookworm contrib",
    ],
)
def test_other_repositories_are_not_the_archive(line):
    assert for_suite("trixie", list(parse_one_line(line))) == ()


def test_the_archive_s_key_tells_it_under_any_path():
    line = "deb [signed-by=/k/debian-archive-keyring.gpg] http://m.example/x bookworm main"
    (archive,) = for_suite("trixie", list(parse_one_line(line)))
    assert archive.uri == "http://m.example/x"


def test_a_disabled_stanza_is_off():
    text = BOOKWORM.replace("Types: deb deb-src", "Types: deb deb-src\nEnabled: no")
    (source,) = parse_deb822(text)
    assert source.suites == ("bookworm-security",)


def test_an_embedded_key_stays_whole():
    key = "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----"
    stanza = (
        "Types: deb\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main\n"
        f"Signed-By:{key}\n"
    )
    (archive,) = for_suite("trixie", list(parse_deb822(stanza)))
    assert archive.signed_by == key
    assert f"Signed-By: {key}\n" in archive.deb822()


def test_a_mirror_list_is_read(tmp_path):
    listed = tmp_path / "debian.list"
    listed.write_text(
        "# mirrors\nhttps://one.example/debian\tpriority:1\nhttps://two.example/debian/\n"
    )
    line = f"deb mirror+file:{listed} bookworm main"
    found = for_suite("bookworm", list(parse_one_line(line)))
    assert [archive.uri for archive in found] == [
        "https://one.example/debian",
        "https://two.example/debian",
    ]


def test_a_snapshot_is_allowed_to_be_old():
    (archive,) = for_suite(
        "trixie", mirror_sources("http://s.example/archive/debian/20250520T000000Z/")
    )
    assert not archive.fresh
    assert "Check-Valid-Until: no" in archive.deb822()


def test_the_environment_goes_before_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv(MIRROR_VARIABLE, "http://a.example/x http://b.example/y")
    archive, security = debian_archives("trixie", etc=tmp_path)
    assert (archive.uri, archive.suites) == ("http://a.example/x", ("trixie", "trixie-updates"))
    assert (security.uri, security.suites) == ("http://b.example/y", ("trixie-security",))


def test_three_mirrors_in_the_environment_are_one_too_many():
    with pytest.raises(UsageError, match="3 URIs"):
        mirror_sources("http://a http://b http://c")


def test_no_mirror_anywhere_says_how_to_name_one(tmp_path):
    with pytest.raises(MissingToolError, match="trixie") as caught:
        debian_archives("trixie", etc=tmp_path)
    assert MIRROR_VARIABLE in caught.value.hint


def test_reads_all_files_of_etc(tmp_path):
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (tmp_path / "sources.list").write_text("deb http://one.example/debian bookworm main\n")
    (folder / "b.list").write_text("deb http://two.example/debian bookworm main\n")
    (folder / "a.sources").write_text(BOOKWORM)
    (folder / "c.list.save").write_text("deb http://old.example/debian bookworm main\n")
    assert [source.uris[0] for source in read_sources(tmp_path)] == [
        "http://one.example/debian",
        "http://two.example/debian",
        "http://mirror.example/debian",
        "http://mirror.example/debian-security",
    ]


WORD = st.from_regex(r"[a-z0-9]([a-z0-9./:+-]*[a-z0-9])?", fullmatch=True)


@given(st.text())
def test_any_text_is_read_without_a_crash(text):
    for_suite("trixie", [*parse_one_line(text), *parse_deb822(text)])


@given(WORD, st.lists(WORD, min_size=1), st.lists(WORD, min_size=1), st.booleans())
def test_a_stanza_that_we_write_is_read_back(uri, suites, components, fresh):
    archive = Archive(
        uri=uri,
        suites=tuple(suites),
        components=tuple(components),
        signed_by="/a.gpg",
        fresh=fresh,
    )
    (source,) = parse_deb822(archive.deb822())
    assert (source.uris, source.suites) == ((uri,), tuple(suites))
    assert source.components == tuple(components)
    assert source.options["signed-by"] == "/a.gpg"
    assert source.options.get("check-valid-until", "yes") == ("yes" if fresh else "no")
