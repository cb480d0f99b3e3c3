"""Every fault that the siege found (``make siege``), by the smallest input that shows it."""

import errno
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import envbuilder
from envbuilder.model.errors import (
    BuildError,
    MissingToolError,
    NetworkError,
    ResolutionError,
    SpecError,
    UsageError,
)
from envbuilder.model.lock import DebPackage
from envbuilder.model.progress import Silent
from envbuilder.model.spec_file import load as load_spec
from envbuilder.registry.credentials import find_credential
from envbuilder.registry.layout import load
from envbuilder.resolve.debian.packages import described_by
from envbuilder.resolve.debian.system_python import find_distributions
from envbuilder.resolve.debian.work_place import work_place
from envbuilder.resolve.python.index_pages import _files
from envbuilder.runtime.cdi import nvidia_devices
from envbuilder.smoke.watch import watched
from envbuilder.storage.store import Store
from envbuilder.storage.temporary import work_folder
from envbuilder.workflow.adopt.fold import Target, fold
from envbuilder.workflow.adopt.requirements import read_requirements_file
from envbuilder.workflow.bump.regenerate import regenerate
from tests.servers.debian import Deb, build_deb
from tests.unit.test_runtime_cdi import SPEC as CDI

METADATA = "usr/lib/python3/dist-packages/x-1.dist-info/METADATA"


def distributions(content: bytes, folder: Path) -> list[str]:
    store = Store(folder / "store")
    deb = DebPackage(
        name="x",
        version="1",
        architecture="amd64",
        filename="x.deb",
        size=len(content),
        sha256=store.add(content),
    )
    return [each.name for each in find_distributions([deb], store=store)]


def deb(folder: Path, text: str = "Name: x\nVersion: 1\n") -> bytes:
    package = Deb(name="python3-x", files={METADATA: text, "usr/share/large": "x" * 300_000})
    return build_deb(package, folder / "tree", folder / "x.deb").read_bytes()


@pytest.mark.parametrize("where", ["head", "control", "data"])
def test_a_damaged_deb_is_told(tmp_path, capfd, where):
    whole = deb(tmp_path)
    assert distributions(whole, tmp_path) == ["x"]
    at = {"head": 2, "control": 200, "data": whole.index(b"data.tar") + 90}[where]
    damaged = whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]
    with pytest.raises(BuildError, match="cannot be read") as caught:
        distributions(damaged, tmp_path)
    assert "another mirror" in caught.value.hint
    assert capfd.readouterr().err == "", "what dpkg-deb says is part of the message"


def test_a_deb_whose_end_is_missing_does_not_pass_for_one_without_python(tmp_path):
    with pytest.raises(BuildError, match="cannot be read"):
        distributions(deb(tmp_path)[:-100], tmp_path)


def test_a_deb_with_a_document_of_gigabytes_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("envbuilder.resolve.debian.system_python._LONGEST_METADATA", 1000)
    with pytest.raises(BuildError, match="that are sensible"):
        distributions(deb(tmp_path, "Name: x\n" + "A: b\n" * 1000), tmp_path)


def test_a_distribution_of_debian_whose_name_is_no_ascii(tmp_path):
    assert distributions(deb(tmp_path, "Name: \u00e4\nVersion: 1\n"), tmp_path)


@pytest.mark.parametrize("field", ["SHA256", "Size", "Filename", "Architecture"])
def test_an_archive_that_leaves_out_what_names_a_file(field):
    record = {
        "Package": "x",
        "Version": "1",
        "Architecture": "amd64",
        "Filename": "pool/x.deb",
        "Size": "5",
        "SHA256": "0" * 64,
    }
    assert described_by(record).size == 5
    with pytest.raises(ResolutionError, match="describes x wrongly"):
        described_by({key: value for key, value in record.items() if key != field})
    with pytest.raises(ResolutionError, match="describes x wrongly"):
        described_by({**record, "Size": "many", "SHA256": "abc"})


