"""An Ubuntu suite and a Python that it lacks: locked, built and run, from archives of our own.

The archive that stands for Ubuntu's holds real .deb files, Debian's, under a key of the test's; the
standalone build is this interpreter.
"""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from envbuilder.model.pylock import read_lock
from envbuilder.resolve.debian.distribution import UBUNTU
from envbuilder.storage.store import Store
from tests.integration.python_image import standalone_archive
from tests.servers.debian import debian_mirror
from tests.servers.scripted import scripted

pytestmark = [pytest.mark.integration]

SPEC = """\
version: 1
name: {name}
python: "{python}"
base: {{ubuntu: noble}}
system: {{packages: [python3]}}
packages: {{six: "==1.17.0"}}
env: {{LD_LIBRARY_PATH: /opt/python/lib}} # for this interpreter; a standalone build finds its own
"""
MINE = f"3.{sys.version_info.minor}"
ASK = (
    "import json, sys, six, sqlite3; "
    "print(json.dumps([sys.version_info[:2], sys.base_prefix, six.__file__]))"
)


@pytest.fixture
def here(small, tmp_path):
    """Give a checkout whose Ubuntu and whose standalone Pythons lie on loopback."""
    store = Store(Path(small.env["ENVBUILDER_CACHE"]))
    debs = read_lock(small.lock).base.packages
    python, _ = standalone_archive()
    with ExitStack() as stack:
        mirror = stack.enter_context(debian_mirror(tmp_path / "ubuntu"))
        paths = {deb.filename.rpartition("/")[2]: store.path(deb.sha256) for deb in debs}
        mirror.publish_files("noble", paths)
        for pocket in ("noble-updates", "noble-security"):
            mirror.publish(pocket, [])
        pythons = stack.enter_context(scripted(lambda call, _: call.answer(200, python)))
        yield small.copy(
            tmp_path / "project",
            **{
                UBUNTU.mirror: mirror.uri,
                UBUNTU.keyring_variable: str(mirror.signer.public),
                "UV_PYTHON_INSTALL_MIRROR": f"http://{pythons.host}",
            },
        )


def test_both_its_own_python_and_another_run_in_the_image(here):
    where = {"3.13": "/usr", MINE: "/opt/python"}
    for minor, prefix in where.items():
        name = f"py{minor.replace('.', '')}"
        text = SPEC.format(name=name, python=minor)
        (here.folder / "lockfiles" / f"{name}.yaml").write_text(text)
        here.run("build", name)
        lock = read_lock(here.folder / "lockfiles" / f"pylock.{name}.toml")
        assert lock.base.distribution == "ubuntu"
        assert (lock.base.standalone is not None) == (prefix == "/opt/python")
        done = here.run("run", name, "--runtime", "oci", "--", "python3", "-c", ASK)
        version, base, module = json.loads(done.stdout)
        assert (version, base) == ([int(part) for part in minor.split(".")], prefix)
        assert module == f"/opt/venv/lib/python{minor}/site-packages/six.py"
