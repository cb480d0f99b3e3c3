"""What a build ends with: where the image is, how it runs and travels, and what to commit."""

from pathlib import Path

import pytest

from envbuilder.cli.next_steps import next_steps, written

STORE = Path("/home/me/.cache/envbuilder")


def steps(spec="lockfiles/demo.yaml", *, exported=None, pushed=None, good=True):
    return dict(next_steps(Path(spec), store=STORE, exported=exported, pushed=pushed, good=good))


def test_an_image_that_is_only_in_the_store_is_written_out_first():
    found = steps()
    assert found == {
        "where": str(STORE),
        "load": "envbuilder build demo --output-image demo.tar && docker load --input demo.tar",
        "run": "docker run --rm -it demo:latest",
        "push": "envbuilder push demo HOST/demo:TAG",
        "commit": "git add lockfiles/demo.yaml",
    }


@pytest.mark.parametrize(
    ("exported", "load"),
    [
        ("my image.tar", "docker load --input 'my image.tar'"),
        ("oci:build/demo", "skopeo copy oci:build/demo docker-daemon:demo:latest"),
    ],
)
def test_an_image_that_was_written_out_is_loaded_from_there(exported, load):
    found = steps(exported=exported)
    assert found["load"] == load
    assert found["where"] == f"{STORE}, {exported}"


def test_an_image_that_was_pushed_runs_from_there():
    found = steps(pushed="registry.example.com/demo:1")
    assert found["run"] == "docker run --rm -it registry.example.com/demo:1"
    assert found.keys() == {"where", "run", "commit"}


def test_a_spec_elsewhere_is_named_by_its_path():
    found = steps("envs/demo.yaml")
    assert found["load"].startswith("envbuilder build --file envs/demo.yaml --output-image")
    assert found["push"] == "envbuilder push envs/pylock.demo.toml HOST/demo:TAG"


def test_a_red_image_has_a_place_and_no_recommendation():
    assert steps(good=False) == {"where": str(STORE)}


def test_only_files_that_are_there_are_to_be_committed(tmp_path):
    own = ["demo.ledger.jsonl", "demo.answers.json", "demo.start.json"]
    names = ["demo.yaml", "pylock.demo.toml", *own]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "other.yaml").touch()
    assert [path.name for path in written(tmp_path / "demo.yaml")] == names
    (tmp_path / names[-1]).unlink()
    assert [path.name for path in written(tmp_path / "demo.yaml")] == names[:-1]
