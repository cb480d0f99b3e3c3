import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.model.errors import SpecError
from envbuilder.model.git_url import Address

COMMIT = "a" * 40


@pytest.mark.parametrize(
    ("text", "address", "local", "slug"),
    [
        ("https://github.com/org/proj.git", "https://github.com/org/proj.git", False, "proj"),
        ("git+https://h/org/proj", "https://h/org/proj", False, "proj"),
        ("HTTPS://h/proj/", "https://h/proj/", False, "proj"),
        ("https://h:8443/p.git", "https://h:8443/p.git", False, "p"),
        ("ssh://git@h:22/p.git", "ssh://git@h:22/p.git", False, "p"),
        ("git@github.com:org/proj.git", "git@github.com:org/proj.git", False, "proj"),
        ("git://[::1]:9418/p", "git://[::1]:9418/p", False, "p"),
        ("/srv/git/proj/.git", "file:///srv/git/proj/.git", True, "proj"),
        ("/srv/a b/proj", "file:///srv/a%20b/proj", True, "proj"),
        ("file:///srv/proj.git", "file:///srv/proj.git", True, "proj"),
    ],
)
def test_addresses_that_git_may_have(text, address, local, slug):
    found = Address.parse(text)
    assert (found.text, found.local, found.slug) == (address, local, slug)


def test_a_relative_path_counts_from_the_spec(tmp_path):
    found = Address.parse("../proj", base=tmp_path / "lockfiles")
    assert found.text == (tmp_path / "proj").as_uri()


@pytest.mark.parametrize(
    "text",
    [
        "--upload-pack=touch /tmp/x",
        "-oProxyCommand=x",
        "ext::sh -c touch% /tmp/x",
        "fd::17",
        "ftp://h/p.git",
        "ssh://-oProxyCommand=x/p",
        "ssh://-oProxyCommand=x@h/p",
        "-x@h:p",
        "git@-oProxyCommand=x:p",
        "https:///p.git",
        "https://h\n/p.git",
        "proj",
        "",
        "C:\\proj\0",
    ],
)
def test_what_git_would_take_for_something_else_is_refused(text):
    with pytest.raises(SpecError):
        Address.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://me:s3cret@h/p.git",
        "https://s3cret@h/p.git",
        "git+https://s3cret@h/p.git",
        "http://s3cret@h:8080/p.git",
        "git://s3cret@h/p.git",
        "ssh://git:s3cret@h/p.git",
        "ftp://me:s3cret@h/p.git",
    ],
)
def test_a_login_is_refused_and_not_repeated(text):
    with pytest.raises(SpecError) as error:
        Address.parse(text)
    assert "s3cret" not in error.value.message
    assert "s3cret" not in error.value.hint


@given(st.text(max_size=60))
def test_no_text_gives_an_address_that_is_an_option_or_a_helper(text):
    try:
        found = Address.parse(text)
    except SpecError:
        return
    assert not found.text.startswith("-")
    assert "::" not in found.text.split("[")[0].split("/")[0]
    assert found.text.isprintable()


@pytest.mark.parametrize(
    ("parent", "submodule", "address"),
    [
        ("https://h/org/proj.git", "../inner.git", "https://h/org/inner.git"),
        ("https://h/org/proj.git", "./inner", "https://h/org/proj.git/inner"),
        ("https://h/org/proj.git", "https://other/x.git", "https://other/x.git"),
        ("git@h:org/proj.git", "../inner.git", "git@h:org/inner.git"),
        ("/srv/proj", "../inner", "file:///srv/inner"),
        ("/srv/proj", "/srv/inner", "file:///srv/inner"),
    ],
)
def test_submodules(parent, submodule, address):
    assert Address.parse(parent).submodule(submodule).text == address


@pytest.mark.parametrize(
    "submodule", ["/etc", "file:///etc", "~/x", "../../../../x", "-x", "ext::x"]
)
def test_a_remote_repository_does_not_reach_this_machine(submodule):
    with pytest.raises(SpecError):
        Address.parse("https://h/org/proj.git").submodule(submodule)
