"""A standalone Python that runs: this interpreter as such an archive, laid and started."""

import platform
import sys

import pytest

from envbuilder.engines.standalone import standalone_layers
from envbuilder.model.lock import DebianBase, StandalonePython
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.runtime import Command, choose
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.integration.python_image import standalone_archive
from tests.integration.tiny_image import tiny_image
from tests.unit import locks

pytestmark = pytest.mark.integration

MINOR = f"3.{sys.version_info.minor}"


def test_it_starts_and_knows_its_library(tmp_path):
    content, libraries = standalone_archive()
    store = Store(tmp_path)
    python = StandalonePython(
        version=platform.python_version(),
        path="20990101/python.tar.gz",
        size=len(content),
        sha256=store.add(content),
    )
    assert python.sha256 == Digest.of(content)
    lock = locks.lock({}, python=MINOR)
    base = DebianBase(suite="trixie", packages=(), standalone=python)
    layers = standalone_layers(context(store), lock, base)
    image = tiny_image(store, layers=[libraries])
    stacked = tiny_image(store, below=(*image.layers, *layers))
    program = f"/opt/python/bin/python{MINOR}"
    code = "import sys, json; print(sys.version.split()[0], sys.prefix, json.__file__)"
    with choose("oci", store).prepared(stacked, progress=Silent()) as ready:
        done = ready.run(Command(args=(program, "-c", code)))
    version, prefix, module = done.stdout.decode().split()
    assert (version, prefix) == (platform.python_version(), "/opt/python")
    assert module == f"/opt/python/lib/python{MINOR}/json/__init__.py"
