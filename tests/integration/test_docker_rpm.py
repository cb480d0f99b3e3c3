"""The parts for RPM bases, run by a real dnf on real packages (`make engine`; real indexes).

No image of an RPM distribution can be pulled in a test, so the base is Debian with dnf and no apt,
and a repository of packages that rpmbuild made there.
"""

import pytest

from envbuilder.engines.docker import build_target, build_with_docker
from envbuilder.layers.untar import untar
from envbuilder.model.errors import ResolutionError
from envbuilder.model.image import compose
from envbuilder.model.progress import Silent
from envbuilder.model.reference import ImageRef
from envbuilder.registry.client import Client
from envbuilder.registry.transfer import push
from envbuilder.storage.store import Store
from envbuilder.workflow.lock import lock_environment
from tests.contexts import context
from tests.integration.docker_light import Light
from tests.servers.distribution import registry

pytestmark = [pytest.mark.integration, pytest.mark.docker, pytest.mark.deep]

BASE = """\
version: 1
name: rpm-base
python: "3.13"
base: {debian: trixie}
system: {packages: [python3, python3-pip, dnf, rpm, createrepo-c]}
packages: {six: "==1.17.0"}
steps:
  before_python:
    - |
      cat >/tmp/greet.spec <<'END'
      Name: greet
      Version: %{wanted}
      Release: 1
      Summary: A greeting
      License: MIT
      BuildArch: noarch
      Requires: greet-words
      %description
      A greeting.
      %package words
      Summary: Its words
      %description words
      Its words.
      %install
      mkdir -p %{buildroot}/usr/bin %{buildroot}/usr/share/greet
      echo 'cat /usr/share/greet/words' >%{buildroot}/usr/bin/greet
      echo 'hello %{version}' >%{buildroot}/usr/share/greet/words
      %files
      /usr/bin/greet
      %files words
      /usr/share/greet/words
      END
      for version in 1.0 1.1; do
        rpmbuild -bb --quiet --define "wanted $version" --define "_topdir /tmp/rpm" \\
          --define "_rpmdir /srv/rpm" --define "__spec_install_post %{nil}" /tmp/greet.spec
      done
      createrepo_c --quiet /srv/rpm
      mkdir -p /etc/yum.repos.d
      printf '[own]\\nname=own\\nbaseurl=file:///srv/rpm\\ngpgcheck=0\\n' >/etc/yum.repos.d/own.repo
"""
SPEC = """\
version: 1
name: on-rpm
python: "3.13"
base: {image: "IMAGE"}
system: {packages: [PACKAGE]}
packages: {six: "==1.17.0"}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def base(store, tmp_path_factory):
    """Build the base, and push it to a registry that stays for the module.

    It belongs to a user, and tells uv what would change the tree.
    """
    folder = tmp_path_factory.mktemp("base")
    (folder / "rpm-base.yaml").write_text(BASE)
    lock = lock_environment(context(store), folder / "rpm-base.yaml")
    built = build_target(context(store), lock, "system")
    told = ["UV_COMPILE_BYTECODE=1", "UV_SYSTEM_PYTHON=1", "PIP_TARGET=/elsewhere"]
    settings = {**built.settings, "Env": [*built.settings["Env"], *told], "User": "1000"}
    image = compose(built.layers, platform="linux/amd64", settings=settings)
    for part in (image.config, image.manifest):
        store.add(part)
    with registry(folder / "registry") as server, Client.from_environment() as client:
        ref = ImageRef.parse(f"{server.host}/rpm/base:1")
        push(client, image, store, ref, Silent())
        yield ref


def lock_on(base, package, store, folder):
    path = folder / "on-rpm.yaml"
    path.write_text(SPEC.replace("IMAGE", str(base)).replace("PACKAGE", package))
    return lock_environment(context(store), path)


def test_dnf_pins_and_installs_exactly_that(base, store, tmp_path):
    lock = lock_on(base, "greet-1.0", store, tmp_path)
    assert lock.base.manager == "dnf"
    assert lock.base.packages == ("greet-1.0-1.noarch", "greet-words-1.1-1.noarch")
    assert lock_on(base, "greet-1.0", store, tmp_path) == lock  # pinned: nobody is asked again

    image = build_with_docker(context(store), lock)
    assert image.settings["User"] == "1000"
    (system,) = (layer for layer in image.layers if layer.title == "system packages")
    found = files_of(system, store)
    assert found["usr/share/greet/words"] == b"hello 1.1\n"
    files = {path for path in found if "." in path or path.startswith("usr/bin/")}
    assert files == {"usr/bin/greet", "var/lib/rpm/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite-wal"}

    (six,) = (layer for layer in image.layers if layer.title == "six 1.17.0")
    assert "opt/venv/lib/python3.13/site-packages/six.py" in files_of(six, store)
    assert not [path for path in files_of(six, store) if path.endswith(".pyc")]

    light = Light(folder=tmp_path, contexts={})
    again = light.build(lock, target="system", fresh=True)
    assert system.digest == again.layers[-1].digest  # rpm 4.20 takes the day from the epoch


def files_of(layer, store):
    with untar(store.path(layer.digest), layer.media_type, layer.diff_id) as tar:
        return {entry.info.name: b"".join(tar.content()) for entry in tar.entries()}


def test_dnf_does_not_have_it(base, store, tmp_path):
    with pytest.raises(ResolutionError, match="No match for argument: nonesuch"):
        lock_on(base, "nonesuch", store, tmp_path)