@pytest.mark.parametrize(
    "index",
    [
        '{"manifests": [null]}',
        '{"manifests": ["x"]}',
        '{"manifests": [{"mediaType": 0.5}]}',
        '{"manifests": [{"mediaType": "x", "digest": 5}]}',
        '{"manifests": ' + "[" * 5000,
        "[]",
    ],
)
def test_an_index_of_a_layout_that_is_none(tmp_path, index):
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(UsageError, match="is not an OCI image layout"):
        load(tmp_path, "linux/amd64")


PEP_691 = "application/vnd.pypi.simple.v1+json"


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        (PEP_691, b'{"files": ' + b"[" * 5000),
        (PEP_691, b'{"files": [{"filename": 3, "url": "x"}]}'),
        (
            PEP_691,
            b'{"files": [{"filename": "x", "upload-time": 3}]}',
        ),
        (PEP_691, b'{"files": [{"filename": "x", "size": "3"}]}'),
        (PEP_691, b'{"files": ["x"]}'),
        ("text/html", b"<![[[["),
        ("text/html", b'<a href="http://[">x</a>'),
    ],
)
def test_a_page_of_an_index_that_is_none(kind, page):
    with pytest.raises(NetworkError, match="is no page of a package index"):
        list(_files("http://127.0.0.1/simple/x/", kind, page))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("hostPath: /usr/bin/nvidia-smi", "hostPth: /usr/bin/nvidia-smi"),
        ("hookName: createContainer", "hook: createContainer"),
        ("- path: /dev/nvidiactl", "- pth: /dev/nvidiactl"),
        ("- path: /dev/nvidiactl", "- /dev/nvidiactl"),
        ('- name: "1"', '- nme: "1"'),
        ("    - NVIDIA_VISIBLE_DEVICES=void", "    - 5"),
    ],
)
def test_a_cdi_file_that_lacks_what_a_device_needs(tmp_path, old, new):
    assert old in CDI
    (tmp_path / "nvidia.yaml").write_text(CDI.replace(old, new))
    with pytest.raises(MissingToolError, match="is not a CDI file") as caught:
        nvidia_devices([tmp_path])
    assert "nvidia-ctk cdi generate" in caught.value.hint


