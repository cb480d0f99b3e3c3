"""What a rendered Dockerfile fetches from git by itself, in a real BuildKit (`make engine`)."""

from pathlib import Path

import pytest

from envbuilder.engines.buildkit import BuildxRun, build, find_builder, gather
from envbuilder.engines.render import files_stage, render, write
from envbuilder.model.errors import BuildError
from envbuilder.model.lock import GitSource, Lock
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.integration.docker_light import Light, make_light
from tests.servers.git import git_daemon
from tests.servers.git_projects import FLIT
from tests.servers.git_repositories import Origin
from tests.unit import locks

pytestmark = [pytest.mark.integration, pytest.mark.docker]


def fetch(light: Light, lock: Lock) -> Path:
    write(render(lock), light.folder / "context")
    wanted = BuildxRun(
        folder=light.folder / "context",
        target=files_stage("flitty"),
        platform="linux/amd64",
        contexts=light.contexts,
    )
    made = light.folder / "made"
    secrets = gather(lock.spec)
    work = context(Store(light.folder / "store"))
    build(work, wanted, made, builder=find_builder(), secrets=secrets)
    return made


def test_it_fetches_the_locked_commit_and_no_other_tree(tmp_path):
    light = make_light(tmp_path)
    origin = Origin.create(tmp_path / "served" / "flitty")
    (origin.path / ".git_archival.txt").symlink_to("/run/elsewhere")  # which is not followed
    commit = origin.commit(FLIT)
    tree = origin.git("rev-parse", "HEAD^{tree}")
    origin.commit({"later.txt": "x"})
    with git_daemon(tmp_path / "served") as url:

        def lock(tree: str) -> Lock:
            source = GitSource(
                name="flitty", version="1.2", repository=f"{url}/flitty/.git",
                requested=commit, commit=commit, tree=tree, describe="v1.2-0-gccccccccc",
            )  # fmt: skip
            pins = {"flitty": {"git": source.repository, "commit": commit}}
            return locks.lock({}, pins=pins, sources=(source,))

        made = fetch(light, lock(tree))
        found = {path.name: path.read_text() for path in made.iterdir()}
        archival = f"node: {commit}\ndescribe-name: v1.2-0-gccccccccc\n"
        assert found == {**FLIT, ".git_archival.txt": archival}
        with pytest.raises(BuildError, match=f"holds tree {tree}, not {'0' * 40} as locked"):
            fetch(light, lock("0" * 40))
