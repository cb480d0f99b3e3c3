import json
import re
from functools import reduce
from operator import getitem

import jsonschema
import pytest
import yaml

from envbuilder.model.errors import SpecError
from envbuilder.model.package_spec import SourceBuild
from envbuilder.model.spec import Spec, from_builtins, requirement_lines, schema, to_builtins
from envbuilder.model.spec_file import load
from envbuilder.model.yaml_document import MAX_BYTES

from . import locks

GOOD = """\
version: 1
name: omni-cpu
python: "3.13"
base: {debian: trixie}
system:
  packages: [python3, python3-torch]
  site_packages: true
packages:
  transformers: "==4.52.4"
  Pillow: "*"
  vllm:
    git: https://example.org/vllm.git
    branch: main
    commit: de8f43fbe9
    build:
      requires: [cmake]
      env: {MAX_JOBS: "8"}
index:
  exclude_newer: 2025-06-29T00:00:00Z
smoke:
  model: {family: qwen2_5_omni}
  tokens: {audio: 750}
"""

SUITE_WORDS = "the name of a suite (Debian 12 is bookworm, 13 trixie; Ubuntu 24.04 is noble)"


@pytest.fixture
def spec(tmp_path):
    """Give a function that loads GOOD with one text replaced by another."""

    def make(old="", new=""):
        assert old in GOOD
        path = tmp_path / "omni-cpu.yaml"
        path.write_text(GOOD.replace(old, new, 1))
        return load(path)

    return make


def test_a_good_spec(spec):
    found = spec()
    assert [str(r) for r in found.requirements] == ["Pillow", "transformers==4.52.4"]
    assert list(found.sources) == ["vllm"]
    assert found.requested == {"pillow", "transformers", "vllm"}
    assert found.index.exclude_newer == "2025-06-29T00:00:00Z"
    assert from_builtins(json.loads(json.dumps(to_builtins(found)))) == found


def test_a_package_may_say_more_than_a_version(tmp_path):
    path = tmp_path / "many.yaml"
    path.write_text("""\
version: 1
name: many
python: "3.13"
base: {debian: trixie}
packages:
  torch: {version: "==2.6.0", index: cu124}
  six: "==1.17.0; python_version < '4'"
  flash-attn: {url: "https://x.example/flash_attn-2.7.4%2Bcu12-cp313-cp313-linux_x86_64.whl"}
  mine[extra]: {path: ../mine-1.0-py3-none-any.whl}
  own[x]: {path: ../own/, build: {env: {A: b}}}
  far: {url: "https://x.example/far-1.0.tar.gz"}
  deepspeed: {version: "==0.16.9", build: {requires: [ninja]}}
build: {sdists: [antlr4-python3-runtime]}
index: {named: {cu124: "https://x.example/cu124"}, exempt: [cu124, mine], exclude_newer: 2025-01-01}
overrides: {Six: "==1.17.0"}
constraints: ["numpy<2.3; sys_platform == 'linux'"]
""")
    found = load(path)
    lines = [str(each) for each in found.requirements]
    assert lines == ["deepspeed==0.16.9", 'six==1.17.0; python_version < "4"', "torch==2.6.0"]
    assert found.indexes.chosen == {"torch": "cu124"}
    assert list(found.direct) == ["flash-attn", "mine[extra]"]
    assert list(found.archives) == ["far", "own[x]"]
    assert found.sdists == {"antlr4-python3-runtime", "deepspeed"}
    assert found.build_of("own") == SourceBuild(env={"A": "b"})
    assert found.build_of("antlr4-python3-runtime") == SourceBuild()
    assert found.builds
    assert requirement_lines(found.overrides) == ("Six==1.17.0",)
    assert from_builtins(json.loads(json.dumps(to_builtins(found)))) == found


