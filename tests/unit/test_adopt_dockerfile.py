"""Dockerfiles: our grammar against Docker's own parser, and what is concluded from RUN lines."""

from pathlib import Path

import dockerfile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuilder.model.errors import UsageError
from envbuilder.workflow.adopt.dockerfile.evaluate import Knowledge
from envbuilder.workflow.adopt.dockerfile.instructions import read_instruction
from envbuilder.workflow.adopt.dockerfile.read import read_dockerfile
from envbuilder.workflow.adopt.dockerfile.shell import parse_shell
from envbuilder.workflow.adopt.dockerfile.stage import Stage
from envbuilder.workflow.adopt.dockerfile.syntax import parse_dockerfile
from envbuilder.workflow.adopt.dockerfile.words import Expansion, UnreadableError, expand
from envbuilder.workflow.adopt.fold import Target, fold
from tests.unit.test_adopt_deployments import DEPLOYMENTS

HERE = Path(__file__).parent
HARD = r"""# escape=\
# a comment
from debian:bookworm as  one
RUN --mount=type=cache,target=/x --network=none echo a \
  # a comment between
  && echo "b \" c" \

  && echo d
RUN ["echo", "a b"]
RUN [ -f /x ] && echo no-json
COPY <<-"X" <<Y /to/
	kept without tabs
X
in $HOME
Y
RUN <<EOF
apt-get update
EOF
RUN cat <<< word
ENV A=b C="d e" F=g\ h
LABEL k="v w"
  CMD  python   -m  x
RUN echo two \\
EXPOSE 80 90/udp
"""


def ours(text):
    return [
        (each.name, each.line, each.flags, [(doc.name, doc.content) for doc in each.heredocs])
        for each in parse_dockerfile(text, name="Dockerfile")
    ]


def docker(text):
    return [
        (
            each.cmd.upper(),
            each.start_line,
            each.flags,
            [(doc.name, doc.content) for doc in each.heredocs],
        )
        for each in dockerfile.parse_string(text)
    ]


@pytest.mark.parametrize(
    "path", sorted(DEPLOYMENTS.glob("*/Dockerfile")), ids=lambda p: p.parent.name
)
def test_deployments_are_parsed_as_docker_parses_them(path):
    text = path.read_text("utf-8")
    assert ours(text) == docker(text)


@pytest.mark.parametrize(
    "text",
    [
        HARD,
        "# escape=`\nFROM a\nRUN echo a `\n  b\nRUN dir c:\\\nRUN x\n",
        "FROM a\r\nRUN b \\\r\n c\r\n",
        "FROM a\r\nCOPY <<E /x\r\none\r\n\r\nE\r\nRUN b\r\r\n",
        *(f"FROM a\nRUN b{end}RUN c\n# d{end}RUN e\nCOPY <<E /x\nf{end}E\ng\nE\n{end}\nRUN h"
          for end in "\x0b\x0c\x85\u2028\u2029"),
    ],
)  # fmt: skip
def test_hard_cases_are_parsed_as_docker_parses_them(text):
    assert ours(text) == docker(text)
    plain = [each.rest for each in parse_dockerfile(text, name="x") if each.name == "RUN"]
    theirs = [each.value for each in dockerfile.parse_string(text) if each.cmd.upper() == "RUN"]
    assert ["".join(each.split()) for each in plain if not each.startswith('["')] == [
        "".join("".join(value).split()) for value in theirs if value != ("echo", "a b")
    ]


@pytest.mark.parametrize("sign", ["\x0b", "\x0c", "\x85", "\u00a0", "\u2028"])
def test_only_blanks_part_the_words_of_a_shell(sign):
    (command,) = parse_shell(f"a{sign}b c\td").nodes
    assert command.words == (f"a{sign}b", "c", "d")


