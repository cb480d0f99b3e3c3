"""`envbuilder render`: a folder of our own, and nobody else's."""

from tests.unit.dockerfiles import instructions


def test_render_writes_a_folder_that_stands_alone(small):
    done = small.run("render", "small")
    assert done.stdout == "docker/small/Dockerfile\n"
    folder = small.folder / "docker" / "small"
    assert "docker buildx bake" in done.stderr
    read = {
        flag.partition("source=")[2].partition(",")[0]
        for _, flags, _ in instructions((folder / "Dockerfile").read_text())
        for flag in flags
        if "type=bind,source=" in flag
    }
    assert all((folder / path).exists() for path in read)
    small.run("render", "small")


def test_render_keeps_off_a_folder_of_other_files(small):
    before = sorted(small.folder.rglob("*"))
    done = small.run("render", "small", "-o", ".", code=2)
    assert "no Dockerfile that envbuilder rendered" in done.stderr
    assert sorted(small.folder.rglob("*")) == before
