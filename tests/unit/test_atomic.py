import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from envbuilder.model.atomic import write_text


def test_writing_keeps_the_mode_and_follows_a_link(tmp_path):
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(real.name)
    write_text(link, "new")
    assert link.is_symlink()
    assert (real.read_text(), real.stat().st_mode & 0o777) == ("new", 0o600)


def test_what_a_killed_writer_left_is_taken_over(tmp_path):
    (tmp_path / ".x.toml.new").write_text("half of something longer than the text")
    write_text(tmp_path / "x.toml", "whole")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("x.toml", "whole")]


def test_many_writers_at_once_leave_the_text_of_one(tmp_path):
    path = tmp_path / "x.toml"
    texts = [str(number) * 50_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_text(path, text), texts * 4))
    assert path.read_text() in texts
    assert [each.name for each in tmp_path.iterdir()] == ["x.toml"]


def test_a_write_that_is_refused_names_the_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text("old")
    script = (  # no file may grow beyond 10 bytes
        "import resource, pathlib; from envbuilder.model.atomic import write_text;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10));"
        f"write_text(pathlib.Path({str(path)!r}), 'x' * 99)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert f"File too large: {str(path)!r}" in done.stderr
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("x.toml", "old")]