def test_a_heredoc_without_an_end_is_told_with_its_line():
    with pytest.raises(UsageError, match=r"Dockerfile:2: the heredoc <<EOF does not end"):
        ours("FROM a\nRUN <<EOF\nx\n")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("$A", "1"), ("${A}", "1"), ("'$A'", "$A"), ('"$A x"', "1 x"), (r"\$A", "$A"),
        ("${B:-two}", "two"), ("${E:-two}", "two"), ("${E-two}", ""), ("${A:+yes}", "yes"),
        ("${B:+yes}", ""), ("${V%%.*}", "12"), ("${V%.*}", "12.8"), ("${V#*.}", "8.1"),
        ("${V##*.}", "1"), ("a${A}b$A", "a1b1"), ("${B:-${A}x}", "1x"), ("${NOT}", "${NOT}"),
        ("$(echo x)", "$(echo x)"),
    ],
)  # fmt: skip
def test_words_are_expanded_as_a_shell_does(word, expected):
    known = {"A": "1", "E": "", "V": "12.8.1"}
    assert expand(word, Expansion(variables={**known, "B": None})) == expected
    assert expand(word, Expansion(variables=known, complete=True)) == expected


@pytest.mark.parametrize(
    ("word", "expected", "unknown"),
    [
        ("/a:${X:-}", "/a:${X}", "X"), ("/a:${X-}", "/a:${X}", "X"),
        ("/a${X:+:$X}", "/a:${X}", "X"), ("${X:+${X}:}/a", "${X}:/a", "X"),
        ("${X:?no}", "${X}", "X"),
        ("${X:-two}", "${X:-two}", "${X:-two}"), ("${X-$A}", "${X-$A}", "${X-$A}"),
        ("${X:+yes}", "${X:+yes}", "${X:+yes}"), ("${X:+-I$X}", "${X:+-I$X}", "${X:+-I$X}"),
        ("${X%.*}", "${X%.*}", "${X%.*}"), ("${X//a/b}", "${X//a/b}", "${X//a/b}"),
    ],
)  # fmt: skip
def test_what_the_base_may_set_is_not_empty(word, expected, unknown):
    using = Expansion(variables={"A": "1"})
    assert expand(word, using) == expected
    assert unknown in using.unknown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("echo $V | cut -d. -f1,2 | tr -d '.'", "128"),
        ("echo ${V} | cut -d '.' -f 1-2", "12.8"),
        (r"echo $V | sed 's/\.//g'", "1281"),
        ("uname -m", "x86_64"),
        ("dpkg --print-architecture", "amd64"),
        ("nproc", None),
        ("cat /etc/os-release", None),
        ("echo $UNKNOWN", None),
        ("echo $V | awk 1", None),
    ],
)
def test_substitutions_are_answered_only_if_they_cut_known_texts(text, expected):
    assert Knowledge({"V": "12.8.1"}).substitute(text) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('[ "$A" = "1" ]', True), ('[ "$A" == "2" ]', False), ('[ "$A" != "2" ]', True),
        ('[ -n "$A" ]', True), ("[ -z ${NONE} ]", True), ("[ ! -z ${NONE} ]", False),
        ('[ -z "$NONE" ]', True), ("test $A -ge 2", False), ("[[ $V == 12.* ]]", True),
        ('[[ $V == "12.*" ]]', False), ("! false", True),
        ('[ "$A" = "2" ] || [ "$A" = "1" ]', True),
        ("[ -f /etc/passwd ]", None), ('[ "$BASE" = "x" ]', None), ("grep -q x /etc/y", None),
        ('false && [ -f /x ]', False), ('[ -f /x ] || true', True),
    ],
)  # fmt: skip
def test_conditions_hold_only_if_all_of_them_is_known(condition, expected):
    knowledge = Knowledge({"A": "1", "V": "12.8.1", "NONE": None})
    assert knowledge.holds(parse_shell(condition)) is expected


@pytest.mark.parametrize(
    "text",
    ["if x; then y", "case a in b) c", "f() { x; }", "x )", "for i in 1; do x", "{ x;", "; ;;"],
)
def test_what_is_not_shell_is_told(text):
    with pytest.raises(UnreadableError):
        parse_shell(text)


def test_deep_nesting_ends_in_a_refusal_not_in_a_crash():
    with pytest.raises(UnreadableError, match="nested"):
        parse_shell("(" * 5000 + "x" + ")" * 5000)