def test_a_file_of_lines_becomes_its_lines(tmp_path):
    path = tmp_path / "omni-cpu.yaml"
    path.write_text(GOOD + "constraints: limits.txt\n")
    limits = tmp_path / "limits.txt"
    limits.write_text("# ours\nnumpy<2.3  # old\n\nsix==1.17.0 \\\n    --hash=sha256:00\n")
    assert load(path).constraints == ("numpy<2.3", "six==1.17.0")
    for line, says in (("-r other.txt", "'-r' is not read"), ("six @ file:///x", "an address"),
                       ("six=1", "not a requirement")):  # fmt: skip
        limits.write_text(f"numpy<2.3\n{line}\n")
        with pytest.raises(SpecError, match=rf"omni-cpu.yaml:23:1: .*limits.txt:2: .*{says}"):
            load(path)


@pytest.mark.parametrize(
    ("old", "new", "place", "says", "hint"),
    [
        ("branch", "brnch", "13:5", "unknown key 'brnch'", "did you mean branch?"),
        ("smoke:", "smok:", "20:1", "unknown key 'smok'", "did you mean smoke?"),
        ("name:", "name: a\nname:", "3:1", "stands twice (first on line 2)", ""),
        ('"3.13"', "3.10", "3:1", "3.10 becomes 3.1", 'quote it: "3.10"'),
        ('"==4.52.4"', "4.52", "9:3", "the number 4.52", 'quote it: "4.52"'),
        ('"==4.52.4"', '"4.52.4"', "9:3", "not a version specifier", '"==4.52.4"'),
        ('"==4.52.4"', '" @ https://x"', "9:3", "not a version specifier", "{url: …}"),
        ("transformers:", '"transformers>1":', "9:3", "more than a package name", "behind"),
        (
            "transformers:",
            "'transformers; os_name>\"\"':",
            "9:3",
            "more than a package name",
            "behind",
        ),
        ("Pillow", "Transformers", "10:3", "the same package", "keep one"),
        ("de8f43fbe9", "main", "14:5", "a commit id of 7 to 64", ""),
        ("    branch: main\n    commit: de8f43fbe9\n", "", "11:3", "needs a tag", "commit"),
        ("branch: main", 'branch: "--upload-pack=x"', "13:5", "the name of a git tag", ""),
        ("https://example", "https://me:pw@example", "12:5", "must hold no login", "helper"),
        ("https://example.org/vllm.git", '"ext::sh id"', "12:5", "not a repository", "ssh"),
        ("    commit: de8f43fbe9\n", "    subdirectory: ./x\n", "14:5", "a folder inside", "plain"),
        ("    commit: de8f43fbe9\n", "    subdirectory: a/../..\n", "14:5", "inside", "plain"),
        ("[cmake]", '["cmake @ https://x"]', "16:18", "is not a requirement", "index"),
        ("[cmake]", '["-r x"]', "16:18", "is not a requirement", "index"),
        ("{debian: trixie}", "{}", "4:1", "exactly one of debian, ubuntu and image", "trixie"),
        ("{debian: trixie}", "{debian: '12'}", "4:8", f"{SUITE_WORDS}, found '12'", ""),
        ("{debian: trixie}", "{debian: 12}", "4:8", f"{SUITE_WORDS}, found '12'", ""),
        ("{debian: trixie}", "{ubuntu: 24.04}", "4:8", f"{SUITE_WORDS}, found '24.04'", ""),
        ("{debian: trixie}", "{image: x}", "7:3", "needs a Debian base", "leave it out"),
        ("audio: 750", "audoi: 750", "22:12", "expected one of audio, image, video", ""),
        ("audio: 750", "audio: many", "22:12", "expected a whole number", ""),
        ("python3,", '"python3; rm -rf",', "6:14", "a package name, or NAME=VERSION", ""),
        ("MAX_JOBS", "MAX-JOBS", "17:13", "the name of an environment variable", ""),
        ('"8"', '"8\\nRUN x"', "17:13", "one line of text", ""),
        ("version: 1", "version: 2", "1:1", "version", ""),
        ("version: 1\n", "", "1:1", "'version' is missing", ""),
        ("{family: qwen2_5_omni}", "{family: a, path: b}", "21:3", "exactly one of family", "{"),
        ("2025-06-29T00:00:00Z", "someday", "19:3", "not an RFC 3339 moment", "2025"),
        ("29T00:00:00Z", "29T00:00:00", "19:3", "not an RFC 3339 moment", "2025"),
        ("29T00:00:00Z", "29T00:00:00+25:00", "19:3", "not an RFC 3339 moment", "2025"),
        ('"*"', '"*", six', "10:14", "not valid YAML", "a missing quote"),
        ("system:\n", "\tsystem:\n", "5:1", "not valid YAML", "no tabs"),
        ("omni-cpu", "Omni_CPU", "2:1", "lower-case words", ""),
        ("omni-cpu", "x" * 65, "2:1", "a string of length <= 64", ""),
        ("omni-cpu", "other", "2:1", "the file is called omni-cpu.yaml", "other.yaml"),
        ("omni-cpu", "!!bool foo", "2:7", "'foo' is not a plain value", "quote it"),
        ("omni-cpu", '!!int ""', "2:7", "'' is not a plain value", "quote it"),
        ("omni-cpu", "1" + ":59" * 300 + ".5", "2:7", "is not a plain value", "quote it"),
        ("version: 1", "version: " + "1" * 5000, "1:10", "YAML takes it for int", "quote it"),
        ("version: 1", "version: 1" + ":59" * 3000, "1:10", "YAML takes it for int", "quote it"),
        ('"3.13"', "3." + "1" * 5000, "3:1", "expected a string", "quote it"),
        ("2025-06-29T00:00:00Z", "2025-13-45", "19:3", "not an RFC 3339 moment", "2025"),
        ("{debian: trixie}", "{image: 'A B'}", "4:8", "'library/A B' is not a repository", "base"),
        ("index:", "build: {image: 'a:B C'}\nindex:", "18:9", "'B C' is not a tag", ""),
        ("index:", "build: {secrets: {a: {}}}\nindex:", "18:19", "exactly one of env", "a: {env"),
        ("index:", "build: {secrets: {a: {env: A, file: b}}}\nindex:", "18:19", "exactly one", "a"),
        ("index:", "index:\n  url: ftp://h", "19:3", "'ftp://h' is not an index URL", "https"),
        ("index:", "index:\n  extra_urls: [https://a, b]", "19:27", "'b' is not an index", "https"),
        ("  Pillow", "  vlm: {tag: v1}\n  Pillow", "10:3", "exactly one of version, git", "{"),
        ('"*"', "", "10:3", "Pillow: expected a string or a mapping, got nothing", ""),
        ('"*"', "!!binary eA==", "10:3", "a string or a mapping, got bytes, found 'eA=='", ""),
        ('"8"', '"{sources.x}"', "17:13", "no further source 'x'", "build.sources has: none"),
        ('"8"', "8", "17:13", "MAX_JOBS: expected a string, got a whole number", 'quote it: "8"'),
        ("env: {", "envv: {", "17:7", "unknown key 'envv'", "did you mean env?"),
        ("name:", "naaame" + "x" * 400 + ": y\nname:", "2:1", "unknown key 'naaame", "version"),
        ("name:", "<<: {a: b}\nname:", "2:1", "merge keys (<<) are not read", "write"),
        ("name:", "? [a, b]\n: x\nname:", "2:3", "not a list or a mapping", ""),
        ("qwen2_5_omni", "qwen2_5_onmi", "21:11", "no family is called", "mean qwen2_5_omni?"),
        ("qwen2_5_omni}", "qwen2_5_omni, revision: v1}", "21:33", "goes with hub", "leave it out"),
        ("qwen2_5_omni", "Qwen2.5-Omni", "21:11", "'Qwen2.5-Omni'", "mean qwen2_5_omni?"),
        ("qwen2_5_omni", "gemma-3", "21:11", "no family is called 'gemma-3'", "mean gemma3?"),
        ("qwen2_5_omni", "nope", "21:11", "no family is called 'nope'", "known are audioflam"),
        ("model: {family: qwen2_5_omni}", "gpu: never", "22:3", "nothing to count", "model"),
        (
            "packages:\n",
            "packages: [torch==2.6.0, six]\npackage:\n",
            "8:1",
            "expected a mapping",
            'packages: {torch: "==2.6.0", six: "*"}',
        ),
        ("[python3, python3-torch]", "python3", "6:3", "expected a list", "[python3]"),
        ('"*"', '{version: "*", index: cu}', "10:26", "no index is named 'cu'", "named"),
        ('"*"', '{version: "1.0"}', "10:12", "'1.0' is not a version", '"==1.0"'),
        ('"*"', '{version: "*", tag: v1}', "10:26", "tag goes with git", "leave it out"),
        ('"*"', "{index: cu}", "10:3", "exactly one of version", "version"),
        ('"*"', '{url: "https://u:p@x/y.whl"}', "10:12", "must not hold credentials", "netrc"),
        ('"*"', '{url: "https://x/y.git"}', "10:12", "file name of neither a wheel nor an", "git"),
        ('"*"', "{path: x.whl}", "10:12", "'x.whl' is not the file name of a wheel", "TAGS"),
        ('"*"', "{path: six-1.0-py3-none-any.whl}", "10:12", "a wheel of six, not", "call it six"),
        ('"*"', "{path: ~/pillow-1-py3-none-any.whl}", "10:12", "another file on every", "../"),
        ('"*"', "{path: /mine}", "10:12", "'/mine' is another file on every machine", "../"),
        ('"*"', "../mine", "10:3", "not a version specifier", "Pillow: {path: ../mine}"),
        (
            '"*"',
            "{path: pillow-1-py3-none-any.whl, build: {requires: [x]}}",
            "10:45",
            "a wheel is built already",
            "leave build out",
        ),
        (
            '"*"',
            "{path: ../mine, build: {requires: ['a @ file:///x']}}",
            "10:46",
            "is not a requirement",
            "NAME",
        ),
        ('"*"', "{url: http://h/a.zip, exclude: [x]}", "10:33", "goes with the path of a", "leave"),
        ('"*"', "{path: ../mine, exclude: ['[z-a]']}", "10:37", "'[z-a]' is no pattern", "*.pyc"),
        ('"*"', "{path: ../mine, tag: v1}", "10:27", "tag goes with git", "leave"),
        ("index:\n", "build: {sdists: [a b]}\nindex:\n", "18:18", "'a b' is not a package", "all"),
        ("index:\n", "build: {sdists: some}\nindex:\n", "18:9", "one of all, a list", ""),
        ('"*"', '"https://x/y.whl"', "10:3", "not a version specifier", "{url: …}"),
        ('"*"', "a.whl", "10:3", "not a version specifier", "Pillow: {path: a.whl}"),
        ("index:\n", "overrides: {a>1: '*'}\nindex:\n", "18:13", "more than a package", "behind"),
        ("index:\n", "overrides: {a: '1'}\nindex:\n", "18:13", "not a version", '"==1"'),
        ("index:\n", "overrides: {a: null}\nindex:\n", "18:13", "overrides.a: expected", ""),
        (
            "index:\n",
            "constraints: [a, 1]\nindex:\n",
            "18:18",
            "constraints.1: expected",
            'quote it: "1"',
        ),
        ("index:\n", "constraints: ['a @ file:///x']\nindex:\n", "18:15", "not a requi", "numpy"),
        ("index:\n", "constraints: none.txt\nindex:\n", "18:1", "cannot read", "folder"),
        ("index:\n", "index:\n  named: {cu: ftp://x}\n", "19:11", "not an index URL", "https"),
        ("index:\n", "index:\n  exempt: [a b]\n", "19:12", "neither a package nor", "torch"),
        ("index:\n", "index:\n  strategy: best\n", "19:3", "one of best-match, first-index", ""),
        ("index:\n", "healthcheck: {command: []}\nindex:\n", "18:15", "length >= 1", ""),
        ("index:\n", "healthcheck: {command: curl x}\nindex:\n", "18:15", "a list", "[curl x]"),
        ("index:\n", "stop_signal: INT\nindex:\n", "18:1", "a signal, like SIGINT", ""),
        ("index:\n", "volumes: [data]\nindex:\n", "18:11", "an absolute path", ""),
        ("omni-cpu", "omni\x07", "2:11", "the character U+0007 is not allowed in YAML", ""),
    ],
)
def test_bad_specs_say_what_where_and_what_next(  # noqa: PLR0917 - one row of the table
    spec, old, new, place, says, hint
):
    with pytest.raises(SpecError) as caught:
        spec(old, new)
    assert f"omni-cpu.yaml:{place}: " in caught.value.message
    assert says in caught.value.message
    assert len(caught.value.message) < 400
    assert hint in caught.value.hint
    assert bool(hint) == bool(caught.value.hint)


