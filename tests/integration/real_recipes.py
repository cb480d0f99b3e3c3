"""The pipelines of docs/examples run: every step, on bare machines, against a real registry.

Opt-in (`make recipes`): ten jobs, each of which installs what it needs from the mirrors of this
machine, as on a hosted runner; half an hour on two idle cores.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from uv import find_uv_bin

from envbuilder.evidence.keys import new_key
from envbuilder.model.package_spec import Index
from envbuilder.model.pylock import read_lock
from envbuilder.resolve.python.indexes import uv_environment
from tests.e2e.conftest import Checkout
from tests.recipes.github import Hosted, Ran
from tests.recipes.gitlab import Project
from tests.recipes.machine import Machine, debian
from tests.servers.distribution import PASSWORD, USER, Server, registry
from tests.servers.git import git_http

pytestmark = [pytest.mark.integration]

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
PIPELINE = EXAMPLES / "gitlab" / ".gitlab-ci.yml"
REPOSITORY = "team/project"
SPEC = """\
version: 1
name: small
python: "3.13"
base: {debian: trixie}
system:
  packages: [python3]
packages:
  six: "==1.16.0"
  pydantic: "==2.10.0"
  pydantic-core: "==2.27.0"
"""
HOSTED = ("sudo", "git", "jq", "pipx")
"""What a hosted runner of GitHub has, of what our workflows use."""
TOLD = "/root/told"
STAND_INS = ("gh", "sysctl")
"""Programs that only note what they are told: there is no GitHub here, and one kernel for all."""
_STAND_IN = f'#!/bin/sh\necho "$(basename "$0") $*" >>{TOLD}\n'


@pytest.fixture(scope="module")
def gitlab_trees(tmp_path_factory) -> tuple[Path, ...]:
    """Make what jobs of GitLab start on: Debian as its container image is."""
    return (debian(tmp_path_factory.mktemp("trees") / "debian"),)


@pytest.fixture(scope="module")
def github_trees(tmp_path_factory, gitlab_trees) -> tuple[Path, ...]:
    """Make what jobs of GitHub start on: the same, and the programs of a hosted runner."""
    hosted = Machine(trees=gitlab_trees, folder=tmp_path_factory.mktemp("hosted"))
    install = f"apt-get -q update && apt-get -qy install --no-install-recommends {' '.join(HOSTED)}"
    done = hosted.run(["sh", "-ec", install], environ={"DEBIAN_FRONTEND": "noninteractive"})
    assert done.returncode == 0, done.stdout
    for name in STAND_INS:
        hosted.write(f"/usr/local/bin/{name}", _STAND_IN)
        hosted.path(f"/usr/local/bin/{name}").chmod(0o755)
    return hosted.kept()


@pytest.fixture(scope="module")
def tool(tmp_path_factory) -> Path:
    """Build this project's wheel."""
    folder = tmp_path_factory.mktemp("tool")
    build = [find_uv_bin(), "build", "-q", "--wheel", "-o", folder, ROOT]
    subprocess.run(build, check=True, env=uv_environment(Index()))
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("registry"), passwords=True) as running:
        yield running


