"""An image base whose Python only its own files tell, with own files and a user: locked, run.

The base is this interpreter with its library, in a registry on loopback; the package is in an
index that a folder is.
"""

import platform
import sys
from pathlib import Path

import pytest

from envbuilder.model.errors import LockError
from envbuilder.model.lock import ImageBase
from envbuilder.model.progress import Silent
from envbuilder.model.reference import ImageRef
from envbuilder.registry.transfer import push
from envbuilder.runtime import Command, choose
from envbuilder.storage.store import Store
from envbuilder.workflow.lock import current_lock, lock_environment
from envbuilder.workflow.make import make_image
from tests.command import envbuilder
from tests.contexts import context
from tests.integration.python_image import standard_library
from tests.integration.tiny_image import tiny_image
from tests.servers.distribution import registry
from tests.wheels import Recipe, write_wheel

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("told_nothing")]

MINOR = f"3.{sys.version_info.minor}"
SPEC = """\
version: 1
name: asked
python: "MINOR"
base: {image: "BASE"}
packages: {mine: "==1.0"}
index: {url: "INDEX"}
user: {name: app, uid: 1001}
env: {PATH: "/srv/app:$PATH", GREETING: "from $WHERE costs $$1"}
files: [{from: app/, to: /srv/app, owner: app}]
"""
PROBE = """\
import getpass, os, sys, mine
print(sys.version.split()[0], getpass.getuser(), os.path.expanduser("~"), os.environ["GREETING"])
open(os.path.expanduser("~") + "/x", "w") if os.access(os.path.expanduser("~"), os.W_OK) else None
print(open("/srv/app/chat.jinja").read(), os.stat("/srv/app/run").st_uid, mine.__file__)
"""


def base_files() -> dict[str, bytes | None]:
    """Lay this interpreter out where only a search finds it."""
    files = standard_library()
    here = {
        path.replace("opt/py/bin/python3", f"usr/local/bin/python{MINOR}").replace(
            "opt/py/lib/", "usr/local/lib/"
        ): content
        for path, content in files.items()
    }
    shared = (path for path in files if "/libpython3" in path)
    return here | {f"usr/local/lib/{Path(path).name}": files[path] for path in shared}


@pytest.fixture
def spec(tmp_path: Path):
    """Push the base, make the index, and write the spec with its files."""
    store = Store(tmp_path / "elsewhere")
    image = tiny_image(
        store,
        config={"Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "WHERE=base"]},
        layers=[base_files()],
    )
    index = tmp_path / "index" / "mine"
    index.mkdir(parents=True)
    wheel = write_wheel(index, Recipe(name="mine", files={"mine.py": b""}))
    (index / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    app = tmp_path / "app"
    app.mkdir()
    (app / "chat.jinja").write_text("{{ messages }}")
    (app / "run").write_text(f"#!/bin/sh\nexec python{MINOR} -c '{PROBE}'\n")
    (app / "run").chmod(0o755)
    with registry(tmp_path / "registry") as server:
        ref = ImageRef.parse(f"{server.host}/base:1")
        push(context(store).registries, image, store, ref, Silent())
        text = SPEC.replace("MINOR", MINOR).replace("BASE", str(ref))
        path = tmp_path / "asked.yaml"
        path.write_text(text.replace("INDEX", index.parent.as_uri()))
        yield path


def test_from_the_bases_own_files_to_a_running_container(spec, tmp_path):
    store = Store(tmp_path / "store")
    lock = lock_environment(context(store), spec)
    assert isinstance(lock.base, ImageBase)
    assert lock.base.interpreter == f"/usr/local/bin/python{MINOR}"
    assert lock.base.python == platform.python_version()
    assert lock.base.glibc == platform.libc_ver()[1]
    assert lock_environment(context(store), spec) == lock, "and stays"

    image = make_image(context(store), current_lock(context(store), spec))
    assert make_image(context(store), lock).digest == image.digest
    kinds = [layer.kind for layer in image.layers[-4:]]
    assert kinds == ["account", "packages", "files", "environment"]
    with choose("oci", store).prepared(image, progress=Silent()) as ready:
        done = ready.run(Command(args=("/srv/app/run",)))
    assert done.exit_code == 0, done.stderr
    first, second = done.stdout.decode().splitlines()
    assert first == f"{platform.python_version()} app /home/app from base costs $1"
    assert second.startswith("{{ messages }} 1001 /opt/venv/lib/")

    (spec.parent / "app" / "chat.jinja").write_text("changed")
    with pytest.raises(LockError, match=r"app: chat\.jinja changed"):
        current_lock(context(store), spec)
    assert "chat.jinja changed" in envbuilder("lock", "-f", spec, "--check", code=5).stderr


def test_another_python_is_refused_when_it_is_locked(spec, tmp_path):
    from envbuilder.model.errors import ResolutionError

    other = spec.read_text().replace(f'python: "{MINOR}"', 'python: "3.9"')
    spec.write_text(other)
    with pytest.raises(ResolutionError, match=rf"no Python 3\.9, but {MINOR} at /usr/local/bin"):
        lock_environment(context(Store(tmp_path / "store")), spec)
