"""What a build that fails says, by a program that stands in for docker."""

import pytest

from envbuilder.engines.buildkit import Builder, BuildxRun, Secrets, build
from envbuilder.model.errors import DiskFullError, MissingToolError
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


def test_a_builder_of_other_processors_is_not_asked_to_build(tmp_path, monkeypatch):
    (tmp_path / "docker").write_text(f"#!/bin/sh\n: >{tmp_path}/asked\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    wanted = BuildxRun(folder=tmp_path, target="runtime", platform="linux/amd64")
    arm = Builder(
        name="arm", driver="remote", version="v0.23.0", here=False, platforms=("linux/arm64",)
    )
    secrets = Secrets(flags=(), indexes={}, proxies={}, values=frozenset())
    with pytest.raises(MissingToolError, match="arm builds for linux/arm64, not for linux/amd64"):
        build(context(Store(tmp_path)), wanted, tmp_path / "made", builder=arm, secrets=secrets)
    assert not (tmp_path / "asked").exists()
