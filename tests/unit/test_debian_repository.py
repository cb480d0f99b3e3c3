"""The folder of .deb files that mmdebstrap installs from."""

import errno
import os

import pytest

from envbuilder.resolve.debian.deb_repository import _place


@pytest.mark.parametrize("one_file_system", [True, False])
def test_a_file_is_linked_where_that_can_be_and_else_copied(tmp_path, monkeypatch, one_file_system):
    def refuse(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    if not one_file_system:
        monkeypatch.setattr(os, "link", refuse)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"deb")
    source.chmod(0o444)
    _place(source, target)
    assert target.read_bytes() == b"deb"
    assert target.samefile(source) is one_file_system
    assert target.stat().st_mode & 0o777 == (0o444 if one_file_system else 0o644)