PIECES = [
    "if ", "then ", "fi", "case ", "in ", "esac", "else ", ";;", ";", "&&", "||", "|", "(", ")",
    "{ ", "}", "! ", "[ ", "]", "$", "$(", "${", ":-", "'", '"', "`", "\\", "\n", "\\\n", "#",
    "<<EOF", ">", "2>&1", " ", "a", "pip install ", "cd ", "git clone ", "FROM x\n", "RUN ",
    "ENV A=", "COPY ", "--from=0 ",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
@settings(max_examples=400, deadline=None)
def test_whatever_stands_there_is_read_or_refused(text):
    for lines in parse_safely(text), parse_safely(f"FROM a\nRUN {text}"):
        for each in lines:
            stage = Stage(name="x", contexts=(HERE,), arguments={}, knowledge=Knowledge({"a": "1"}))
            assert all(found.at.place for found in read_instruction(stage, each))


def parse_safely(text):
    try:
        return list(parse_dockerfile(text, name="x"))
    except UsageError:
        return []


@pytest.mark.parametrize(
    "sign", ["(", "$(", "${A:-", '"$(', "! ", "if ", "{ ", "[ ! ", "`", "a=$("]
)
def test_what_nests_a_thousand_times_is_left(tmp_path, sign):
    _, left = read(tmp_path, f"FROM debian:trixie\nRUN {sign * 3000}x\nENV A={sign * 3000}x\n")
    assert all(each.startswith("Dockerfile:") for each in left)


def read(tmp_path, text, *, stage=None, files=(), **arguments):
    """Return what a Dockerfile gives: the spec, and place -> reason of what is left."""
    path = tmp_path / "Dockerfile"
    path.write_text(text)
    for name, content in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    statements = read_dockerfile(path, arguments=arguments, stage=stage)
    found = fold(statements, Target(folder=tmp_path))
    return found.spec, {each.at.place: each.left for each in found.left}


def test_the_arguments_before_from_count_only_where_they_are_declared(tmp_path):
    text = (
        "ARG V=3.12\nFROM python:${V}-slim\nRUN pip install x==$V\nARG V\nRUN pip install y==$V\n"
    )
    spec, left = read(tmp_path, text)
    assert spec["base"] == {"image": "python:3.12-slim", "python": "/usr/local/bin/python3.12"}
    assert spec["packages"] == {"y": "==3.12"}
    assert left == {"Dockerfile:3": "V is not known here"}


def test_an_argument_without_a_value_says_how_to_give_it(tmp_path):
    text = "FROM debian:trixie\nARG V\nRUN pip install torch==$V tqdm\n"
    _, left = read(tmp_path, text)
    assert left == {"Dockerfile:3": "the argument V has no value: give it with --build-arg V=…"}
    spec, left = read(tmp_path, text, V="2.6.0")
    assert spec["packages"] == {"torch": "==2.6.0", "tqdm": "*"}
    assert not left


def test_a_base_without_a_value_is_told_and_the_usual_one_stands_in(tmp_path):
    spec, left = read(tmp_path, "ARG BASE\nFROM $BASE\nRUN pip install x\n")
    assert "--build-arg BASE=" in left["Dockerfile:2"]
    assert spec["base"] == {"debian": "bookworm"}


def test_what_stands_on_a_stage_is_read_and_other_stages_are_not(tmp_path):
    text = (
        "FROM debian:trixie AS one\nRUN pip install a\n"
        "FROM debian:bookworm AS other\nRUN pip install b\n"
        "FROM one\nRUN pip install c\nCOPY --from=other /bin/x /bin/x\n"
    )
    spec, left = read(tmp_path, text)
    assert list(spec["packages"]) == ["a", "c"]
    assert left == {"Dockerfile:7": "files that other made: build a wheel of them"}
    spec, _ = read(tmp_path, text, stage="other")
    assert list(spec["packages"]) == ["b"]
    with pytest.raises(UsageError, match="no stage 'none'"):
        read(tmp_path, text, stage="none")


@pytest.mark.parametrize(
    ("make", "copied"),
    [
        ("RUN python -m venv /opt/env", "/opt/env"),
        ("RUN uv venv /opt/env", "/opt"),
        ("ENV VIRTUAL_ENV=/opt/env", "/opt/env/bin"),
        ("RUN true", "/usr/local"),
        ("RUN true", "/usr/local/lib/python3.12/site-packages"),
    ],
)
def test_an_environment_that_is_copied_from_a_stage_comes_in(tmp_path, make, copied):
    text = (
        f"FROM python:3.12 AS build\nRUN apt-get install -y gcc\n{make}\nRUN pip install a==1\n"
        f"FROM python:3.12-slim\nCOPY --from=build {copied} {copied}\n"
    )
    spec, left = read(tmp_path, text)
    assert spec["packages"] == {"a": "==1"}
    assert "system" not in spec, "the compiler stays in its stage"
    assert not left


def test_a_clone_becomes_a_package_where_it_is_installed(tmp_path):
    text = (
        "FROM debian:trixie\nWORKDIR /src\n"
        "RUN git clone --recursive -b v1.0 https://git.example.com/one.git \\\n"
        "  && cd one/python && FLAG=1 pip install -v .[all]\n"
        "RUN git clone https://git.example.com/two && cd two && git checkout abcdef0 \\\n"
        "  && pip install .\n"
        "RUN git clone https://git.example.com/three && pip install ./three\n"
        "RUN git clone https://git.example.com/four\n"
    )
    spec, left = read(tmp_path, text)
    assert spec["packages"] == {
        "one[all]": {
            "git": "https://git.example.com/one.git",
            "tag": "v1.0",
            "subdirectory": "python",
            "submodules": True,
            "build": {"env": {"FLAG": "1"}},
        },
        "two": {"git": "https://git.example.com/two", "commit": "abcdef0"},
    }
    assert "floats" in left["Dockerfile:7"]
    assert "nothing is installed" in left["Dockerfile:8"]


def test_a_ref_of_a_server_says_its_kind(tmp_path):
    clone = (
        "RUN git clone https://git.example.com/{0} && cd {0} && git checkout {1} && pip install .\n"
    )
    refs = {"aa": "origin/1.0", "bb": "tags/release", "cc": "refs/heads/v2"}
    text = "".join(clone.format(name, ref) for name, ref in refs.items())
    spec, left = read(tmp_path, f"FROM debian:trixie\n{text}")
    kinds = {"aa": {"branch": "1.0"}, "bb": {"tag": "release"}, "cc": {"branch": "v2"}}
    assert spec["packages"] == {
        name: {"git": f"https://git.example.com/{name}", **kind} for name, kind in kinds.items()
    }
    assert not left


DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("reference", "python", "more"),
    [
        (f"python:3.12-slim@{DIGEST}", "3.12", {"python": "/usr/local/bin/python3.12"}),
        (f"docker.io/library/python:3.12.4@{DIGEST}", "3.12",
         {"python": "/usr/local/bin/python3.12"}),
        (f"ubuntu:24.04@{DIGEST}", "3.12", {}),
        (f"debian:bookworm-slim@{DIGEST}", "3.11", {}),
        (f"debian:13@{DIGEST}", "3.13", {}),
        (f"nvidia/cuda:12.4.1-base-ubuntu22.04@{DIGEST}", "3.10", {}),
    ],
)  # fmt: skip
def test_a_base_with_a_digest_stays_that_image_and_has_its_python(
    tmp_path, reference, python, more
):
    spec, left = read(tmp_path, f"FROM {reference}\n")
    assert spec["base"] == {"image": reference, **more}
    assert spec["python"] == python
    assert ("system" in spec) is not bool(more), "a bare system gets its python3"
    assert not left