@dataclass(frozen=True, kw_only=True)
class Team:
    """A team's repository on its git server, with a checkout of it, and what its jobs start on."""

    checkout: Checkout
    origin: str
    bare: Path
    runs_on: str
    images: str
    key: Path
    server: Server
    tool: Path
    trees: tuple[Path, ...]
    folder: Path

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.checkout.folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def machine(self) -> Machine:
        """Make a machine for a job, on which nothing has run yet."""
        folder = self.folder / f"job-{len([*self.folder.glob('job-*')])}"
        shared = {str(self.tool): f"/opt/{self.tool.name}"}
        return Machine(trees=self.trees, folder=folder, shared=shared)

    def hosted(self, *, secrets: Mapping[str, str] = {}, **event: object) -> Hosted:
        known = {
            "vars": {
                "REGISTRY": self.server.host,
                "IMAGES": self.images,
                "ENVBUILDER": f"/opt/{self.tool.name}",
            },
            "secrets": secrets,
            "github": {"actor": USER, "token": PASSWORD, "repository": REPOSITORY, **event},
        }
        return Hosted(origin=self.origin, known=known, machine=self.machine)

    def gitlab(self) -> Project:
        host, _, path = self.origin.removeprefix("http://").partition("/")
        known = {
            "CI_SERVER_PROTOCOL": "http",
            "CI_SERVER_FQDN": host,
            "CI_PROJECT_PATH": path.removesuffix(".git"),
            "CI_DEFAULT_BRANCH": "main",
            "CI_REGISTRY": self.server.host,
            "CI_REGISTRY_USER": USER,
            "CI_REGISTRY_PASSWORD": PASSWORD,
            "ENVBUILDER": f"/opt/{self.tool.name}",
            "IMAGES": self.images,
            "BOT_TOKEN": "secret",
        }
        files = {"publish": {"TEAM_KEY": self.key.read_text("utf-8")}}
        return Project(origin=self.origin, variables=known, files=files, machine=self.machine)

    def folder_of(self, name: str) -> Path:
        """Name the folder in which the registry keeps the tags of a repository of the team."""
        images = self.images.partition("/")[2]
        repositories = self.server.storage / "docker/registry/v2/repositories"
        return repositories / images / name / "_manifests/tags"

    def tags(self, name: str) -> list[str]:
        return sorted(path.name for path in self.folder_of(name).glob("*"))

    def spec_on(self, branch: str) -> str:
        self.git("fetch", "-q", "--prune", "origin")
        return self.git("show", f"origin/{branch}:lockfiles/small.yaml")


@pytest.fixture(params=["github", "gitlab"], scope="module")
def team(request, tmp_path_factory, *, tool, server, trixie) -> Iterator[Team]:
    """Make a repository as a person would who reads the page: spec, lock, key, and our files."""
    folder = tmp_path_factory.mktemp(request.param)
    served, work = folder / "served", folder / "work"
    bare = served / "project.git"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", bare], check=True)
    for name in ("http.receivepack", "receive.advertisePushOptions"):
        subprocess.run(["git", "-C", bare, "config", name, "true"], check=True)
    hook = bare / "hooks" / "pre-receive"
    hook.write_text('#!/bin/sh\nenv | grep ^GIT_PUSH_OPTION_ | sort >> "$PWD/push-options" || :\n')
    hook.chmod(0o755)
    trixie(folder / "store")
    checkout = Checkout(work, {"ENVBUILDER_CACHE": str(folder / "store")})
    (work / "lockfiles").mkdir(parents=True)
    checkout.spec.write_text(SPEC)
    private, public = new_key(folder / "team")
    images = f"{server.host}/team/{request.param}"
    shutil.copy(public, work)
    shutil.copy(EXAMPLES / "policy.yaml", work)
    said = (EXAMPLES / "envbuilder.toml").read_text("utf-8")
    assert "ghcr.io/acme/layers" in said
    (work / "envbuilder.toml").write_text(said.replace("ghcr.io/acme", images))
    login = folder / "docker"
    checkout.run("build", "small", DOCKER_CONFIG=str(login))
    with git_http(served) as git:
        made = Team(
            checkout=checkout, origin=git.address("project.git"), bare=bare, images=images,
            runs_on=request.param,
            key=private, server=server, tool=tool, folder=folder,
            trees=request.getfixturevalue(f"{request.param}_trees"),
        )  # fmt: skip
        made.git("init", "-q", "-b", "main")
        made.git("remote", "add", "origin", made.origin)
        made.git("config", "user.name", "a person")
        made.git("config", "user.email", "person@example.org")
        made.git("add", "lockfiles", "team.pub", "policy.yaml", "envbuilder.toml")
        made.git("commit", "-qm", "small")
        made.git("push", "-q", "origin", "main")
        yield made


def last(jobs: Mapping[str, list[Ran]], name: str) -> Ran:
    """Return the one job of that name, after which none failed."""
    (ran,) = jobs[name]
    assert ran.code == 0, ran.said
    return ran


def publish(team: Team) -> Ran:
    if team.runs_on == "github":
        hosted = team.hosted(secrets={"TEAM_KEY": team.key.read_text("utf-8")})
        return last(hosted.run(EXAMPLES / "github" / "publish.yml"), "publish")
    return on_gitlab(team, "publish", CI_PIPELINE_SOURCE="push", CI_COMMIT_BRANCH="main")


def verify(team: Team) -> Ran:
    if team.runs_on == "github":
        (ran,) = team.hosted().run(EXAMPLES / "github" / "verify.yml")["verify"]
        return ran
    event = {"CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_BRANCH": "main", "JOB": "verify"}
    return team.gitlab().run(PIPELINE, **event)["verify"]


