import pytest
from packaging.requirements import Requirement

from envbuilder.model.errors import ResolutionError
from envbuilder.model.git_url import Address
from envbuilder.resolve.git.repository import GitRepository
from envbuilder.resolve.git.scm_version import (
    describe,
    names_history,
    needs_history,
    plain_version,
    variables,
)


@pytest.mark.parametrize(
    ("described", "version"),
    [
        ("v1.4.2-0-g0123456789", "1.4.2"),
        ("v1.4.2-3-g012345678", "1.4.3.dev3+g012345678"),
        ("1.4-3-g012345678", "1.5.dev3+g012345678"),
        ("v2-1-g012345678", "2.1.dev1+g012345678"),
        ("v1.0rc1-2-g012345678", "1.0rc2.dev2+g012345678"),
        ("release-1.2-0-g012345678", "1.2"),
        ("v4.51.3-Qwen2.5-Omni-preview-1-g012345678", "0.1.dev1+g012345678"),
        ("0.0-17-g012345678", "0.1.dev17+g012345678"),
    ],
)
def test_the_plain_version_is_what_setuptools_scm_says_without_a_date(described, version):
    assert plain_version(described) == version


@pytest.mark.parametrize(
    "tool",
    [
        1,
        {"setuptools_scm": 1},
        {"setuptools_scm": {"git_describe_command": 1}},
        {"setuptools_scm": {"git_describe_command": "git describe --match 'v*"}},
        {"setuptools_scm": {"git_describe_command": ["git", "describe", "--match", "v\0*"]}},
        {"setuptools-scm": {"scm": {"git": 1}}},
    ],
)
def test_settings_that_make_no_sense_are_refused_in_words(tmp_path, tool):
    history = GitRepository(path=tmp_path, address=Address.parse("/srv/proj"))
    with pytest.raises(ResolutionError, match=r"\[tool\.setuptools_scm\] cannot be read"):
        describe(history, "a" * 40, {"tool": tool})


def test_only_tools_that_cannot_read_the_archival_file_get_a_variable():
    described = "v1.0-0-g012345678"
    assert variables(["setuptools-scm", "setuptools"], described) == {}
    assert variables(["pdm-backend"], described) == {"PDM_BUILD_SCM_VERSION": "1.0"}
    assert variables(["PBR", "wheel"], described) == {"PBR_VERSION": "1.0"}


@pytest.mark.parametrize(
    ("line", "needed"),
    [("setuptools_scm[toml]>=8", True), ("hatch-vcs", True), ("pbr", True), ("setuptools", False)],
)
def test_history_is_only_needed_for_versions_from_tags(line, needed):
    assert needs_history([Requirement(line)]) is needed


@pytest.mark.parametrize(
    ("script", "named"),
    [
        (b'setup(use_scm_version=True, setup_requires=["setuptools_scm"])', True),
        (b"[options]\nsetup_requires = setuptools-scm\n", True),
        (b'setup(setup_requires=["pbr>=2"], pbr=True)', True),
        (b'setup(name="xpbr")', False),
        (b"", False),
    ],
)
def test_scripts_name_their_tools_themselves(script, named):
    assert names_history(script) is named