def test_mounts_and_markers_of_what_is_installed(tmp_path):
    """uv's own guide mounts pyproject.toml to a relative target, which counts from WORKDIR."""
    text = (
        "FROM debian:trixie\nWORKDIR /app\nARG FILE=a.txt\n"
        "RUN --mount=type=bind,source=pyproject.toml,target=pyproject.toml uv sync --no-dev\n"
        "RUN --mount=target=deps pip install -r deps/$FILE\n"
        "RUN --mount=type=bind,source=$FILE,target=/x/$FILE pip install -r /x/a.txt\n"
        "COPY lib lib\nRUN pip install \"./lib ; python_version < '3'\"\n"
        "RUN --network=none --mount=type=tmpfs,target=/y pip install -r /y/a.txt\n"
    )
    files = [
        ("pyproject.toml", '[project]\nname = "mine"\ndependencies = ["base"]\n'),
        ("a.txt", "aa\n"), ("lib/pyproject.toml", '[project]\nname = "lib"\n'),
    ]  # fmt: skip
    spec, left = read(tmp_path, text, files=files)
    assert spec["packages"] == {"base": "*", "aa": "*"}
    assert left == {"Dockerfile:9": "/y/a.txt is not in the build context"}


def test_files_of_requirements_are_found_where_copy_laid_them(tmp_path):
    text = (
        "FROM debian:trixie\nWORKDIR /app\nCOPY deps/a.txt deps/b.txt ./\nCOPY deps /all/\n"
        "RUN pip install -r a.txt -r /all/c.txt --index-url https://i.example.com/cu124\n"
        "RUN --mount=type=bind,source=deps/d.txt,target=/d.txt pip install -r /d.txt\n"
        "RUN pip install -r /d.txt\nCOPY ../outside.txt /\nRUN pip install -r /outside.txt\n"
    )
    (tmp_path / "outside.txt").write_text("secret\n")
    inside = tmp_path / "context"
    inside.mkdir()
    names = {"a": "aa==1\n-r b.txt\n", "b": "bb\n", "c": "cc\n", "d": "dd\n"}
    spec, left = read(inside, text, files=[(f"deps/{k}.txt", v) for k, v in names.items()])
    assert spec["packages"] == {
        "aa": {"version": "==1", "index": "cu124"},
        "bb": {"version": "*", "index": "cu124"},
        "cc": {"version": "*", "index": "cu124"},
        "dd": "*",
    }
    assert spec["index"]["named"] == {"cu124": "https://i.example.com/cu124"}
    assert left.keys() >= {"Dockerfile:7", "Dockerfile:9"}


