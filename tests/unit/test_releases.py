"""Pages of package indexes: which releases fit, as of when."""

import json
from pathlib import Path

import pytest

from envbuilder.model.errors import NetworkError, ResolutionError
from envbuilder.model.package_spec import Index
from envbuilder.resolve.python.releases import Release, releases
from envbuilder.resolve.python.requirements import PythonTarget
from tests.contexts import indexes

TARGET = PythonTarget(python="3.12", platform="linux/amd64")
HTML = """\
<!DOCTYPE html><html><body>
<a href="../../files/my_app-1.10-py3-none-any.whl#sha256=00">my_app-1.10</a>
<a href="my_app-1.9-py3-none-any.whl" data-yanked="broken">my_app-1.9</a>
<a href="my_app-1.9-1-py3-none-any.whl">my_app-1.9, built again</a>
<a href="my_app-1.8-py3-none-any.whl" data-yanked>1.8</a>
<a href="my_app-2.0-cp311-cp311-linux_x86_64.whl">for another Python</a>
<a href="my_app-3.0.tar.gz">an sdist</a>
<a href="other-9.0-py3-none-any.whl">another package</a>
<a name="no-href">x</a>
</body></html>
"""


@pytest.fixture
def index(tmp_path: Path, told_nothing: None) -> Index:  # noqa: ARG001
    (tmp_path / "my-app").mkdir()
    (tmp_path / "my-app" / "index.html").write_text(HTML)
    return Index(url=tmp_path.as_uri())


def test_lists_what_fits_oldest_first(index: Index) -> None:
    assert releases(indexes(), "my-app", target=TARGET, index=index) == (
        Release(version="1.8", yanked=True),
        Release(version="1.9"),
        Release(version="1.10"),
    )


def test_of_what_is_built_an_sdist_will_do(index: Index) -> None:
    found = releases(indexes(), "my-app", target=TARGET, index=index, built=True)
    assert [each.version for each in found] == ["1.8", "1.9", "1.10", "3.0"]


def test_what_has_no_date_is_hidden_by_a_moment(index: Index) -> None:
    asked = Index(url=index.url, exclude_newer="2025-06-29")
    assert releases(indexes(), "my-app", target=TARGET, index=asked) == ()


def test_an_unknown_package_is_said_to_be_unknown(index: Index) -> None:
    with pytest.raises(ResolutionError, match="no-such-thing"):
        releases(indexes(), "no-such-thing", target=TARGET, index=index)


def page(url: str, kind: str, body: bytes) -> list[str]:
    from envbuilder.resolve.python.index_pages import _files

    return [each.filename for each in _files(url, kind, body)]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"files": 1}', b'{"files": [1]}', b"\xff"])
def test_a_broken_page_is_named(body: bytes) -> None:
    with pytest.raises(NetworkError, match=r"https://index\.example/a/"):
        page("https://index.example/a/", "application/vnd.pypi.simple.v1+json", body)


@pytest.mark.parametrize(
    ("moment", "versions"),
    [
        ("2025-06-29", ["1.0", "1.1"]),
        ("2025-06-29T12:00:00Z", ["1.0"]),
        ("2025-06-29T14:00:01+02:00", ["1.0", "1.1"]),
        ("2026-01-01T00:00:00Z", ["1.0", "1.1", "1.2"]),
    ],
)
def test_moments_cut_where_uv_cuts(moment: str, versions: list[str]) -> None:
    from envbuilder.resolve.python.index_pages import _files
    from envbuilder.resolve.python.indexes import visible_until
    from envbuilder.resolve.python.releases import _by_version, _is_before

    dates = {
        "1.0": "2025-06-28T00:00:00Z",
        "1.1": "2025-06-29T12:00:00Z",
        "1.2": "2025-07-01T00:00Z",
    }
    files = [
        {"filename": f"a-{version}-py3-none-any.whl", "upload-time": time, "size": 3}
        for version, time in dates.items()
    ]
    body = json.dumps({"files": files}).encode()
    found = _by_version(
        _files("https://x/", "application/vnd.pypi.simple.v1+json", body), "a", TARGET.tags()
    )
    until = visible_until(Index(exclude_newer=moment))
    assert [r.version for r in found if _is_before(r.uploaded, until)] == versions


@pytest.mark.parametrize(
    ("told", "moment"),
    [
        ("2025-06-28T00:00:00Z", "2025-06-28T00:00:00Z"),
        ("2025-06-28T00:00:00", "2025-06-28T00:00:00+00:00"),
        ("2025-06-28", "2025-06-28T00:00:00+00:00"),
        ("0001-01-01T00:00:00+14:00", ""),
        ("yesterday", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_a_moment_has_its_zone_or_is_not_told(told: str | None, moment: str) -> None:
    from envbuilder.resolve.python.index_pages import _files

    entry = {"filename": "a-1-py3-none-any.whl", "upload-time": told, "hashes": None}
    body = json.dumps({"files": [entry]}).encode()
    (found,) = _files("https://x/", "application/vnd.pypi.simple.v1+json", body)
    assert (found.uploaded, found.sha256, found.url) == (moment, "", "https://x/")
