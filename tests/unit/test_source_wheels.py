"""What is brought along of a lock whose sources are built elsewhere, or later."""

from dataclasses import replace

import pytest

from envbuilder.engines import source_wheels
from envbuilder.layers.wheel_reconstruction import has_wheel
from envbuilder.model.lock import ArchiveSource, ImageBase
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.unit import locks

DIGEST = Digest.of(b"devel")
BUILDER = ImageBase(reference="registry.example.com/devel", digest=DIGEST, config=DIGEST, layers=())
SDIST = ArchiveSource(
    name="needy", version="1.0", filename="needy-1.0.tar.gz", size=1, sha256=Digest.of(b"x")
)


@pytest.mark.parametrize(("archives", "fetched"), [((SDIST,), 1), ((), 0)])
def test_the_image_to_compile_in_is_fetched_for_sdists_too(
    tmp_path, monkeypatch, archives, fetched
):
    lock = replace(locks.lock({}), builder=BUILDER, archives=archives)
    store, bases = Store(tmp_path), []
    assert not has_wheel(store, SDIST.sha256)
    monkeypatch.setattr(source_wheels.wheel_build, "fetch_sources", lambda *_: None)
    monkeypatch.setattr(source_wheels, "fetch_base", lambda _, lock: bases.append(lock.base))
    source_wheels.fetch_sources(context(store), lock)
    assert bases == [BUILDER] * fetched