PROJECT = """\
[project]
name = "mine"
dependencies = ["base"]
[project.optional-dependencies]
fast = ["quick"]
[dependency-groups]
dev = ["pytest"]
serve = ["uvicorn"]
[build-system]
requires = []
"""


@pytest.mark.parametrize(
    ("command", "packages", "left"),
    [
        ("uv sync --locked", {"base", "mine"}, {"dev", "serve", "fast"}),
        ("uv sync --no-dev --extra fast", {"base", "mine[fast]", "quick"}, {"serve"}),
        ("uv sync --dev", {"base", "mine", "pytest"}, {"serve", "fast"}),
        ("uv sync --no-dev --group=serve --no-install-project", {"base", "uvicorn"}, {"fast"}),
        ("uv sync --all-extras --all-groups --no-group dev",
         {"base", "mine[fast]", "quick", "uvicorn"}, set()),
        ("uv sync --only-group serve", {"uvicorn"}, {"dev"}),
        ("uv sync --only-dev", {"pytest"}, {"serve"}),
        ("uv sync --no-dev --group none", {"base", "mine"}, {"none", "serve", "fast"}),
        ("pip install --group serve", {"uvicorn"}, set()),
        ("pip install --group /srv/pyproject.toml:dev x", {"pytest", "x"}, set()),
        ("uv pip install --group serve --group dev", {"uvicorn", "pytest"}, set()),
        ("uv pip install -r pyproject.toml --extra fast", {"base", "quick"}, {"dev", "serve"}),
        ("uv pip install -r pyproject.toml --all-extras", {"base", "quick"}, {"dev", "serve"}),
    ],
)  # fmt: skip
def test_commands_choose_groups_and_extras_of_a_project(tmp_path, command, packages, left):
    text = f"FROM debian:trixie\nWORKDIR /srv\nCOPY pyproject.toml .\nRUN {command}\n"
    path = tmp_path / "Dockerfile"
    path.write_text(text)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    found = fold(read_dockerfile(path, arguments={}), Target(folder=tmp_path))
    assert {each.partition(" ")[0] for each in found.spec["packages"]} == packages
    assert {each.at.text.rpartition(".")[2] for each in found.left} == left


