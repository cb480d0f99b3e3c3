"""What a build that fails says of the disk that is full, by a program that stands in for docker."""

import pytest

from envbuilder.engines.buildkit import Builder, BuildxRun, Secrets, build
from envbuilder.model.errors import DiskFullError
from envbuilder.storage.store import Store
from tests.contexts import context

DOCKER = """\
#!/bin/sh
dest=$(echo "$*" | sed "s/.*dest=//; s/,.*//")
echo "ERROR: failed to solve: write {place}: no space left on device" >&2
exit 1
"""


@pytest.mark.parametrize(
    ("place", "hint"),
    [("$dest/ingest/x/data", "ENVBUILDER_CACHE"), ("/var/lib/buildkit/x", "docker buildx prune")],
)
def test_whose_disk_is_full(tmp_path, monkeypatch, place, hint):
    (tmp_path / "docker").write_text(DOCKER.format(place=place))
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    wanted = BuildxRun(folder=tmp_path, target="runtime", platform="linux/amd64")
    builder = Builder(name="far", driver="remote", version="v0.23.0", here=False)
    secrets = Secrets(flags=(), indexes={}, proxies={}, values=frozenset())
    with pytest.raises(DiskFullError, match="no space left") as caught:
        build(context(Store(tmp_path)), wanted, tmp_path / "made", builder=builder, secrets=secrets)
    assert hint in caught.value.hint