def bump(team: Team) -> Ran:
    if team.runs_on == "github":
        return last(team.hosted().run(EXAMPLES / "github" / "bump.yml"), "bump")
    event = {"CI_PIPELINE_SOURCE": "schedule", "CI_COMMIT_BRANCH": "main", "JOB": "bump"}
    return on_gitlab(team, "bump", **event)


def lock(team: Team, branch: str) -> Ran:
    if team.runs_on == "github":
        request = {"user": {"login": "renovate[bot]"}, "head": {"repo": {"full_name": REPOSITORY}}}
        event = {"head_ref": branch, "base_ref": "main", "event": {"pull_request": request}}
        return last(team.hosted(**event).run(EXAMPLES / "github" / "lock.yml"), "lock")
    return on_gitlab(
        team, "lock", CI_PIPELINE_SOURCE="merge_request_event",
        CI_MERGE_REQUEST_SOURCE_BRANCH_NAME=branch, CI_MERGE_REQUEST_TARGET_BRANCH_NAME="main",
    )  # fmt: skip


def on_gitlab(team: Team, name: str, **event: str) -> Ran:
    """Run a pipeline that has one job."""
    jobs = team.gitlab().run(PIPELINE, **event)
    assert list(jobs) == [name]
    assert jobs[name].code == 0, jobs[name].said
    return jobs[name]


@pytest.fixture(scope="module")
def published(team: Team) -> Ran:
    return publish(team)


def test_publish_pushes_what_main_says_and_shares_its_layers(team, published):
    assert "latest" in team.tags("small")
    assert any(tag.endswith(".att") for tag in team.tags("small"))
    assert [tag for tag in team.tags("layers") if tag.startswith("layers-")]
    assert team.key.read_text("utf-8").split("\n")[1] not in published.said


@pytest.mark.usefixtures("published")
def test_verify_says_yes_to_it_and_no_without_its_evidence(team):
    good = verify(team)
    assert good.code == 0, good.said
    assert "is what the lock says, at level 2" in good.said
    tags = team.folder_of("small")
    (evidence,) = tags.glob("*.att")
    evidence.rename(tags.parent / "hidden")
    try:
        assert verify(team).code == 9
    finally:
        (tags.parent / "hidden").rename(evidence)


@pytest.mark.usefixtures("published")
def test_bump_hands_in_what_is_green_and_takes_layers_from_the_registry(team):
    before = team.tags("layers")
    ran = bump(team)
    assert "pydantic==" in ran.said
    assert " stays out: exit 4" in ran.said
    branch = "bump/small" if team.runs_on == "github" else "bump"
    spec = team.spec_on(branch)
    assert 'six: "==1.16.0"' not in spec
    assert 'pydantic: "==2.10.0"' in spec
    asked(team, ran)
    for held in ("Debian trixie", "pydantic 2"):
        assert re.search(rf"(?m)^pull +{held}", ran.said), "it comes from the registry"
    made = re.findall(r"(?m)^layer +(\S+)", ran.said)
    assert made == ["six"], "only what is new is made"
    assert team.tags("layers") == before, "who has no key puts nothing there"


def asked(team: Team, ran: Ran) -> None:
    """Check that a request to merge was made."""
    if team.runs_on == "github":
        told = ran.machine.path(TOLD).read_text("utf-8").splitlines()
        assert told == [
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            "gh pr create --fill",
        ]
    else:
        options = (team.bare / "push-options").read_text("utf-8")
        assert "merge_request.create" in options
        assert "merge_request.target=main" in options


@pytest.mark.usefixtures("published")
def test_lock_makes_a_changed_spec_whole(team):
    team.git("switch", "-qc", "renovate/six", "main")
    team.checkout.spec.write_text(SPEC.replace("1.16.0", "1.17.0"))
    team.git("commit", "-qam", "Update six")
    team.git("push", "-q", "origin", "HEAD")
    lock(team, "renovate/six")
    team.git("pull", "-q", "origin", "renovate/six")
    team.checkout.run("lock", "small", "--check")
    found = read_lock(team.checkout.lock)
    assert {wheel.name: wheel.version for wheel in found.wheels}["six"] == "1.17.0"
    assert found.seal is not None
    team.git("switch", "-q", "main")