def test_a_group_of_a_file_that_is_not_there_is_left(tmp_path):
    _, left = read(tmp_path, "FROM debian:trixie\nRUN pip install --group sub/pyproject.toml:x\n")
    assert left == {"Dockerfile:2": "sub/pyproject.toml is not in the build context"}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("--torch-backend=cu128", "index.named"),
        ("--torch-backend cu128", "index.named"),
        ("--pre", "pre-release"),
        ("--prerelease=allow", "pre-release"),
        ("--no-index", "indexes come from the machine"),
        ("--find-links=/wheels", "page of links"),
        ("--no-binary :all:", "build.sdists"),
        ("--platform manylinux2014_x86_64", "`platform`"),
        ("--frobnicate", "--frobnicate has no key"),
    ],
)
def test_options_that_say_what_is_installed_are_told(tmp_path, options, why):
    spec, left = read(tmp_path, f"FROM debian:trixie\nRUN uv pip install {options} torch==2.6\n")
    assert spec["packages"] == {"torch": "==2.6"}
    assert why in left["Dockerfile:2"]


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ("--no-deps", "overrides"),
        ("--no-build-isolation", "build.requires"),
        ("-q -U --no-cache-dir --upgrade-strategy eager -vv --progress-bar off", ""),
    ],
)
def test_options_that_change_nothing_are_no_reason(tmp_path, options, note):
    path = tmp_path / "Dockerfile"
    path.write_text(f"FROM debian:trixie\nRUN pip install {options} torch==2.6\n")
    found = fold(read_dockerfile(path, arguments={}), Target(folder=tmp_path))
    assert note in found.origins["packages", "torch"]
    assert found.spec["packages"] == {"torch": "==2.6"}
    assert not found.left


def test_how_pip_is_set_up_says_what_is_installed(tmp_path):
    text = (
        "FROM debian:trixie\nRUN pip config set global.index-url https://i.example.com/simple\n"
        "RUN pip config set global.find-links /wheels\nRUN pip config set global.timeout 60\n"
        "RUN uv pip install --index cu=https://whl.example.com/cu --exclude-newer 2025-07-01 x\n"
    )
    spec, left = read(tmp_path, text)
    assert left.keys() == {"Dockerfile:3"}
    assert spec["index"] == {
        "url": "https://i.example.com/simple", "extra_urls": ["https://whl.example.com/cu"],
        "exclude_newer": "2025-07-01",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("variable", "why"),
    [
        ("UV_TORCH_BACKEND=cu128", "index.named"), ("PIP_PRE=1", "pre-release"),
        ("PIP_FIND_LINKS=/wheels", "page of links"),
        ("UV_INDEX_STRATEGY=unsafe-first-match", "best"),
        ("PIP_CONSTRAINT=/c.txt", "a file"), ("PIP_PRE=0", ""), ("UV_LINK_MODE=copy", ""),
        ("PIP_NO_CACHE_DIR=1", ""), ("PIP_NO_DEPS=1", ""),
    ],
)  # fmt: skip
def test_variables_that_stand_for_options_are_told_as_those(tmp_path, variable, why):
    spec, left = read(tmp_path, f"FROM debian:trixie\nENV {variable}\n")
    assert "env" not in spec
    assert why in left.get("Dockerfile:2", "")
    assert bool(left) is bool(why)


def test_an_installer_in_a_version_comes_in(tmp_path):
    text = 'FROM debian:trixie\nRUN pip install -U pip wheel uv[x] "setuptools>=65,<81" pip==25\n'
    spec, left = read(tmp_path, text)
    assert spec["packages"] == {"setuptools": "<81,>=65", "pip": "==25"}
    assert not left


