"""Two sides compared: locks and images by what they hold."""

from dataclasses import replace

from envbuilder.layers.contents import Distribution, LayerFile
from envbuilder.model.image import Layer
from envbuilder.model.lock_diff import Change, Kind
from envbuilder.model.reference import Digest
from envbuilder.workflow.diff import Side, compare_sides, side_of_lock
from tests.servers.locks import small_lock


def layer(title: str) -> Layer:
    digest = Digest.of(title.encode())
    return Layer(digest=digest, size=1, diff_id=digest, title=title)


SIDE = Side(
    name="a",
    packages=(Distribution(kind="python", name="x", version="1", commit="c" * 40),),
    settings={"Env A": "1"},
    layers=(layer("one"), layer("two")),
    files={"f": LayerFile(kind="file", mode=0o644, size=1, sha256=Digest.of(b"1"))},
)


def changes(**other) -> list[Change]:
    return list(compare_sides(SIDE, replace(SIDE, **other)))


def test_equal_sides_have_no_changes():
    assert changes() == []


def test_a_commit_is_part_of_a_version():
    other = Distribution(kind="python", name="x", version="1", commit="d" * 40)
    (found,) = changes(packages=(other,))
    assert (found.kind, found.old, found.new) == (Kind.PACKAGE, f"1@{'c' * 12}", f"1@{'d' * 12}")


def test_python_and_debian_packages_of_one_name_are_two():
    deb = Distribution(kind="deb", name="x", version="9")
    (found,) = changes(packages=(*SIDE.packages, deb))
    assert (found.kind, found.name, found.old, found.new) == (Kind.DEB, "x", None, "9")


def test_settings_come_go_and_change():
    found = changes(settings={"Env B": "2"})
    assert [(each.name, each.old, each.new) for each in found] == [
        ("Env A", "1", None),
        ("Env B", None, "2"),
    ]


def test_layers_are_told_by_their_content():
    found = changes(layers=(layer("one"), layer("three")))
    assert [(each.name, each.new is None) for each in found] == [("two", True), ("three", False)]


def test_a_file_differs_by_content_mode_or_target():
    file = SIDE.files["f"]
    for other in (
        replace(file, sha256=Digest.of(b"2")),
        replace(file, mode=0o755),
        replace(file, kind="link", target="g"),
    ):
        (found,) = changes(files={"f": other})
        assert found.kind is Kind.FILE


def test_files_count_only_where_both_sides_were_read():
    assert changes(files=None) == []


def test_a_lock_is_a_side():
    side = side_of_lock("small", small_lock())
    versions = {(each.kind, each.name): each.version for each in side.packages}
    assert versions == {
        ("python", "tqdm"): "4.67.1",
        ("python", "mine"): "1.0+local",
        ("deb", "libstdc++6"): "1:14.2.0-19",
    }
    assert side.settings["os"] == "linux"
    assert compare_sides(side, side) == ()
