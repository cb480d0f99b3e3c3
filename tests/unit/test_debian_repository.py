"""The folder of .deb files that mmdebstrap installs from."""

import pytest

from envbuilder.model.errors import BuildError, MissingToolError
from envbuilder.model.lock import DebPackage
from envbuilder.resolve.debian.deb_repository import write_repository
from envbuilder.resolve.debian.system_python import find_distributions
from envbuilder.storage.store import Store


def test_a_damaged_file_is_not_offered(tmp_path):
    """A package's file is a copy: whoever installs it cannot write into the store."""
    store = Store(tmp_path / "store")
    digest = store.add(b"no .deb at all")
    deb = DebPackage(
        name="one", version="1", architecture="all", filename="one.deb", size=14, sha256=digest
    )

    def write() -> None:
        write_repository(tmp_path, [deb], suite="trixie", architecture="amd64", store=store)

    with pytest.raises(BuildError, match="the Debian package one 1 cannot be read"):
        write()
    copy = tmp_path / f"{digest.hex}.deb"
    assert copy.stat().st_mode & 0o777 == 0o644
    assert copy.stat().st_nlink == 1
    copy.unlink()
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"yes")
    with pytest.raises(BuildError, match="is damaged"):
        write()
    assert not copy.exists()


def test_without_dpkg_the_tool_is_named(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    deb = DebPackage(
        name="one", version="1", architecture="all", filename="one.deb", size=1,
        sha256=store.add(b"x"),
    )  # fmt: skip
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="dpkg-deb is not installed"):
        write_repository(tmp_path, [deb], suite="trixie", architecture="amd64", store=store)
    with pytest.raises(MissingToolError, match="dpkg-deb is not installed"):
        find_distributions([deb], store=store)