def test_how_an_image_runs_comes_in(tmp_path):
    text = (
        "FROM debian:trixie\nENV A=1 B='two words'\nLABEL team=x\nWORKDIR /srv\nWORKDIR app\n"
        "EXPOSE 80 8000-8001/tcp\nVOLUME /data /more\nSTOPSIGNAL SIGINT\nUSER 1000:1000\n"
        'HEALTHCHECK --interval=1m30s --retries=2 CMD curl -f http://127.0.0.1\nENTRYPOINT ["a"]\n'
        "CMD b $A\nONBUILD RUN x\nEXPOSE 53/udp\nENV HF_TOKEN=hunter2\n"
    )
    spec, left = read(tmp_path, text)
    assert spec["env"] == {"A": "1", "B": "two words"}
    assert spec["labels"] == {"team": "x"}
    assert spec["workdir"] == "/srv/app"
    assert spec["expose"] == [80, 8000, 8001]
    assert spec["volumes"] == ["/data", "/more"]
    assert spec["stop_signal"] == "SIGINT"
    assert spec["user"] == "1000:1000"
    assert spec["healthcheck"] == {
        "command": ["/bin/sh", "-c", "curl -f http://127.0.0.1"], "interval": 90, "retries": 2,
    }  # fmt: skip
    assert spec["entrypoint"] == ["a"]
    assert spec["cmd"] == ["/bin/sh", "-c", "b $A"]
    assert left.keys() == {"Dockerfile:13", "Dockerfile:14", "Dockerfile:15"}
    assert "hunter2" not in str(left)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("RUN make install", "it compiles"),
        ("RUN curl -L https://x.example.com | bash", "has no hash"),
        ("RUN pip install --target=/x y", "outside of the environment"),
        ("RUN for i in 1 2; do pip install x$i; done", "a loop"),
        ("RUN if [ -f /x ]; then pip install y; fi", "asks the machine"),
        ("RUN apt-get purge -y gcc", "nothing is taken away"),
        ("RUN apt-get install -y ./x.deb", "not the name of a package"),
        ("RUN conda install -y numpy", "conda"),
        ("RUN echo 'unclosed", "its condition"),
        ("COPY app /srv/app", "not in the build context"),
        ("COPY Dockerfile /proc/x", "no place for files"),
        ("RUN useradd other", "does not run as other"),
        ("ADD https://files.example.com/x /x", "has no hash"),
        ("NONSENSE x", "no instruction"),
        (
            "RUN pip install 'x @ https://u:hunter2@i.example.com/x-1-py3-none-any.whl'",
            "login",
        ),
    ],
)
def test_what_a_spec_cannot_say_is_left_with_its_line_and_reason(tmp_path, line, why):
    _, left = read(tmp_path, f"FROM debian:trixie\n{line}\n")
    if why != "its condition":  # a quote that does not close swallows the rest, as in a shell
        assert why in left["Dockerfile:2"]
    assert "hunter2" not in str(left)


def test_a_dockerignore_that_cannot_be_read_is_told(tmp_path):
    """It keeps secrets out: to go on without it would bring them in."""
    text = "FROM debian:trixie\nCOPY . /all\n"
    (tmp_path / ".dockerignore").write_bytes(b"secret\xff\n")
    with pytest.raises(UsageError, match=r"\.dockerignore is not UTF-8"):
        read(tmp_path, text, files=[("secret", "")])
    (tmp_path / ".dockerignore").unlink()
    (tmp_path / ".dockerignore").mkdir()
    with pytest.raises(UsageError, match=r"cannot read .*\.dockerignore: Is a directory"):
        read(tmp_path, text)


