"""What moved between two locks, and why."""

from dataclasses import replace

from envbuilder.model.image import Layer
from envbuilder.model.lock import FileTree, ImageBase, Lock, LockedFile
from envbuilder.model.lock_diff import (
    Change,
    Kind,
    Known,
    Why,
    compare,
    new_layers,
    package_versions,
)
from envbuilder.model.reference import Digest
from envbuilder.model.seal import Seal
from tests.unit.locks import lock, needs, source, wheel

PINS = {"torch": "==2.6.0", "app": "*"}
OLD = {"torch": "2.6.0", "torchvision": "0.21.0", "app": "1.0", "six": "1.16", "left": "1"}
NEW = {"torch": "2.7.0", "torchvision": "0.22.0", "app": "1.0", "six": "1.17", "triton": "3.3"}


def by_name(changes: tuple[Change, ...]) -> dict[str, Change]:
    return {change.name: change for change in changes}


def test_equal_locks_do_not_differ() -> None:
    assert compare(lock(OLD), lock(OLD)) == ()


def test_says_who_asked_who_forced_and_what_drifted() -> None:
    old = lock(OLD, pins=PINS)
    new = lock(NEW, pins=PINS | {"torch": "==2.7.0"})
    known = Known(
        old=needs(torchvision="torch==2.6.0", torch="left", app="six", left=""),
        new=needs(torchvision="torch==2.7.0", torch="triton>=3", app="six", triton=""),
    )
    found = by_name(compare(old, new, known))
    assert {name: (c.why, c.by) for name, c in found.items()} == {
        "torch": (Why.ASKED, ()),
        "torchvision": (Why.FORCED, ("torch",)),
        "triton": (Why.FORCED, ("torch",)),
        "left": (Why.FORCED, ("torch",)),
        "six": (Why.DRIFTED, ()),
    }
    assert str(found["triton"]) == "triton (none) -> 3.3"
    assert str(found["left"]) == "left 1 -> (gone)"


def test_a_user_that_refuses_the_old_version_forces_it() -> None:
    pins = {"transformers": "==4.52.4"}
    old = lock({"transformers": "4.52.4", "tokenizers": "0.20"}, pins=pins)
    new = lock({"transformers": "4.53.0", "tokenizers": "0.21"}, pins={"transformers": "==4.53.0"})
    known = Known(
        old=needs(transformers="tokenizers<0.21"), new=needs(transformers="Tokenizers>=0.21")
    )
    assert by_name(compare(old, new, known))["tokenizers"].by == ("transformers",)


def test_what_the_user_names_is_asked_for_even_where_the_spec_leaves_it_open() -> None:
    old, new = lock(OLD, pins=PINS), lock(OLD | {"six": "1.17"}, pins=PINS)
    known = Known(old={}, new={}, asked={"six"})
    assert [c.why for c in compare(old, new, known)] == [Why.ASKED]


def test_without_requirements_it_does_not_guess() -> None:
    old, new = lock(OLD, pins=PINS), lock(OLD | {"six": "1.17"}, pins=PINS)
    assert [c.why for c in compare(old, new)] == [None]


def test_extras_in_the_spec_belong_to_the_package() -> None:
    old = lock({"vllm": "1.0"}, pins={"vllm[audio]": "==1.0"})
    new = lock({"vllm": "1.1"}, pins={"vllm[audio]": "==1.1"})
    assert [c.why for c in compare(old, new)] == [Why.ASKED]


def test_a_new_python_brings_other_files_of_the_same_versions() -> None:
    old = lock({}, pins={})
    old = replace(old, wheels=(wheel("numpy", "2.0", tag="cp312-cp312-linux_x86_64"),))
    new = lock({}, pins={}, python="3.13")
    new = replace(new, wheels=(wheel("numpy", "2.0", tag="cp313-cp313-linux_x86_64"),))
    python, numpy = compare(old, new, Known(old={}, new={}))
    assert (python.kind, python.old, python.new) == (Kind.PYTHON, "3.12", "3.13")
    assert "cp313" in str(numpy.new)
    assert (numpy.why, numpy.by) == (Why.FORCED, ("python",))


def test_git_sources_differ_by_commit_and_not_by_being_built() -> None:
    pin = {"vllm": {"git": "https://example.org/vllm.git", "branch": "main"}}
    old = lock({}, pins=pin, sources=(source("vllm", "a" * 40),))
    built = replace(old.sources[0], wheel=wheel("vllm", "1.0"))
    assert compare(old, replace(old, sources=(built,))) == ()
    (change,) = compare(old, lock({}, pins=pin, sources=(source("vllm", "b" * 40),)))
    assert (change.old, change.new) == ("1.0@aaaaaaaaaaaa", "1.0@bbbbbbbbbbbb")


