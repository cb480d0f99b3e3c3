"""A standalone Python that runs: this interpreter as such an archive, laid and started."""

import gzip
import io
import platform
import sys
import tarfile

import pytest

from envbuilder.engines.standalone import standalone_layers
from envbuilder.model.lock import DebianBase, StandalonePython
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.runtime import Command, choose
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.integration.python_image import standard_library
from tests.integration.tiny_image import tiny_image
from tests.unit import locks

pytestmark = pytest.mark.integration

MINOR = f"3.{sys.version_info.minor}"


def test_it_starts_and_knows_its_library(tmp_path):
    files = standard_library()
    inside = {path: data for path, data in files.items() if path.startswith("opt/py/")}
    libraries = {path: data for path, data in files.items() if path not in inside}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for path, data in inside.items():
            name = path.replace("opt/py/", "python/").replace("bin/python3", f"bin/python{MINOR}")
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755 if "/bin/" in name else 0o644
            tar.addfile(info, io.BytesIO(data))
    content = gzip.compress(made.getvalue(), compresslevel=1)
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