def test_own_files_come_in_as_copy_lays_them(tmp_path):
    text = (
        "FROM debian:trixie\nWORKDIR /srv\nCOPY app app\nCOPY --chmod=755 run.sh one.py ./\n"
        "COPY run.sh /usr/local/bin/serve\nCOPY one.py /srv\nCOPY run.sh /usr/local/bin\n"
        "COPY . /all\nCOPY *.py /py/\nCOPY none /x\n"
        "RUN groupadd -g 7 g && useradd -m -u 1001 -g g -d /data/app app\n"
        "COPY --chown=app:g app /own\nUSER app\n"
    )
    (tmp_path / ".dockerignore").write_text("# no\u2028*.py\n*.log\r\n\nbuild/\n")
    files = [("app/a.py", ""), ("run.sh", ""), ("one.py", "")]
    spec, left = read(tmp_path, text, files=files)
    never = {"exclude": [".git/"]}
    assert spec["files"] == [
        {"from": "app", "to": "/srv/app", **never},
        {"from": "run.sh", "to": "/srv/", "mode": "755"},
        {"from": "one.py", "to": "/srv/", "mode": "755"},
        {"from": "run.sh", "to": "/usr/local/bin/serve"},
        {"from": "one.py", "to": "/srv/"},
        {"from": "run.sh", "to": "/usr/local/bin/"},
        {"from": ".", "to": "/all",
         "exclude": [".git/", "*.log", "build/", "pylock.*.toml", "*.ledger.jsonl"]},
        {"from": "one.py", "to": "/py/"},
        {"from": "app", "to": "/own", "owner": "1001:7", **never},
    ]  # fmt: skip
    assert spec["user"] == {"name": "app", "uid": 1001, "gid": 7, "home": "/data/app"}
    assert left == {"Dockerfile:10": "none is not in the build context"}


def test_more_files_than_a_spec_holds_are_left(tmp_path):
    lines = "".join(f"COPY a{n} /srv/\n" for n in range(40))
    spec, left = read(
        tmp_path, f"FROM debian:trixie\n{lines}", files=[(f"a{n}", "") for n in range(40)]
    )
    assert len(spec["files"]) == 32
    assert "32 entries at most" in left["Dockerfile:34"]
    assert len(left) == 8


def test_variables_of_the_base_stay_variables_and_dollars_stay_dollars(tmp_path):
    text = (
        "FROM nvidia/cuda:12.4.1-base-ubuntu22.04\nENV PATH=/opt/venv/bin:$PATH\n"
        "ENV PATH=/opt/x/bin:$PATH:/opt/y\nENV LD_LIBRARY_PATH=/a:${LD_LIBRARY_PATH} B=1\n"
        "ENV LD_LIBRARY_PATH=/b:$LD_LIBRARY_PATH C='$B' D=$B\n"
    )
    spec, left = read(tmp_path, text)
    assert spec["env"] == {
        "PATH": "/opt/x/bin:$PATH:/opt/y",
        "LD_LIBRARY_PATH": "/b:/a:${LD_LIBRARY_PATH}",
        "B": "1", "C": "$$B", "D": "1",
    }  # fmt: skip
    assert not left


def test_what_the_base_may_set_stays_its_own_or_is_left(tmp_path):
    text = (
        "ARG BASE\nFROM ${BASE:-debian}:${SUITE:-trixie}\nENV X=/a:${X:-} Y=/a${Y:+:$Y}\n"
        "ENV X=/b:${X:-}\nENV Z=${Z:-word}\nENV W=${V%.*}\nARG NONE\nENV E=a${NONE:-}b\n"
        "RUN pip install a==${TORCH:-1}\nRUN pip install b==${NONE:-2}\n"
        'RUN N=$(nproc) && if [ -z "$N" ]; then pip install c; fi\n'
    )
    spec, left = read(tmp_path, text)
    assert spec["base"] == {"debian": "trixie"}
    assert spec["env"] == {"X": "/b:/a:${X}", "Y": "/a:${Y}", "E": "ab"}
    assert spec["packages"] == {"b": "==2"}
    assert left == {
        "Dockerfile:5": "${Z:-word} is not known here",
        "Dockerfile:6": "${V%.*} is not known here",
        "Dockerfile:9": "${TORCH:-1} is not known here",
        "Dockerfile:11": "its condition asks the machine that builds",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"FROM a\n" + b"#" * (10 << 20), "larger than"),
        (bytes(range(256)) * 10, "UTF-8|NUL"),
        (b"RUN x\n", "no FROM"),
        (b"FROM a\n" + b"ENV A=1\n" * 3000, "2,000 instructions"),
    ],
)
def test_what_is_no_sensible_dockerfile_is_refused(tmp_path, content, message):
    path = tmp_path / "Dockerfile"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        list(read_dockerfile(path, arguments={}))
