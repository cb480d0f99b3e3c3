"""Which version and which wheel, where several indexes, overrides, constraints and dates meet."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from envbuilder.model.errors import ResolutionError
from envbuilder.model.package_spec import ChosenIndex, Index
from envbuilder.resolve.python.releases import releases
from envbuilder.resolve.python.requirements import (
    PythonTarget,
    choose_packages,
    locate_wheels,
    resolve_python,
)
from tests.contexts import indexes as ask
from tests.servers.packages import Packages
from tests.servers.scripted import scripted
from tests.wheels import Recipe, write_wheel

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("told_nothing")]

TARGET = PythonTarget(python="3.12", platform="linux/amd64", glibc=36)
DAY = "2025-06-01T00:00:00Z"


@dataclass
class Indexes:
    """Indexes on loopback, made of recipes; ``made`` gives the bytes of each file."""

    folder: Path
    stack: ExitStack
    made: dict[str, bytes] = field(default_factory=dict)

    def serve(self, *recipes: Recipe, dated: bool = False, **settings) -> str:
        """Serve the wheels and return the index's URL."""
        paths = [write_wheel(self.folder, recipe) for recipe in recipes]
        wheels = {path.name: path.read_bytes() for path in paths}
        self.made |= wheels
        uploaded = dict.fromkeys(wheels, DAY) if dated else {}
        packages = Packages(wheels=wheels, uploaded=uploaded, **settings)
        return f"http://{self.stack.enter_context(scripted(packages.respond)).host}/simple"


