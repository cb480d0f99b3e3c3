import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.model.errors import BuildError
from envbuilder.resolve.git.normal_wheel import differences, normalise

RECORD = "x-1.dist-info/RECORD"
FILES = {
    "x/__init__.py": b"a = 1\n",
    "x/run.sh": b"#!/bin/sh\n",
    "x-1.dist-info/METADATA": b"Name: x\n",
}


def wheel(path, files, *, order=1, date=(2024, 5, 6, 7, 8, 10), mode=0o600, deflate=True, exe=(),
          record=None):  # fmt: skip
    rows = [f"{name},sha256=x,{len(content)}" for name, content in files.items()]
    listed = "\n".join([*rows, f"{RECORD},,"][::order]).encode()
    members = {**files, RECORD: listed if record is None else record}
    with zipfile.ZipFile(path, "w") as out:
        for name, content in list(members.items())[::order]:
            info = zipfile.ZipInfo(name, date)
            info.external_attr = (0o100000 | mode | (0o111 if name in exe else 0)) << 16
            info.compress_type = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
            out.writestr(info, content)
    return path


def normal(path):
    out = io.BytesIO()
    contents = normalise(path, "x-1-py3-none-any.whl", out)
    return out.getvalue(), contents


def test_order_clock_umask_and_compression_leave_no_trace(tmp_path):
    first = wheel(tmp_path / "a.whl", FILES, exe={"x/run.sh"})
    second = wheel(tmp_path / "b.whl", FILES, order=-1, date=(2031, 1, 1, 0, 0, 0), mode=0o664,
                   deflate=False, exe={"x/run.sh"})  # fmt: skip
    assert first.read_bytes() != second.read_bytes()
    assert normal(first) == normal(second)


def test_the_normal_form_is_a_sound_wheel_with_the_same_content(tmp_path):
    data, _ = normal(wheel(tmp_path / "a.whl", FILES, exe={"x/run.sh"}))
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in FILES} == FILES
        modes = {each.filename: each.external_attr >> 16 & 0o777 for each in opened.infolist()}
        assert {each.date_time for each in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert modes == {"x/__init__.py": 0o644, "x/run.sh": 0o755, "x-1.dist-info/METADATA": 0o644,
                     RECORD: 0o644}  # fmt: skip


def test_normalising_twice_changes_nothing(tmp_path):
    once, _ = normal(wheel(tmp_path / "a.whl", FILES))
    (tmp_path / "b.whl").write_bytes(once)
    assert normal(tmp_path / "b.whl")[0] == once


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.binary(max_size=300)))
def test_other_contents_are_other_bytes(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("wheels")
    one, contents = normal(wheel(folder / "a.whl", files))
    changed = {**files, "zz9": b"1"}
    other, more = normal(wheel(folder / "b.whl", changed))
    assert one != other
    assert differences(contents, more) == [f"{RECORD}: other content", "zz9: new"]


def test_differences_are_told_by_path(tmp_path):
    _, before = normal(wheel(tmp_path / "a.whl", FILES))
    changed = {"x/__init__.py": b"a = 2\n", "x/run.sh": FILES["x/run.sh"], "new.py": b""}
    _, after = normal(wheel(tmp_path / "b.whl", changed, exe={"x/run.sh"}))
    assert differences(before, after) == [
        "new.py: new",
        "x-1.dist-info/METADATA: gone",
        "x-1.dist-info/RECORD: other content",
        "x/__init__.py: other content",
        "x/run.sh: other mode",
    ]
    assert differences(before, before) == []


def test_a_wheel_that_climbs_out_is_refused(tmp_path):
    with pytest.raises(BuildError, match="climbs out"):
        normal(wheel(tmp_path / "a.whl", {"../evil.py": b""}))


@pytest.mark.parametrize("record", [b"\xff\xfe,,", b"x" * 200_000])
def test_a_wheel_whose_record_is_no_table_is_refused(tmp_path, record):
    with pytest.raises(BuildError, match="RECORD cannot be read"):
        normal(wheel(tmp_path / "a.whl", FILES, record=record))
