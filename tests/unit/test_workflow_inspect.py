"""What is wasted in an image, counted layer by layer, whatever upper layers hide."""

import pytest

from envbuilder.layers.contents import Contents, LayerFile
from envbuilder.model.image import Layer
from envbuilder.model.reference import Digest
from envbuilder.workflow.inspect import Inspection, report

SIX = b"Metadata-Version: 2.1\nName: six\nVersion: 1.17.0\n\n"
SITE = "opt/venv/lib/python3.13/site-packages"


def layer(title):
    digest = Digest.of(title.encode())
    return Layer(digest=digest, size=10, diff_id=digest, title=title)


def contents(files, *, removed=(), emptied=(), documents=()):
    return Contents(
        files={
            path: LayerFile(kind="file", mode=0o644, size=size)
            if size is not None
            else LayerFile(kind="dir", mode=0o755, size=0)
            for path, size in files.items()
        },
        documents=dict(documents),
        removed=frozenset(removed),
        emptied=frozenset(emptied),
    )


def reports(*stack):
    return report([layer(str(number)) for number in range(len(stack))], stack)


@pytest.mark.parametrize(
    ("tool", "path"),
    [
        ("pip", "root/.cache/pip/http/ab/cd"),
        ("uv", "home/me/.cache/uv/wheels-v5/x"),
        ("apt", "var/lib/apt/lists/mirror_dists_trixie_InRelease"),
        ("apt", "var/cache/apt/archives/git_1_amd64.deb"),
        ("dnf", "var/cache/dnf/fedora-1/packages/git-2.rpm"),
        ("conda", "opt/conda/pkgs/cache/1.json"),
        ("huggingface", "root/.cache/huggingface/hub/blob"),
    ],
)
def test_a_cache_counts(tool, path):
    (found,) = reports(contents({path: 7, "usr/bin/x": 100}))
    assert [(each.tool, each.size, each.files, each.hidden) for each in found.leftovers] == [
        (tool, 7, 1, False)
    ]
    assert found.unpacked == 107


@pytest.mark.parametrize(
    "upper",
    [
        contents({}, removed=["root/.cache/pip"]),
        contents({}, removed=["root/.cache/pip/a"]),
        contents({}, emptied=["root/.cache"]),
        contents({}, emptied=[""]),
        contents({"root/.cache": 1}),
        contents({"root/.cache/pip/a": 0}),
    ],
    ids=["folder removed", "file removed", "emptied", "root emptied", "replaced", "truncated"],
)
def test_a_cache_below_a_whiteout_still_counts(upper):
    lower, _ = reports(contents({"root/.cache/pip/a": 7}), upper)
    assert [(each.size, each.hidden) for each in lower.leftovers] == [(7, True)]
    assert lower.hidden == 7
    found = Inspection(name="x", digest="", layers=(lower,))
    assert found.waste == 7


def test_a_folder_that_comes_again_hides_nothing():
    lower, _ = reports(contents({"etc/a": 5}), contents({"etc": None, "etc/b": 1}))
    assert (lower.hidden, lower.leftovers) == (0, ())


def test_a_whiteout_does_not_reach_its_own_layer_or_those_above():
    middle, top = reports(
        contents({"root/.cache/pip/a": 7}, removed=["root/.cache/pip"]),
        contents({"root/.cache/pip/b": 3}),
    )
    assert [each.hidden for each in (*middle.leftovers, *top.leftovers)] == [False, False]


def test_a_package_belongs_to_the_layer_that_brings_it():
    document = (f"{SITE}/six-1.17.0.dist-info/METADATA", SIX)
    first, second = reports(
        contents({"x": 1}, documents=[document]), contents({"y": 1}, documents=[document])
    )
    assert [(each.name, each.version) for each in first.packages] == [("six", "1.17.0")]
    assert second.packages == ()


def python(**files):
    """Make contents of bytecode (its source's size as compiled, or None) and sources (sizes)."""
    found = {}
    for name, size in files.items():
        path, compiled = f"{SITE}/{name}.py", name.startswith("c_")
        if compiled:
            path = f"{SITE}/__pycache__/{name[2:]}.cpython-313.pyc"
        source_size = size if compiled else None
        found[path] = LayerFile(kind="file", mode=0o644, size=size or 50, source_size=source_size)
    return Contents(files=found)


@pytest.mark.parametrize(
    ("stack", "stale"),
    [
        ([python(a=9, c_a=9)], 0),
        ([python(a=9, c_a=None)], 0),  # by hash: Python does not look at the source's size
        ([python(a=8, c_a=9)], 9),
        ([python(c_a=9)], 9),
        ([python(a=9, c_a=9), python(a=5)], 9),
        ([python(a=9, c_a=9), python(a=5, c_a=5)], 0),  # hidden, and replaced: no cache
        ([python(c_a=9), python(a=9)], 0),
        ([python(a=9, c_a=9), contents({}, removed=[f"{SITE}/a.py"])], 9),
        ([contents({f"{SITE}/alone.pyc": 9})], 0),  # a module that has no source
    ],
)
def test_bytecode_that_python_ignores_is_waste(stack, stale):
    found = [each for layer in reports(*stack) for each in layer.leftovers]
    assert sum(each.size for each in found) == stale
    assert {each.tool for each in found} <= {"stale bytecode"}
