"""What a start touches: seen by the probe, told in its document, kept beside the spec."""

import json
import mmap
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envbuilder.model.errors import SmokeError
from envbuilder.model.reference import Digest
from envbuilder.smoke import CheckStatus, Report, to_html
from envbuilder.smoke.document import read_document
from envbuilder.smoke.judge import judge
from envbuilder.smoke.probe import touched as probe
from envbuilder.smoke.probe.touched import CHUNK
from envbuilder.smoke.touched import Touched, read_touched, write_touched
from tests.unit.smoke_documents import PLAN, RECORDED, conform

pytestmark = pytest.mark.integration

TOLD = {
    "by": ["import.torch"],
    "files": [
        {"folder": "/opt/venv/lib", "names": ["a.py", "b.py"]}, {"folder": "/", "names": ["x"]},
    ],
    "chunks": [{"path": "/opt/venv/lib/big.so", "numbers": [3, 0]}],
    "bytes": 100,
    "of": 1000,
    "problem": "",
}  # fmt: skip
TOUCHED = Touched(
    by=("import.torch",),
    files=frozenset({"/opt/venv/lib/a.py", "/opt/venv/lib/b.py", "/x"}),
    chunks={"/opt/venv/lib/big.so": (0, 3)},
    size=100,
    total=1000,
)
LOCK = Digest("a" * 64)


def seen(folder: Path, code: str) -> dict[str, Any]:
    """Run ``code`` in a process that records itself; return what it touched below ``folder``."""
    script = """
    import importlib, json, mmap, os, sys, threading
    from envbuilder.smoke.probe.touched import Recorder, together
    top = sys.argv[1]
    recorder = Recorder()
    {code}
    print(json.dumps(together([recorder.facts(top)], top)))
    """
    text = textwrap.dedent(script).replace("{code}", textwrap.dedent(code).strip())
    command = [sys.executable, "-B", "-c", text, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def names(found: dict[str, Any]) -> list[str]:
    return [name for each in found["files"] for name in each["names"]]


def big(path: Path, chunks: int, more: int = 0) -> int:
    """Write a file of so many chunks, all its pages in the page cache; return its bytes."""
    path.write_bytes(b"x" * (CHUNK * chunks + more))
    return path.stat().st_size


def test_what_is_opened_to_read_counts_and_what_is_looked_at_does_not(tmp_path: Path) -> None:
    for name in ("opened", "by descriptor", "as bytes", "in a thread", "stated", "listed"):
        (tmp_path / name).write_bytes(b"1234")
    found = seen(
        tmp_path,
        """
        open(top + "/opened").close()
        os.close(os.open("by descriptor", os.O_RDONLY))
        open(os.fsencode(top) + b"/as bytes", "rb").close()
        thread = threading.Thread(target=lambda: open("in a thread").close())
        thread.start(); thread.join()
        os.stat("stated"); os.listdir(".")
        """,
    )
    assert names(found) == ["as bytes", "by descriptor", "in a thread", "opened"]
    assert (found["bytes"], found["of"]) == (16, 24)
    assert [each["folder"] for each in found["files"]] == [str(tmp_path.resolve())]


def test_what_is_not_the_images_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "gone").write_bytes(b"x")
    found = seen(
        tmp_path,
        r"""
        open("gone").close(); os.remove("gone")
        for path in ("absent", "/etc/passwd", "/proc/self/maps", "/proc/self/fd", "nul\0"):
            try:
                open(path).close()
            except (OSError, ValueError):
                pass
        open("new", "w").close()
        os.open(".", os.O_RDONLY)
        """,
    )
    assert (found["files"], found["chunks"], found["bytes"], found["of"]) == ([], [], 0, 0)


def test_links_lead_to_the_file_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "real").write_bytes(b"12345")
    (tmp_path / "lib64").symlink_to("lib")
    (tmp_path / "alias").symlink_to("lib64/real")
    (tmp_path / "out").symlink_to("/etc/passwd")
    (tmp_path / "lib" / "again").hardlink_to(tmp_path / "lib" / "real")
    found = seen(tmp_path, 'open("alias").close(); open("lib64/real").close(); open("out").close()')
    assert found["files"] == [{"folder": f"{tmp_path.resolve()}/lib", "names": ["real"]}]
    assert (found["bytes"], found["of"]) == (5, 5)


def test_an_odd_name_is_kept_and_one_that_json_cannot_hold_is_left_out(tmp_path: Path) -> None:
    (tmp_path / 'Ünïcode "x"').write_bytes(b"1")
    Path(str(tmp_path).encode().decode() + "/\udcff").write_bytes(b"1")
    found = seen(tmp_path, "[open(name).close() for name in os.listdir('.')]")
    assert names(found) == ['Ünïcode "x"']


def test_of_a_mapped_file_the_chunks_count_that_this_process_has_pages_of(tmp_path: Path) -> None:
    size = big(tmp_path / "big.so", 5, more=100)
    found = seen(
        tmp_path,
        """
        file = os.open("big.so", os.O_RDONLY)
        mapped = mmap.mmap(file, 0, prot=mmap.PROT_READ)
        mapped[3 * (4 << 20) + 2_000_000]  # one page in the middle of the fourth chunk
        """,
    )
    assert found["files"] == []
    assert found["chunks"] == [{"path": f"{tmp_path.resolve()}/big.so", "numbers": [0, 3]}]
    assert (found["bytes"], found["of"]) == (2 * CHUNK, size)