def test_git_sources_that_are_built_with_other_tools() -> None:
    def built_with(**tools: str) -> Lock:
        requires = tuple(wheel(name, version) for name, version in tools.items())
        vllm = replace(source("vllm", "a" * 40), requires=requires)
        pin = {"git": vllm.repository, "branch": "main"}
        return lock({}, pins={"vllm": pin}, sources=(vllm,))

    old, new = built_with(cmake="3.31", ninja="1", six="1"), built_with(cmake="4.0", ninja="1")
    (change,) = compare(old, new)
    assert change.old == "1.0@aaaaaaaaaaaa (built with cmake 3.31, six 1)"
    assert change.new == "1.0@aaaaaaaaaaaa (built with cmake 4.0)"


def test_system_packages() -> None:
    old = lock({}, pins={}, debs={"libc6": "1", "ffmpeg": "7.1-1", "git": "2"})
    new = lock({}, pins={}, debs={"libc6": "1", "ffmpeg": "7.1-2", "zlib1g": "3"})
    found = by_name(compare(old, new))
    assert {name: c.why for name, c in found.items()} == {
        "ffmpeg": Why.DRIFTED,
        "git": Why.DRIFTED,
        "zlib1g": Why.DRIFTED,
    }
    for name in ("system", "base"):
        asked = compare(old, new, Known(old={}, new={}, asked={name}))
        assert {c.why for c in asked} == {Why.ASKED}


def test_another_base_forces_its_packages() -> None:
    old = lock({}, pins={}, debs={"libc6": "1"})
    new = lock({}, pins={}, debs={"libc6": "2"}, system={"packages": ["ffmpeg"]})
    assert [(c.kind, c.why) for c in compare(old, new)] == [
        (Kind.DEB, Why.FORCED),
        (Kind.SETTING, Why.ASKED),
    ]


def test_an_image_base_that_moved_under_its_tag_drifted() -> None:
    def based(content: bytes) -> ImageBase:
        digest = Digest.of(content)
        return ImageBase(reference="docker.io/a/b:1", digest=digest, config=digest, layers=())

    old = lock({}, pins={}, base={"image": "a/b:1"})
    changes = compare(replace(old, base=based(b"1")), replace(old, base=based(b"2")))
    assert [(c.kind, c.why) for c in changes] == [(Kind.BASE, Why.DRIFTED)]


def test_settings() -> None:
    old, new = lock({}, pins={}), lock({}, pins={}, env={"A": "ü"}, python="3.12")
    (change,) = compare(old, new)
    assert (change.kind, change.name, change.old, change.new) == (
        Kind.SETTING,
        "env",
        None,
        '{"A": "ü"}',
    )


def test_own_files_come_go_and_change_by_what_they_hold() -> None:
    def with_files(**held: bytes | str) -> Lock:
        files = tuple(
            LockedFile(path=path, size=len(each), sha256=Digest.of(each))
            if isinstance(each, bytes)
            else LockedFile(path=path, size=0, sha256=Digest.of(b""), link=each)
            for path, each in held.items()
        )
        return replace(lock({}, pins={}), files=(FileTree(into="/srv/", files=files),))

    old = with_files(gone=b"1", kept=b"2", linked="a", other=b"4")
    changes = compare(old, with_files(kept=b"2", linked="b", new=b"33", other=b"5"))
    assert {(change.kind, change.why) for change in changes} == {(Kind.FILE, Why.ASKED)}
    assert [(change.name, change.old, change.new) for change in changes] == [
        ("/srv/gone", f"1 bytes {Digest.of(b'1').hex[:12]}", None),
        ("/srv/linked", "link to a", "link to b"),
        ("/srv/new", None, f"2 bytes {Digest.of(b'33').hex[:12]}"),
        (
            "/srv/other",
            f"1 bytes {Digest.of(b'4').hex[:12]}",
            f"1 bytes {Digest.of(b'5').hex[:12]}",
        ),
    ]


def test_new_layers_are_those_with_other_content() -> None:
    layers = tuple(
        Layer(digest=Digest.of(text), size=1, diff_id=Digest.of(text)) for text in (b"a", b"b")
    )
    digest = Digest.of(b"")
    old = Seal(engine="embedded", layout=1, layers=layers[:1], config=digest, manifest=digest)
    new = replace(old, layers=layers)
    assert new_layers(old, new) == layers[1:]
    assert new_layers(None, new) == layers


def test_names_versions_for_people() -> None:
    both = lock({"six": "1.16"}, sources=(source("vllm", "a" * 40),))
    assert package_versions(both) == {"six": "1.16", "vllm": "1.0@aaaaaaaaaaaa"}


def test_a_pin_that_moves_nothing_is_a_change_too() -> None:
    old, new = lock({"six": "1"}), lock({"six": "1"}, pins={"six": ">=1"})
    (change,) = compare(old, new)
    assert (change.kind, change.old, change.new) == (Kind.PIN, "six: ==1", "six: >=1")