WATCHING = """
import os, signal
from envbuilder.model.progress import Silent
from envbuilder.smoke.watch import watched
with watched(Silent(), ["x"]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_pipe_of_a_smoke_that_was_killed_goes_with_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", WATCHING], check=False, cwd=root, env={"TMPDIR": str(tmp_path)}
    )
    assert len(list(tmp_path.iterdir())) == 1
    with watched(Silent(), ["x"]):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


UNPACKING = """
import os, signal
from envbuilder.resolve.debian.work_place import work_place
with work_place() as work:
    (work / "root").mkdir()
    (work / "root" / "file").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_dead_build_of_a_base_left_goes_with_the_next_of_any_store(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", UNPACKING], check=False, cwd=root)
    assert [path.name for path in tmp_path.glob("*/root/*")] == ["file"]
    with work_place() as one, work_place() as two:
        assert sorted(tmp_path.iterdir()) == sorted([one, two]), "the living keep theirs"
        assert one.stat().st_mode & 0o777 == 0o755
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_smoke_left_goes_with_the_next_run_of_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, foreign = (tmp_path / f"{name}-{'0' * 16}" for name in ("envbuilder-watch", "mine"))
    for folder in (left, foreign):
        (folder / "progress").mkdir(parents=True)
    with (
        work_folder("envbuilder-other") as alive,
        envbuilder.open_context(store=tmp_path / "store"),
    ):
        assert sorted(tmp_path.iterdir()) == sorted([alive, foreign])


HANGING_UP = """
import os, signal, sys
from contextlib import contextmanager
import envbuilder.cli.app as app
from envbuilder import __main__
from envbuilder.storage.temporary import work_folder
import click
@click.command()
def command():
    with work_folder("envbuilder-x"):
        os.kill(os.getpid(), signal.SIGHUP)
        print("went on")
app.cli = command
sys.argv = ["envbuilder"]
__main__.main()
"""


@pytest.mark.parametrize(("ignored", "code"), [(False, 130), (True, 0)])
def test_a_terminal_that_hangs_up_ends_it_as_ctrl_c_does(tmp_path, ignored, code):
    # What started the tests may ignore it, which is handed on.
    before = ["nohup"] if ignored else ["env", "--default-signal=HUP"]
    done = subprocess.run(
        [*before, sys.executable, "-c", HANGING_UP],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "went on" in done.stdout) == (code, ignored), done.stderr
    assert list(tmp_path.iterdir()) == []


IN_A_CALLBACK = """
import signal, time, weakref
class Gone: pass
gone = Gone()
watched = weakref.ref(gone, lambda _: signal.raise_signal(signal.SIGTERM))
del gone
time.sleep(60)
"""


@pytest.mark.parametrize(
    "code",
    [
        "import signal\nsignal.raise_signal(signal.SIGINT)\n",
        "import signal\nsignal.raise_signal(signal.SIGTERM)\n",
        "import signal\nsignal.raise_signal(signal.SIGHUP)\n",
        # In code that is made, Python would die of SIGINT in the end, whichever signal it was.
        'exec("import signal; signal.raise_signal(signal.SIGTERM)")\n',
        # What such a callback raises is swallowed: the command went on to its end.
        IN_A_CALLBACK,
    ],
    ids=["SIGINT", "SIGTERM", "SIGHUP", "in-made-code", "in-a-callback"],
)
def test_a_signal_while_it_imports_is_told_in_a_line(tmp_path, code):
    (tmp_path / "click.py").write_text(code)
    done = subprocess.run(
        # What started the tests may ignore SIGHUP, which is handed on.
        ["env", "--default-signal=HUP", sys.executable, "-m", "envbuilder", "cache", "ls"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(envbuilder.__file__).parents[1]}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


@pytest.mark.parametrize("content", ["[" * 100_000, '{"auths": ' + "[" * 100_000])
def test_logins_that_are_far_too_deep(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(NetworkError, match=r"cannot read .*config\.json: MisfitError"):
        find_credential("example.com", [tmp_path / "config.json"], repository="")


def test_a_ledger_that_may_not_be_written_fails_its_environment_in_a_line():
    def refused(path):
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    (result,) = regenerate([Path("a.ledger.jsonl")], refused, jobs=1)
    assert (result.code, result.error) == (7, "cannot use a.ledger.jsonl: Read-only file system")


def test_the_package_itself_imports_nothing():
    """``python -m envbuilder`` imports it before there is anything that hears Ctrl-C."""
    code = (
        "import sys; known = set(sys.modules); import envbuilder; print(set(sys.modules) - known)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=Path(envbuilder.__file__).parents[1],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(eval(done.stdout)) <= {"envbuilder", "__future__"}


@pytest.mark.parametrize(
    "text", ["<a " + "x " * 200_000, "<a " + "x='y" * 200_000, "<!--" * 100_000]
)
def test_a_tag_of_megabytes_on_an_index_page(text):
    """Ten of them took gigabytes; a comment that never ends is one, too."""
    with pytest.raises(NetworkError, match="a tag or a comment of more than"):
        list(_files("https://x.example.org/a/", "text/html", text.encode()))


def test_a_page_is_read_whatever_its_pieces_split():
    entry = '<a href="https://f.example.org/a-1.tar.gz#sha256=00">a-1.tar.gz</a>\n'
    page = entry * 5000
    found = list(_files("https://x.example.org/a/", "text/html", page.encode()))
    assert {(each.filename, each.url) for each in found} == {
        ("a-1.tar.gz", "https://f.example.org/a-1.tar.gz")
    }
    assert len(found) == 5000


def test_a_number_to_the_base_of_sixty_in_a_spec(tmp_path):
    """One of 800 kB took half a minute."""
    path = tmp_path / "x.yaml"
    path.write_text("version: 1" + ":1" * 100_000)
    start = time.process_time()
    with pytest.raises(SpecError, match="YAML takes it for int"):
        load_spec(path)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("line", ["https://[x/a.whl", "file://[x/a.whl", "--index-url https://[x"])
def test_an_address_in_requirements_that_is_none(tmp_path, line):
    path = tmp_path / "requirements.txt"
    path.write_text(f"idna\n{line}\n")
    fold(read_requirements_file(path), Target(folder=tmp_path))