def test_the_last_chunk_is_as_long_as_the_file_and_an_offset_is_its_own(tmp_path: Path) -> None:
    big(tmp_path / "big.so", 2, more=5000)
    found = seen(
        tmp_path,
        """
        file = os.open("big.so", os.O_RDONLY)
        start = (4 << 20) + mmap.ALLOCATIONGRANULARITY * 3
        mapped = mmap.mmap(file, 0, prot=mmap.PROT_READ, offset=start)
        mapped[-1]
        """,
    )
    assert found["chunks"][0]["numbers"] == [0, 2]
    assert found["bytes"] == CHUNK + 5000


def test_a_page_that_was_written_to_was_read_first(tmp_path: Path) -> None:
    big(tmp_path / "big.so", 3)
    found = seen(
        tmp_path,
        """
        file = os.open("big.so", os.O_RDONLY)
        mapped = mmap.mmap(file, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        mapped[2 * (4 << 20) + 2_000_000] = 1  # as a relocation does
        """,
    )
    assert found["chunks"][0]["numbers"] == [0, 2]


def test_a_small_library_counts_as_a_whole_and_a_mapped_file_that_is_gone_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "small.so").write_bytes(b"x" * 9000)
    big(tmp_path / "gone.so", 2)
    found = seen(
        tmp_path,
        """
        held = [mmap.mmap(os.open(name, os.O_RDONLY), 0, prot=mmap.PROT_READ)
                for name in ("small.so", "gone.so")]
        [one[0] for one in held]
        os.remove("gone.so")
        """,
    )
    assert (names(found), found["chunks"], found["bytes"]) == (["small.so"], [], 9000)


def test_where_the_kernel_tells_nothing_of_pages_all_that_is_mapped_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big(tmp_path / "big.so", 3)
    with (tmp_path / "big.so").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        top = str(tmp_path.resolve())
        assert probe.touched_chunks("self", top) == {f"{top}/big.so": {0}}
        monkeypatch.setattr(probe, "_entries", lambda *_: None)
        assert probe.touched_chunks("self", top) == {f"{top}/big.so": {0, 1, 2}}
        mapped.close()


def test_a_process_that_has_ended_has_touched_nothing() -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    assert probe.touched_chunks(str(process.pid)) == {}
    assert probe.of_session(process.pid) == {"files": [], "chunks": {}}


