"""What a start needs of each layer: recorded paths, laid over what the layers hold."""

from pathlib import Path

import pytest

from envbuilder.layers.contents import Contents, LayerFile
from envbuilder.model.errors import EnvbuilderError, LockError, UsageError
from envbuilder.model.image import Image, Layer, compose, parse_image
from envbuilder.model.reference import Digest
from envbuilder.smoke.probe.touched import CHUNK
from envbuilder.smoke.touched import Touched, start_path, write_touched
from envbuilder.workflow.start_needs import StartNeeds, recorded, start_needs

LOCK = Digest("a" * 64)
LABEL = "dev.gpu-envbuilder"
TOUCHED = Touched(by=("import.x",), files=frozenset({"/a"}), size=1, total=2)


def layer(title: str, size: int = 100) -> Layer:
    digest = Digest.of(title.encode())
    return Layer(digest=digest, size=size, diff_id=digest, title=title)


def held(**files: int | str) -> Contents:
    """Return a layer with these files; a text is a hard link's target."""
    return Contents(
        files={
            path.replace("__", "/"): LayerFile(kind="file", mode=0o644, size=what)
            if isinstance(what, int)
            else LayerFile(kind="hardlink", mode=0o644, size=0, target=what)
            for path, what in files.items()
        }
    )


def needs(touched: Touched, *stack: Contents) -> StartNeeds:
    layers = [layer(str(number)) for number in range(len(stack))]
    return start_needs(touched, layers, stack, [("p 1",)] * len(stack))


def of(*files: str, **chunks: tuple[int, ...]) -> Touched:
    return Touched(
        by=("import.x",),
        files=frozenset(f"/{path}" for path in files),
        chunks={f"/{path}": numbers for path, numbers in chunks.items()},
    )


def test_whole_files_and_chunks_count_in_their_layer() -> None:
    found = needs(of("a", "d__e".replace("__", "/"), big=(0, 2)), held(a=10, b=90, d__e=5),
                  held(big=2 * CHUNK + 7), held(c=50))  # fmt: skip
    assert [each.touched for each in found.layers] == [15, CHUNK + 7, 0]
    assert [each.unpacked for each in found.layers] == [105, 2 * CHUNK + 7, 50]
    assert (found.touched, found.unpacked) == (CHUNK + 22, 2 * CHUNK + 162)


def test_packed_bytes_go_by_the_layers_own_ratio() -> None:
    layers = [layer("half", 1000), layer("rest", 30)]
    found = start_needs(of("a", "c"), layers, [held(a=500, b=1500), held(c=300)], [(), ()])
    assert [each.packed for each in found.layers] == [250, 30]
    assert (found.packed, found.size) == (280, 1030)


def test_a_file_counts_in_the_uppermost_layer_that_has_it() -> None:
    found = needs(of("a"), held(a=10), held(a=20), held(b=1))
    assert [each.touched for each in found.layers] == [0, 20, 0]


def test_a_hard_link_is_the_file_that_it_leads_to_once() -> None:
    stack = held(usr__bin__perl=70, usr__bin__perl5="./usr/bin/perl", odd="nowhere")
    found = needs(of("usr/bin/perl5", "usr/bin/perl", "odd"), stack)
    assert (found.layers[0].touched, found.layers[0].unpacked) == (70, 70)
    assert needs(of("usr/bin/perl5"), stack).layers[0].touched == 70


def test_what_no_layer_has_is_nobodys() -> None:
    found = needs(of("etc/hosts"), held(a=10))
    assert found.touched == 0


def test_layers_that_are_never_touched_are_named_the_largest_first() -> None:
    layers = [layer("small", 5), layer("used"), layer("large", 9), layer("empty"), layer("also", 9)]
    stack = [held(a=1), held(b=1), held(c=1), held(), held(d=1)]
    found = start_needs(of("b"), layers, stack, [("x 1",), (), (), (), ()])
    assert [each.layer.title for each in found.untouched] == ["also", "large", "small"]
    assert found.untouched[-1].packages == ("x 1",)