def paths(value, at=()):
    """Yield the place of every value inside ``value``."""
    pairs = enumerate(value) if isinstance(value, list) else getattr(value, "items", tuple)()
    for key, inner in pairs:
        yield (*at, key)
        yield from paths(inner, (*at, key))


@pytest.mark.parametrize("wrong", [None, 1, 1.5, True, "`x`", [], [None], {}, {"a": None}, b"x"])
def test_whatever_stands_anywhere_an_error_has_its_line_and_column(tmp_path, wrong):
    path = tmp_path / "omni-cpu.yaml"
    for *folders, last in paths(yaml.safe_load(GOOD)):
        value = yaml.safe_load(GOOD)
        reduce(getitem, folders, value)[last] = wrong
        path.write_text(yaml.safe_dump(value))
        try:
            load(path)
        except SpecError as error:
            assert re.match(rf"{path}:[0-9]+:[0-9]+: ", error.message)  # noqa: PT017


@pytest.mark.parametrize(
    "moment", ["2025-06-29", "2025-06-29T00:00:00.5Z", "2025-06-29T02:00:00+02:00"]
)
def test_a_date_stands_alone_or_with_a_time_and_its_zone(spec, moment):
    assert spec("2025-06-29T00:00:00Z", moment).index.exclude_newer == moment


