"""Variables inside of ``env``: what a Dockerfile makes of them, and how one is written."""

import pytest

from envbuilder.engines.dockerfile_quoting import with_variables
from envbuilder.engines.render import render
from envbuilder.evidence.verify.content import compare_content
from envbuilder.model.errors import SpecError
from envbuilder.model.image_config import environment, image_settings, unknown_variables
from envbuilder.model.spec_file import load
from envbuilder.model.variables import expanded, names_in
from tests.unit import locks
from tests.unit.rendered import image

KNOWN = {"PATH": "/usr/bin", "A": "a b", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("/cuda/bin:$PATH", "/cuda/bin:/usr/bin"),
        ("${PATH}x", "/usr/binx"),
        ("$PATHx", ""),
        ("$A-$EMPTY-$NONE", "a b--"),
        ("$$PATH costs $$5 or $5", "$PATH costs $5 or $5"),
        ("$$$A", "$a b"),
        ("a$", "a$"),
        ("$(id)", "$(id)"),
        ("$Ä", "$Ä"),
        ("", ""),
    ],
)
def test_values(text, result):
    assert expanded(text, KNOWN) == result


def test_names():
    assert names_in("$A ${B} $$C $1 $") == {"A", "B"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("/bin:$PATH", '/bin:"${PATH}"'),
        ('say "$A" $$', '"say \\"""${A}""\\" \\$"'),
        ("`$A`", "'`'\"${A}\"'`'"),
        ("", '""'),
        ("$A$B", '"${A}""${B}"'),
    ],
)
def test_one_word_of_a_dockerfile(text, word):
    assert with_variables(text) == word


def test_the_path_is_put_before_what_base_and_environment_have():
    """The case that gave an image without its own python3."""
    lock = locks.lock({}, env={"PATH": "/usr/local/cuda/bin:$PATH", "OLD": "$PATH"})
    found = environment(lock, {"Env": ["PATH=/base/bin", "CUDA=12"]})
    assert found["PATH"] == "/usr/local/cuda/bin:/opt/venv/bin:/base/bin"
    assert found["OLD"] == "/opt/venv/bin:/base/bin", "none sees another of the spec's"
    assert found["CUDA"] == "12"


def test_a_dockerfile_on_an_image_leaves_them_to_docker_in_one_instruction():
    lock = with_env(image(), {"PATH": "/cuda/bin:$PATH", "HERE": "${PATH}", "PLAIN": "a $$"})
    lines = render(lock)["Dockerfile"].splitlines()
    at = lines.index("ENV PATH=/opt/venv/bin:$PATH")
    given = 'ENV HERE="${PATH}" PATH=/cuda/bin:"${PATH}" PLAIN="a \\$"'
    assert given in lines[at:]


def test_a_dockerfile_on_debian_has_the_values_themselves():
    lock = locks.lock({}, env={"PATH": "/cuda/bin:$PATH", "WHO": "$$USER"})
    lines = render(lock)["Dockerfile"].splitlines()
    assert f"ENV PATH={environment(lock, {})['PATH']}" in lines
    assert 'ENV WHO="\\$USER"' in lines


def with_env(lock, env):
    from dataclasses import replace

    from msgspec import structs

    return replace(lock, spec=structs.replace(lock.spec, env=env))


@pytest.mark.parametrize("text", ["${A:-b}", "${}", "${1}", "${A"])
def test_what_a_shell_alone_would_know_is_refused(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_text(
        'version: 1\nname: x\npython: "3.12"\nbase: {debian: trixie}\npackages: {}\n'
        f"env: {{A: '{text}'}}\n"
    )
    with pytest.raises(SpecError, match="is not the name of a variable"):
        load(path)


def test_what_a_base_brings_is_no_difference_to_verify():
    from dataclasses import replace

    from envbuilder.engines.embedded import seal
    from envbuilder.model.image import compose

    lock = replace(with_env(image(), {"HERE": "$PATH", "PLAIN": "x"}), sources=())
    base = {"Env": ["PATH=/base/bin"]}
    built = compose((), platform="linux/amd64", settings=image_settings(lock, base))
    sealed = seal(lock, built, engine="embedded")
    other = compose((), platform="linux/amd64", settings=image_settings(lock, base), created="now")
    assert sealed.seal is not None
    names = {each.subject for each in compare_content(sealed, sealed.seal, other) if each.actual}
    assert "Env HERE" not in names
    assert "Env PLAIN" not in names


def test_a_name_that_nothing_sets_is_told():
    env = {"A": "$PATH ${LANG}", "B": "$USER $$HOME $USER", "C": "$A"}
    assert unknown_variables(locks.lock({}, env=env)) == [("B", "USER"), ("C", "A")]
    assert unknown_variables(with_env(image(), env)) == []
