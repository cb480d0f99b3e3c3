"""What a prune of the store leaves of git repositories."""

import os

import pytest

from envbuilder.model.git_url import Address
from envbuilder.model.lock import DebianBase, GitSource, Lock
from envbuilder.model.progress import Silent
from envbuilder.model.spec import Base, Spec
from envbuilder.resolve.git.contained import name_held
from envbuilder.resolve.git.mirror import Mirror
from envbuilder.resolve.git.prune import prune_sources
from envbuilder.storage.store import Store
from tests.servers.git_repositories import Origin

pytestmark = pytest.mark.integration


def test_repositories_go_that_no_lock_names_and_nobody_used(tmp_path):
    store = Store(tmp_path / "store")
    mirrors, commits = {}, {}
    for name in ("named", "used", "old"):
        origin = Origin.create(tmp_path / name)
        commits[name] = origin.commit({"a.txt": name})
        address = Address.parse(str(origin.path))
        mirrors[name] = Mirror(address, store=store, progress=Silent())
        mirrors[name].content(commits[name])
        cache = store.root / "compiled" / mirrors[name].path.name
        (cache / "ccache").mkdir(parents=True)
        for folder in (cache, mirrors[name].path):
            os.utime(folder, (0, 0))
    again = Mirror(mirrors["used"].address, store=store, progress=Silent(), offline=True)
    again.content(commits["used"])
    source = GitSource(
        name="x", version="1", repository=str(tmp_path / "named"), requested="", commit="", tree=""
    )
    spec = Spec(version=1, name="x", python="3.11", base=Base(debian="trixie"), packages={})
    base = DebianBase(suite="trixie", packages=())
    lock = Lock(spec=spec, base=base, wheels=(), sources=(source,))
    assert prune_sources(store, [lock], days=30) == 3  # one copy, two caches of compilers
    left = {name for name, mirror in mirrors.items() if mirror.path.exists()}
    assert left == {"named", "used"}
    assert [path.name for path in (store.root / "compiled").iterdir()] == [
        mirrors["named"].path.name
    ]
    with store.holds.of([name_held(mirrors["named"].path.name)]):  # as a build of hours does
        assert prune_sources(store, [], days=0) == 0
    assert prune_sources(store, [], days=0) == 2  # what was used in the last hour stays