@pytest.mark.parametrize(
    "kept", ["    branch: main\n", "    commit: de8f43fbe9\n", "    tag: v1\n"], ids=str.split
)
def test_any_one_of_tag_branch_and_commit_will_do(spec, kept):
    found = spec("    branch: main\n    commit: de8f43fbe9\n", kept).sources["vllm"]
    pins = {"branch": found.branch, "commit": found.commit, "tag": found.tag}
    assert [f"    {name}: {pin}\n" for name, pin in pins.items() if pin is not None] == [kept]


def test_all_semantic_problems_come_at_once(tmp_path):
    path = tmp_path / "omni-cpu.yaml"
    path.write_text(GOOD.replace("{debian: trixie}", "{}").replace('"==4.52.4"', '"4.52.4"'))
    with pytest.raises(SpecError) as caught:
        load(path)
    assert len(caught.value.message.splitlines()) == 2


BOMB = "".join(
    f"{name}: &{name} [{', '.join([value] * 9)}]\n"
    for name, value in zip("abcdefgh", ["x", *(f"*{c}" for c in "abcdefg")], strict=True)
)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"- a\n- b\n", "expected a mapping"),
        (b"a: \xc3\xbc\n\xc3\xbc: \xff\n", "spec.yaml:2:4: not UTF-8: the byte 0xff"),
        (b"a: [1\n", "not valid YAML"),
        (b"a: !!python/object:os.system x\n", "not a plain value"),
        (b"1: x\n", "not a plain string"),
        (b"a: " + b"[" * 5000, "not valid YAML|nested too deeply"),
        (b"a: " + b"[" * 50 + b"]" * 50, "more than a spec can hold"),
        (BOMB.encode(), "more than a spec can hold"),
        (b"a: " + b"x" * MAX_BYTES, "larger than 1,000,000 bytes"),
    ],
)
def test_what_is_no_document(tmp_path, content, says):
    path = tmp_path / "spec.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=says):
        load(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(SpecError, match="cannot read") as caught:
        load(tmp_path / "none.yaml")
    assert "envbuilder init" in caught.value.hint


def test_the_schema_knows_every_key():
    found = schema()
    assert set(found["$defs"]["Spec"]["properties"]) == set(Spec.__struct_fields__)
    assert found["$defs"]["Spec"]["additionalProperties"] is False


@pytest.mark.parametrize(
    "package",
    ["mesa-libGL", "ImageMagick", "SDL2", "R", "gcc_old", "libfoo:i386", "git=1:2.4~rc1-0+b1"],
)
def test_every_package_managers_names_are_names(package):
    assert locks.lock({}, system={"packages": [package]}).spec.system.packages == (package,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "x\n"},
        {"python": "3.13\n"},
        {"env": {"A\n": "x"}},
        {"env": {"A": "x\n"}},
        {"system": {"packages": ["git\n"]}},
        {"base": {"debian": "trixie\n"}},
        {"labels": {"": "x"}},
        {"labels": {"a=b": "x"}},
        {"labels": {"org.opencontainers.image.title=evil": "x"}},
        {"labels": {"a\tb": "x"}},
        {"labels": {"a\n": "x"}},
    ],
    ids=str,
)
def test_no_name_ends_its_line_or_its_pair(wrong):
    with pytest.raises(SpecError, match="does not fit"):
        locks.lock({}, **wrong)


