"""From a Dockerfile to a container that runs, without Docker: converted, locked, built, started."""

import json
from contextlib import ExitStack

import pytest

from tests.servers.packages import Packages
from tests.servers.scripted import scripted
from tests.wheels import Recipe, write_wheel

pytestmark = [pytest.mark.integration]

DOCKERFILE = """\
FROM debian:trixie-slim
ARG WORDS="hello there"
ENV GREETING="$WORDS, you" PIP_NO_CACHE_DIR=1
RUN apt-get update \\
 && apt-get install --yes --no-install-recommends ca-certificates netbase python3 python3-pip \\
 && rm -rf /var/lib/apt/lists/*
WORKDIR /srv/app
COPY requirements.txt .
RUN pip install --break-system-packages --index-url http://HOST/simple -r requirements.txt
RUN useradd --create-home --uid 1234 app
COPY --chown=app:app main.py data/ ./
USER app
ENTRYPOINT ["python3", "main.py"]
CMD ["--loud"]
"""
MAIN = """\
import getpass, json, os, sys
import lib
print(json.dumps({
    "lib": lib.x, "user": getpass.getuser(), "home": os.environ.get("HOME"), "cwd": os.getcwd(),
    "args": sys.argv, "greeting": os.environ["GREETING"], "data": open("words.txt").read(),
    "owner": os.stat("words.txt").st_uid, "netbase": os.path.exists("/etc/services"),
    "python": sys.prefix,
}))
"""


@pytest.fixture
def host(tmp_path):
    """Serve what the Dockerfile's pip would install; give the server's address."""
    recipes = (
        Recipe(name="app", requires=("lib>=1",)),
        Recipe(name="lib", version="1.5", files={"lib.py": b"x = 15\n"}),
    )
    paths = [write_wheel(tmp_path, recipe) for recipe in recipes]
    packages = Packages(wheels={path.name: path.read_bytes() for path in paths})
    with ExitStack() as stack:
        yield stack.enter_context(scripted(packages.respond)).host


def test_what_a_dockerfile_says_runs_as_it_says(small, tmp_path, host):
    here = small.copy(tmp_path / "project")
    for name, text in {
        "Dockerfile": DOCKERFILE.replace("HOST", host), "requirements.txt": "app==1.0\nlib\n",
        "main.py": MAIN, "data/words.txt": "so it is",
    }.items():  # fmt: skip
        (here.folder / name).parent.mkdir(exist_ok=True)
        (here.folder / name).write_text(text)

    said = here.run("init", "web", "--from", "Dockerfile").stdout
    assert "not taken" not in said
    assert "not pinned, so that `lock` chooses: lib" in said
    here.run("lock", "web", "--dry-run")
    here.run("build", "web")

    done = here.run("run", "web", "--runtime", "oci")
    assert json.loads(done.stdout) == {
        "lib": 15, "user": "app", "home": "/home/app", "cwd": "/srv/app",
        "args": ["main.py", "--loud"], "greeting": "hello there, you", "data": "so it is",
        "owner": 1234, "netbase": True, "python": "/opt/venv",
    }  # fmt: skip
    again = here.run("run", "web", "--runtime", "oci", "--", "--soft")
    assert json.loads(again.stdout)["args"] == ["main.py", "--soft"]