@pytest.fixture
def indexes(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    with ExitStack() as stack:
        yield Indexes(folder, stack)


def torchy(version):
    return Recipe(name="torchy", version=version, requires=("numpyish>=2",))


def numpyish(*versions):
    return [Recipe(name="numpyish", version=each) for each in versions]


def resolve(*requirements, index, **more):
    found = choose_packages(requirements, indexes=ask(), target=TARGET, index=index, **more).wheels
    return {wheel.name: wheel.version for wheel in found}


# -- several indexes ------------------------------------------------------------------------------


@pytest.fixture
def two(indexes):
    """Give the URLs of a general index, and of one for CUDA with an old numpyish."""
    main = indexes.serve(torchy("2.0"), *numpyish("1.0", "2.0"))
    return main, indexes.serve(torchy("2.0+cu124"), *numpyish("1.0"))


def test_the_best_version_of_all_indexes_counts_unless_the_spec_says_otherwise(two):
    main, cuda = two
    found = resolve("torchy==2.0", index=Index(url=main, extra_urls=(cuda,)))
    assert found == {"torchy": "2.0+cu124", "numpyish": "2.0"}
    first = Index(url=main, extra_urls=(cuda,), strategy="first-index")
    with pytest.raises(ResolutionError, match="`numpyish` was found on") as caught:
        resolve("torchy==2.0", index=first)
    assert "strategy: best-match" in caught.value.hint
    assert "--" not in caught.value.message


@pytest.mark.parametrize("strategy", ["best-match", "first-index"])
@pytest.mark.parametrize("told", ["first-index", "unsafe-best-match"])
def test_the_machine_does_not_say_which_versions_count(monkeypatch, tmp_path, two, strategy, told):
    main, cuda = two
    index = Index(url=main, extra_urls=(cuda,), strategy=strategy)
    plain = resolve("numpyish", index=index)
    (tmp_path / "uv.toml").write_text(f'index-strategy = "{told}"\nresolution = "lowest"\n')
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    monkeypatch.setenv("UV_INDEX_STRATEGY", told)
    assert resolve("numpyish", index=index) == plain
    assert plain == {"numpyish": "2.0" if strategy == "best-match" else "1.0"}


def test_a_package_comes_from_the_index_that_it_names_and_nothing_else_does(indexes, two):
    main, cuda = two
    index = ChosenIndex(url=main, named={"cu124": cuda}, chosen={"torchy": "cu124"})
    wheels = resolve_python(["torchy==2.0", "numpyish"], indexes=ask(), target=TARGET, index=index)
    assert [wheel.version for wheel in wheels] == ["2.0", "2.0+cu124"]
    urls = locate_wheels(wheels, indexes=ask(), target=TARGET, index=index)
    assert [url.rpartition("/files/")[0] for url in urls.values()] == [
        main.removesuffix("/simple"), cuda.removesuffix("/simple")
    ]  # fmt: skip
    offered = releases(ask(), "torchy", target=TARGET, index=index)
    assert [release.version for release in offered] == ["2.0+cu124"]
    elsewhere = indexes.serve(Recipe(name="torchy", version="9"))
    more = ChosenIndex(url=main, extra_urls=(elsewhere,), named={"cu124": cuda},
                       chosen={"torchy": "cu124"})  # fmt: skip
    assert resolve("torchy", index=more)["torchy"] == "2.0+cu124"


def test_an_index_that_wants_a_login_is_not_passed_over_in_silence(indexes):
    main = indexes.serve(*numpyish("1.0"))
    private = indexes.serve(*numpyish("2.0"), login="u:p")
    index = Index(url=main, extra_urls=(private,))
    with pytest.raises(Exception, match="answered 401") as caught:
        resolve("numpyish", index=index)
    assert "UV_INDEX_NAME_USERNAME" in caught.value.hint


def native(version, folder, tag):
    """Write a wheel of numpyish for one platform; the tag is in its name alone."""
    plain = write_wheel(folder, Recipe(name="numpyish", version=version, files={"t": tag.encode()}))
    return plain.rename(folder / plain.name.replace("py3-none-any", tag))


def test_all_offers_of_one_version_count(indexes, tmp_path):
    portable, fitting = (
        native("2.0", tmp_path, f"cp312-cp312-manylinux_2_{glibc}_x86_64") for glibc in (17, 34)
    )
    urls = [
        indexes.stack.enter_context(
            scripted(Packages(wheels={path.name: path.read_bytes()}).respond)
        ).host
        for path in (portable, fitting)
    ]
    for order in (urls, urls[::-1]):
        one, other = (f"http://{host}/simple" for host in order)
        (found,) = resolve_python(
            ["numpyish"],
            indexes=ask(),
            target=TARGET,
            index=Index(url=one, extra_urls=(other,)),
        )
        assert found.filename == fitting.name
        assert locate_wheels(
            [found],
            indexes=ask(),
            target=TARGET,
            index=Index(url=one, extra_urls=(other,)),
        )


# -- overrides and constraints --------------------------------------------------------------------


def test_an_override_takes_the_place_of_what_packages_require(two):
    main, _ = two
    index = Index(url=main)
    assert resolve("torchy", index=index, overrides=["numpyish==1.0"])["numpyish"] == "1.0"
    with pytest.raises(ResolutionError, match="numpyish"):
        resolve("torchy", index=index, constraints=["numpyish==1.0"])


def test_a_constraint_asks_for_nothing_by_itself(two):
    main, _ = two
    found = resolve("numpyish", index=Index(url=main), constraints=["numpyish<2", "absent==9"])
    assert found == {"numpyish": "1.0"}


def test_all_that_has_no_wheels_is_told_at_once(tmp_path):
    for name in ("alone", "other", "fine"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "index.html").write_text(f'<a href="{name}-1.0.tar.gz">x</a>')
    path = write_wheel(tmp_path / "fine", Recipe(name="fine", version="1.0", requires=("other",)))
    (tmp_path / "fine" / "index.html").write_text(f'<a href="{path.name}">x</a>')
    with pytest.raises(ResolutionError) as caught:
        resolve("alone", "fine==1.0", index=Index(url=tmp_path.as_uri()))
    message = caught.value.message
    assert message.startswith("2 packages have no usable wheels:\n  alone\n  other\n")
    assert "--no-build" not in message
    assert "`path:`" in caught.value.hint


# -- Python's patch release and glibc -------------------------------------------------------------


def test_markers_hold_for_the_patch_release_of_the_base(indexes):
    main = indexes.serve(
        Recipe(name="markful", version="1.0",
               requires=('numpyish; python_full_version >= "3.12.1"',)),
        *numpyish("1.0"),
    )  # fmt: skip
    index = Index(url=main)
    assert resolve("markful", index=index) == {"markful": "1.0"}
    known = PythonTarget(python="3.12", platform="linux/amd64", glibc=36, patch=2)
    wheels = resolve_python(["markful"], indexes=ask(), target=known, index=index)
    assert [wheel.name for wheel in wheels] == ["markful", "numpyish"]


# -- dates and yanked releases --------------------------------------------------------------------


def test_an_index_without_dates_is_exempt_where_the_spec_says_so(indexes):
    dated = indexes.serve(*numpyish("2.0"), dated=True)
    undated = indexes.serve(Recipe(name="torchy", version="2.0", requires=("numpyish",)))
    index = Index(url=dated, extra_urls=(undated,), exclude_newer="2025-07-01")
    with pytest.raises(ResolutionError, match="torchy") as caught:
        resolve("torchy==2.0", index=index)
    assert "index: {exempt: […]}" in caught.value.hint
    assert "exclude-newer-package" not in caught.value.message
    by_name = Index(url=dated, extra_urls=(undated,), exclude_newer="2025-07-01",
                    exempt=("Torchy",))  # fmt: skip
    by_index = ChosenIndex(url=dated, named={"cu124": undated}, exclude_newer="2025-07-01",
                           exempt=("cu124",), chosen={"torchy": "cu124"})  # fmt: skip
    for index in (by_name, by_index):
        assert resolve("torchy==2.0", index=index) == {"torchy": "2.0", "numpyish": "2.0"}
        assert releases(ask(), "torchy", target=TARGET, index=index)


def test_a_yanked_pin_is_told_with_its_reason(tmp_path):
    path = write_wheel(tmp_path, Recipe(name="numpyish", version="1.0"))
    folder = tmp_path / "simple" / "numpyish"
    folder.mkdir(parents=True)
    path = path.rename(folder / path.name)
    (folder / "index.html").write_text(f'<a href="{path.name}" data-yanked="it is broken">x</a>')
    notes: list[str] = []
    resolve("numpyish==1.0", index=Index(url=(tmp_path / "simple").as_uri()), note=notes.append)
    assert notes == ["warning: numpyish==1.0 was yanked: it is broken"]