def test_the_schema_refuses_what_the_spec_refuses():
    plain = to_builtins(locks.lock({}).spec)
    jsonschema.validate(plain | {"labels": {"a": "b"}}, schema())
    for wrong in ({"labels": {"a=b": "x"}}, {"system": {"packages": ["git\n"]}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(plain | wrong, schema())


MODELS = (
    "models: [{family: qwen2_5_omni, tokens: {audio: 750}}, {config: m}, {hub: a/b, revision: c}]"
)
SHORT = "  model: {family: qwen2_5_omni}\n  tokens: {audio: 750}\n"


def test_all_models_that_are_served_are_listed_or_one_in_short(spec) -> None:
    (one,) = spec().smoke.served
    assert (one.name, one.tokens) == ("qwen2_5_omni", {"audio": 750})
    found = spec(SHORT, f"  {MODELS}\n").smoke.served
    assert [model.name for model in found] == ["qwen2_5_omni", "m", "a/b@c"]
    assert found[0] == one
    assert not found[1].tokens


@pytest.mark.parametrize(
    ("new", "place", "says"),
    [
        ("  model: {family: llava}\n  models: [{config: m}]\n", "21:3", "stands beside model"),
        ("  tokens: {audio: 1}\n  models: [{config: m}]\n", "21:3", "tokens of its own"),
        ("  tokens: {audio: 1}\n", "21:3", "without a model there is nothing to count"),
        ("  samples: [photo.png]\n", "21:3", "without a model nothing counts them"),
        ("  models: [{config: m}, {config: m}]\n", "21:25", "models has m twice"),
        ("  models: [{config: m, path: m}]\n", "21:12", "one of family, path, config and hub"),
        ("  models: [{tokens: {audio: 1}}]\n", "21:12", "one of family, path, config and hub"),
        ("  models: [{family: llvaa}]\n", "21:13", "no family is called 'llvaa'"),
        ("  models: [{config: m, revision: r}]\n", "21:24", "a revision goes with hub"),
    ],
)
def test_models_that_cannot_be_meant_are_refused_at_their_place(spec, new, place, says) -> None:
    with pytest.raises(SpecError) as caught:
        spec(SHORT, new)
    assert f"omni-cpu.yaml:{place}: " in caught.value.message
    assert says in caught.value.message


def test_a_choice_that_is_the_default_is_left_out_of_the_normal_form(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "version: 1\nname: x\npython: '3.13'\nbase: {debian: trixie}\npackages: {}\n"
        "platform: linux/amd64\nindex: {strategy: best-match}\nsmoke: {gpu: auto}\n"
    )
    plain = to_builtins(load(path))
    assert "platform" not in plain
    assert (plain["index"], plain["smoke"]) == ({}, {})