@pytest.mark.parametrize(
    "name", ["v/x-1.dist-info/entry_points.txt", "v/x-1.egg-info/PKG-INFO", "v/x-1.egg-info"]
)
def test_a_layer_whose_metadata_alone_is_read_is_never_touched(name: str) -> None:
    """Who lists entry points reads those of all packages."""
    stack = [Contents(files={name: LayerFile(kind="file", mode=0o644, size=9)}), held(b=1)]
    found = needs(of(name, "b"), *stack)
    assert [(each.touched, each.listed) for each in found.layers] == [(9, 9), (1, 0)]
    assert [each.layer.title for each in found.untouched] == ["0"]


def test_an_image_of_nothing_needs_nothing() -> None:
    found = start_needs(of("a"), [], [], [])
    assert (found.touched, found.unpacked, found.packed, found.size) == (0, 0, 0, 0)


def image(**labels: object) -> Image:
    return compose((), platform="linux/amd64", settings={"Labels": labels})


OURS = {f"{LABEL}.name": "demo", f"{LABEL}.lock": str(LOCK)}


def test_what_was_recorded_is_found_by_the_images_own_labels(tmp_path: Path) -> None:
    write_touched(tmp_path / "demo.start.json", TOUCHED, LOCK)
    assert recorded(image(**OURS), tmp_path, where="x") == TOUCHED


def test_each_platform_has_its_own_record(tmp_path: Path) -> None:
    arm = compose((), platform="linux/arm64", settings={"Labels": OURS})
    write_touched(tmp_path / "demo.start.json", TOUCHED, Digest("b" * 64))
    with pytest.raises(LockError, match=r"there is no .*/demo_arm64\.start\.json"):
        recorded(arm, tmp_path, where="x")
    write_touched(start_path(tmp_path, "demo", "linux/arm64"), TOUCHED, LOCK)
    assert recorded(arm, tmp_path, where="x") == TOUCHED


def test_no_platform_leads_out_of_the_folder(tmp_path: Path) -> None:
    odd = compose((), platform="linux/x/../../demo", settings={"Labels": OURS})
    with pytest.raises(UsageError, match="x was not built by envbuilder"):
        recorded(odd, tmp_path, where="x")


def test_an_image_without_a_record_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(LockError, match=r"no smoke recorded what a start of demo needs") as caught:
        recorded(image(**OURS), tmp_path, where="x")
    assert caught.value.hint == "envbuilder build demo writes it, if the smoke is green"


def test_the_record_of_another_lock_is_refused(tmp_path: Path) -> None:
    write_touched(tmp_path / "demo.start.json", TOUCHED, Digest("b" * 64))
    with pytest.raises(LockError, match=f"another lock .sha256:{'b' * 64}. than that of x"):
        recorded(image(**OURS), tmp_path, where="x")


@pytest.mark.parametrize(
    "labels",
    [
        {}, {f"{LABEL}.name": "demo"}, {**OURS, f"{LABEL}.name": "../demo"},
        {**OURS, f"{LABEL}.name": ""}, {**OURS, f"{LABEL}.lock": ""},
    ],
)  # fmt: skip
def test_an_image_of_others_is_refused(tmp_path: Path, labels: dict[str, object]) -> None:
    write_touched(tmp_path / "demo.start.json", TOUCHED, LOCK)
    with pytest.raises(UsageError, match="x was not built by envbuilder"):
        recorded(image(**labels), tmp_path, where="x")


@pytest.mark.parametrize("labels", [None, {}])
def test_labels_that_are_none_are_nobodys(tmp_path: Path, labels: object) -> None:
    odd = compose((), platform="linux/amd64", settings={"Labels": labels})
    with pytest.raises(UsageError, match="was not built by envbuilder"):
        recorded(parse_image(odd.manifest, odd.config), tmp_path, where="x")


@pytest.mark.parametrize("labels", [[], "x", 5])
def test_an_image_with_other_labels_is_not_read(labels: object) -> None:
    odd = compose((), platform="linux/amd64", settings={"Labels": labels})
    with pytest.raises(EnvbuilderError, match=r"config\.Labels: expected"):
        parse_image(odd.manifest, odd.config)
