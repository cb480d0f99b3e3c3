"""What a build left in the place of its answers."""

import os

from envbuilder.resolve.git.hooks import read_output


def test_a_plain_file_of_sensible_length_is_read(tmp_path):
    (tmp_path / "result.json").write_text("{}")
    assert read_output(tmp_path, "result.json") == b"{}"
    os.truncate(tmp_path / "result.json", 1 << 40)
    assert read_output(tmp_path, "result.json") is None


def test_links_and_paths_that_lead_out_are_not_read(tmp_path):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "out" / "folder").symlink_to(tmp_path)
    for name in ("link", "folder/secret", "../secret", "", "none"):
        assert read_output(tmp_path / "out", name) is None
