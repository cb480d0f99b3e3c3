"""In-place edits: the wanted scalar changes, and not one byte beside it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.model.errors import SpecError, UsageError
from envbuilder.model.yaml_document import Document, parse_document, read_document
from envbuilder.model.yaml_edit import insert_key, rename_key, set_scalar
from tests.unit.sheets import VALUES, Sheet, sheets

SPEC = Path("omni.yaml")

OMNI = """\
# yaml-language-server: $schema=…
version: 1   # façade
python: "3.10"
base:
  image: nvidia/cuda:12.4.1-devel-ubuntu22.04     # locked to a digest
packages:
  torch: &torch "==2.6.0"
  torchaudio: *torch   # moves with torch
  setuptools: '==79.0.1'
  accelerate: ==1.7.0  # plain
  folded: >-  # a comment in the header
    ==1.0

  transformers: {git: "https://example.org/t.git", tag: v4.51.3}   # flow
  vllm:
    git: https://example.org/vllm.git
    branch: qwen2_omni_public
env: {CACHE: 'C:\\Users\\José', EMOJI: "🦙"}
"""


def document(text: str = OMNI) -> Document:
    return parse_document(SPEC, text)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("name", "value", "before", "after"),
    [
        ("torch", "==2.7.0", '&torch "==2.6.0"', '&torch "==2.7.0"'),
        ("torchaudio", "==2.7.0", "*torch ", "==2.7.0 "),
        ("setuptools", "==80", "'==79.0.1'", "'==80'"),
        ("accelerate", "==1.8.1", "==1.7.0  #", "==1.8.1  #"),
        ("accelerate", "*", "==1.7.0  #", '"*"  #'),
        ("folded", "==1.1", "    ==1.0", "    ==1.1"),
    ],
)
def test_changes_one_scalar(newline: str, name: str, value: str, before: str, after: str) -> None:
    text = OMNI.replace("\n", newline)
    edited = set_scalar(document(text), ("packages", name), value)
    assert edited.value["packages"][name] == value
    assert text.count(before) == 1
    assert edited.text == text.replace(before, after)


def test_an_anchor_takes_its_aliases_along() -> None:
    edited = set_scalar(document(), ("packages", "torch"), "==2.7.0")
    assert edited.value["packages"]["torchaudio"] == "==2.7.0"


def test_a_byte_order_mark_and_crlf_survive_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "omni.yaml"
    data = ("\ufeff" + OMNI.replace("\n", "\r\n")).encode()
    path.write_bytes(data)
    edited = set_scalar(read_document(path), ("python",), "3.12")
    assert edited.text.encode() == data.replace(b'"3.10"', b'"3.12"')


def test_quotes_what_yaml_would_take_for_a_number() -> None:
    text = "packages:\n  vllm: {git: x, commit: abcdef0}\n"
    path = ("packages", "vllm", "commit")
    edited = set_scalar(document(text), path, "12345670")
    assert edited.text == text.replace("abcdef0", '"12345670"')
    assert set_scalar(edited, path, "1e10000").text == text.replace("abcdef0", '"1e10000"')


def test_quotes_what_ends_a_plain_scalar_in_flow_style() -> None:
    text = "packages: {numpy: ==2.0, six: '*'}\n"
    edited = set_scalar(document(text), ("packages", "numpy"), ">=2,<3")
    assert edited.text == text.replace("==2.0", '">=2,<3"')


def test_renames_a_key() -> None:
    edited = rename_key(document(), ("packages", "transformers", "tag"), "commit")
    assert edited.text == OMNI.replace("tag: v4.51.3", "commit: v4.51.3")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_inserts_a_key_in_block_style(newline: str) -> None:
    text = OMNI.replace("\n", newline)
    edited = insert_key(document(text), ("packages", "vllm", "branch"), "commit", "1234567")
    assert edited.text == text.replace("    branch", f'    commit: "1234567"{newline}    branch')


def test_inserts_a_key_in_flow_style() -> None:
    edited = insert_key(document(), ("packages", "transformers", "tag"), "commit", "abc1234")
    assert edited.text == OMNI.replace("tag: v4.51.3", "commit: abc1234, tag: v4.51.3")


def test_a_shared_mapping_changes_for_all_who_share_it() -> None:
    text = "packages:\n  a: &g {git: x, tag: v1}\n  b: *g\n"
    edited = rename_key(document(text), ("packages", "b", "tag"), "branch")
    edited = insert_key(edited, ("packages", "a", "branch"), "commit", "abcdef0")
    edited = set_scalar(edited, ("packages", "b", "branch"), "v2")
    assert edited.text == text.replace("tag: v1", "commit: abcdef0, branch: v2")


@pytest.mark.parametrize("path", [("packages", "numpy"), ("packages",), ("packages", "vllm")])
def test_refuses_what_is_no_scalar(path: tuple[str, ...]) -> None:
    with pytest.raises(SpecError, match=r"omni\.yaml:\d+:\d+"):
        set_scalar(document(), path, "==1")


def test_refuses_keys_that_are_not_there_or_there_already() -> None:
    vllm = ("packages", "vllm")
    for edit in (
        lambda: rename_key(document(), (*vllm, "tag"), "commit"),
        lambda: rename_key(document(), (*vllm, "git"), "branch"),
        lambda: insert_key(document(), (*vllm, "tag"), "commit", "abcdef0"),
        lambda: insert_key(document(), (*vllm, "branch"), "git", "abcdef0"),
    ):
        with pytest.raises(SpecError):
            edit()


def test_refuses_what_yaml_cannot_hold() -> None:
    with pytest.raises(UsageError, match="cannot hold"):
        set_scalar(document(), ("packages", "torch"), "\x07\ufffe")


@given(sheet=sheets(), data=st.data())
def test_every_other_byte_stays(sheet: Sheet, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(sheet.spans)))
    value = data.draw(VALUES)
    edited = set_scalar(document(sheet.text), ("packages", name), value)
    start, end = sheet.spans[name]
    quote = sheet.quote[name]
    assert edited.text == sheet.text[:start] + quote + value + quote + sheet.text[end:]
    assert edited.value["packages"][name] == value


@given(sheet=sheets(), data=st.data())
def test_an_edit_and_its_opposite_leave_the_file_as_it_was(
    sheet: Sheet, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(sheet.spans)))
    path = ("packages", name)
    before = document(sheet.text)
    there = set_scalar(before, path, "==999.9")
    assert set_scalar(there, path, before.value["packages"][name]).text == sheet.text