def test_of_a_server_all_processes_of_its_session_count(tmp_path: Path) -> None:
    big(tmp_path / "big.so", 2)
    code = """
    import mmap, os, sys
    if len(sys.argv) == 1:
        os.spawnv(os.P_WAIT, sys.executable, [sys.executable, __file__, "child"])
    file = os.open(os.path.join(os.path.dirname(__file__), "big.so"), os.O_RDONLY)
    mapped = mmap.mmap(file, 0, prot=mmap.PROT_READ)
    mapped[(4 << 20) + 2_000_000]
    print("ready", flush=True)
    sys.stdin.read()
    """
    script = tmp_path / "server.py"
    script.write_text(textwrap.dedent(code))
    with subprocess.Popen(
        [sys.executable, script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"  # said by the child
        found = probe.of_session(server.pid)
        assert found["chunks"][str(tmp_path.resolve() / "big.so")] == [0, 1]
        server.communicate()


def test_modules_that_were_there_before_the_recorder_count(tmp_path: Path) -> None:
    (tmp_path / "early.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import early; import textwrap"
    text = (
        f"{code}\nimport json\nfrom envbuilder.smoke.probe.touched import Recorder\n"
        "print(json.dumps(Recorder().facts()))"
    )
    done = subprocess.run([sys.executable, "-B", "-c", text], capture_output=True, check=True)
    files = json.loads(done.stdout)["files"]
    assert str(tmp_path / "early.py") in files
    assert any(Path(path).name.startswith("textwrap.") for path in files)


def test_more_than_the_document_can_hold_is_said_and_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"1")
    monkeypatch.setattr(probe, "LONGEST", 3)
    found = probe.together([{"files": [str(tmp_path / "a")], "chunks": {}}], str(tmp_path))
    assert found == {"problem": "1 files are more than the document has room for"}


def _read(touched: object) -> dict[str, Any]:
    wanted = [job["name"] for job in RECORDED["jobs"]]
    return read_document(json.dumps({**RECORDED, "touched": touched}).encode(), wanted=wanted)


def _judged(touched: object) -> Report:
    return judge(PLAN, _read(touched), subject="recorded")


def test_what_the_probe_tells_is_read() -> None:
    assert _read(TOLD)["touched"] == TOUCHED
    assert _read(None)["touched"] is None
    report = _judged(TOLD)
    conform(report)
    assert report.ok
    assert report.to_dict()["start"] == {
        "by": ["import.torch"], "bytes": 100, "of": 1000, "files": 4, "problem": "",
    }  # fmt: skip
    assert "A start needs 0.0 of 0.0 MB of files (10%)" in to_html(report)


@pytest.mark.parametrize(
    "told",
    [
        5, [], "x", True,
        {"by": "x"}, {"by": [""]}, {"by": [1]}, {"by": ["x" * 501]},
        {"files": {}}, {"files": [{"folder": "/x"}]}, {"files": [{"folder": "x", "names": []}]},
        {"files": [{"folder": "/x", "names": ["../y/z"]}]},
        {"files": [{"folder": "/x", "names": [""]}]},
        {"files": [{"folder": "/x", "names": ["a\n/b"]}]},
        {"chunks": [{"path": "x", "numbers": []}]},
        {"chunks": [{"path": "/x", "numbers": [-1]}]},
        {"chunks": [{"path": "/x", "numbers": [True]}]},
        {"chunks": [{"path": "/x", "numbers": [1 << 41]}]},
        {"chunks": [{"path": "/x", "numbers": [10**400]}]},
        {"chunks": [{"path": "/x", "numbers": [1.5]}]},
        {"bytes": -1}, {"of": 1 << 60}, {"bytes": 2, "of": 1}, {"problem": 1},
        {"files": [[[[[[[[[[[[[[]]]]]]]]]]]]]]},
    ],
)  # fmt: skip
def test_what_does_not_fit_is_a_finding_and_costs_nothing_else(told: object) -> None:
    found = _read(told)
    assert found["touched"] is None
    assert {job["outcome"] for job in found["jobs"]} == {"done"}
    report = _judged(told)
    conform(report)
    (check,) = [check for check in report.checks if check.status is not CheckStatus.PASS
                and check.name == "probe"]  # fmt: skip
    assert "the image's answer does not fit: what a start touches: " in check.explanation


def test_lone_surrogates_and_markup_are_words_like_others() -> None:
    told = {**TOLD, "by": ["<script>"], "problem": "\ud800<b>"}
    report = _judged(told)
    conform(report)
    assert "<b>" not in to_html(report)
    assert report.touched is not None
    assert report.touched.line == "what a start needs is not known: \N{REPLACEMENT CHARACTER}<b>"


def test_how_much_that_is_for_people() -> None:
    big_one = Touched(by=("x",), size=840_123_456, total=7_875_655_962)
    assert big_one.line == "a start needs 840 of 7,876 MB of files (11%)"
    assert Touched(by=("x",)).line == "a start needs 0.0 of 0.0 MB of files (100%)"


def test_bytes_of_a_file_are_those_of_its_chunks() -> None:
    path = "/opt/venv/lib/big.so"
    assert TOUCHED.bytes_of(path, 3 * CHUNK + 7) == CHUNK + 7
    assert TOUCHED.bytes_of(path, 3 * CHUNK) == CHUNK
    assert TOUCHED.bytes_of(path, 10) == 10
    assert TOUCHED.bytes_of("/opt/venv/lib/a.py", 10) == 10
    assert TOUCHED.bytes_of("/else", 10) == 0


def test_it_is_kept_sorted_a_file_to_a_line_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "demo.start.json"
    assert read_touched(path) is None
    write_touched(path, TOUCHED, LOCK)
    first = path.read_text()
    assert first == (
        '{\n "version": 1,\n "lock": "sha256:' + "a" * 64 + '",\n "by": [\n  "import.torch"\n ],\n'
        ' "chunk": 4194304,\n "bytes": 100,\n "of": 1000,\n "chunks": {\n'
        '  "/opt/venv/lib/big.so": [0, 3]\n },\n "files": {\n  "/": [\n   "x"\n  ],\n'
        '  "/opt/venv/lib": [\n   "a.py",\n   "b.py"\n  ]\n }\n}\n'
    )
    assert read_touched(path) == (LOCK, TOUCHED)
    shuffled = replace(TOUCHED, files=frozenset(sorted(TOUCHED.files, reverse=True)))
    write_touched(path, shuffled, LOCK)
    assert path.read_text() == first


def test_what_has_an_odd_name_is_read_as_it_was_written(tmp_path: Path) -> None:
    odd = replace(TOUCHED, files=frozenset({'/a/[1,  2]', '/[3,\t4]/"b"', "/ü/\\n"}))  # fmt: skip
    write_touched(tmp_path / "x", odd, LOCK)
    assert read_touched(tmp_path / "x") == (LOCK, odd)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"version": 1', '"version": 2'), ("4194304", "1048576"), ("{", "["), ('"by"', '"be"'),
        ("sha256:", "md5:"), ('"x"', '"../x"'), ("[0, 3]", "[-1]"), ("[0, 3]", '"0-3"'),
        ('"/opt', '"opt'), ("}\n", "}}"),
    ],
)  # fmt: skip
def test_another_file_is_refused_with_what_to_do(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "demo.start.json"
    write_touched(path, TOUCHED, LOCK)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(SmokeError, match="does not hold what a start needs") as caught:
        read_touched(path)
    assert "the next green build writes it anew" in str(caught.value.hint)
