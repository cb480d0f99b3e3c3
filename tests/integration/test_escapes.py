"""What a hostile image tries, in every runtime that is here: nothing gets out, each run ends.

Each attack is a Python program, run by this host's interpreter inside the image. None of them does
harm where it succeeds: files are opened and not written, processes are few, memory is little.
"""

from __future__ import annotations

import _ctypes
import io
import json
import os
import socket
import sys
import tarfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from envbuilder.model.errors import EnvbuilderError
from envbuilder.model.image import Image
from envbuilder.model.progress import Silent
from envbuilder.resolve.git.sandbox import host_sandbox
from envbuilder.runtime import OUTPUT_LIMIT, Command, Completed, Mount, Runtime
from envbuilder.runtime.docker import connect
from envbuilder.runtime.limits import LARGEST_FILE
from envbuilder.runtime.oci import OciRuntime, find_program
from envbuilder.storage.store import Store
from tests.integration.tiny_image import library_files, tiny_image

pytestmark = pytest.mark.integration

RUNTIMES = ["crun", "runc", pytest.param("docker", marks=pytest.mark.docker)]
MEMORY = 200_000_000

PRELUDE = """
import ctypes, errno, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    "Make a system call; return 0 or above, or the error's name."
    ctypes.set_errno(0)
    result = libc.syscall(*(ctypes.c_long(each) for each in (number, *arguments)))
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]

def opened(path, flags):
    "Open a file and close it again; return None or the error's name."
    try:
        os.close(os.open(path, flags))
    except OSError as error:
        return errno.errorcode[error.errno]

def tell(value):
    print(json.dumps(value), flush=True)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def image(store: Store) -> Image:
    return with_python(store)


def with_python(store: Store, *tars: bytes) -> Image:
    """Make an image that this host's Python can run in, with layers made by hand on top."""
    libraries = library_files(Path(sys.executable)) | library_files(Path(_ctypes.__file__))
    return tiny_image(store, config={"Env": ["PATH=/bin"]}, layers=[libraries], tars=tars)


@pytest.fixture(scope="module", params=RUNTIMES)
def runtime(request: pytest.FixtureRequest, store: Store) -> Iterator[Runtime]:
    if request.param == "docker":
        engine = connect(store)
        yield engine
        engine.client.close()
        return
    program = find_program(request.param)
    assert program, f"these tests need {request.param}: apt-get install {request.param}"
    yield OciRuntime(program=program, store=store)


@pytest.fixture
def attack(runtime: Runtime, image: Image, store: Store) -> Callable[..., Completed]:
    """Run a Python program in an image, by the interpreter that runs these tests."""
    python = host_sandbox(f"{sys.version_info[0]}.{sys.version_info[1]}", store=store)
    (prefix,) = {each for each in python.mounts if python.interpreter.startswith(f"{each.target}/")}

    def run(code: str, *, into: Image = image, **options: Any) -> Completed:
        program = PRELUDE + textwrap.dedent(code)
        command = Command(
            args=(python.interpreter, "-I", "-B", "-c", program),
            mounts=(prefix, *options.pop("mounts", ())),
            memory=options.pop("memory", MEMORY),
            timeout=60,
            **options,
        )
        return runtime.run(into, command, progress=Silent())

    return run


Attack = Callable[..., Completed]


def told(done: Completed) -> Any:
    assert done.exit_code == 0, done.stderr.decode()
    return json.loads(done.stdout)


def layer(*entries: tuple[str, bytes, dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, fields in entries:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_device_nodes_open_nothing(attack: Attack, store: Store) -> None:
    """The block device is the one that this host's files lie on; the other is its memory."""
    disk = Path("/").stat().st_dev
    block = {"type": tarfile.BLKTYPE, "devmajor": os.major(disk), "devminor": os.minor(disk)}
    memory = {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 1}
    nodes = layer(("disk", b"", block), ("mem", b"", memory))
    code = """
    tell([opened(path, os.O_RDONLY) for path in ("/disk", "/mem")])
    """
    assert set(told(attack(code, into=with_python(store, nodes)))) <= {"ENOENT", "EPERM", "EACCES"}
    found = [path for path in store.root.glob("trees/*/*") if path.name in {"disk", "mem"}]
    assert [os.major(path.lstat().st_rdev) for path in found if path.is_block_device()] == []
    assert all(path.lstat().st_rdev == 0 for path in found)  # marks of deletion


def test_no_device_can_be_made(attack: Attack) -> None:
    code = """
    import stat
    made = []
    for folder in ("/tmp", "/dev", "/dev/shm"):
        for kind, device in ((stat.S_IFBLK, os.makedev(7, 0)), (stat.S_IFCHR, os.makedev(1, 1))):
            try:
                os.mknod(f"{folder}/node", kind | 0o600, device)
                made.append(folder)
            except OSError:
                pass
    shown = {name for name in os.listdir("/dev") if stat.S_ISBLK(os.lstat(f"/dev/{name}").st_mode)}
    tell([made, sorted(shown), opened("/dev/mem", os.O_RDONLY), opened("/dev/kmsg", os.O_RDONLY)])
    """
    made, blocks, *others = told(attack(code))
    assert (made, blocks) == ([], [])
    assert set(others) <= {"ENOENT", "EPERM", "EACCES"}


def test_set_id_programs_change_nobody(attack: Attack, store: Store) -> None:
    suid = layer(("bin/suid", Path("/usr/bin/id").read_bytes(), {"mode": 0o6755}))
    code = """
    import subprocess
    tell(subprocess.run(["/bin/suid", "-u"], capture_output=True, text=True).stdout)
    """
    assert told(attack(code, into=with_python(store, suid), user="1000:1000")) == "1000\n"
    trees = store.root / "trees"
    assert [p for p in trees.rglob("*") if p.is_file() and p.lstat().st_mode & 0o6000] == []


def test_the_kernels_switches_are_out_of_reach(attack: Attack) -> None:
    """Every file below /sys and /proc/sys, and what moves the whole machine."""
    code = """
    paths = ["/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/bus/pci"]
    for root in ("/sys", "/proc/sys", "/proc/irq", "/proc/fs"):
        for place, _, names in os.walk(root):
            paths += [f"{place}/{name}" for name in names]
    tell([len(paths), [path for path in paths if opened(path, os.O_WRONLY) is None]])
    """
    count, open_ = told(attack(code))
    assert count > 100
    assert open_ == []


def test_the_kernels_secrets_are_hidden(attack: Attack) -> None:
    code = """
    def read(path):
        try:
            with open(path, "rb") as file:
                return len(file.read(100))
        except OSError:
            return 0
    names = ("kcore", "keys", "timer_list", "latency_stats", "sched_debug")
    folders = [len(os.listdir(path)) for path in ("/proc/scsi", "/proc/acpi", "/sys/firmware")
               if os.path.exists(path)]
    tell([[read(f"/proc/{name}") for name in names], folders])
    """
    files, folders = told(attack(code))
    assert set(files) == {0}
    assert set(folders) <= {0}


def test_no_descriptor_of_ours_leaks(attack: Attack, tmp_path: Path) -> None:
    secret = os.open(tmp_path / "secret", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(secret, True)
    code = """
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}").split(":")[0]
        except FileNotFoundError:
            pass  # the folder's own
    tell(sorted(found.items()))
    """
    try:
        found = dict(told(attack(code)))
    finally:
        os.close(secret)
    assert found.keys() == {0, 1, 2}
    assert set(found.values()) <= {"pipe", "/dev/null"}


def test_no_process_of_the_host_can_be_seen_or_traced(attack: Attack) -> None:
    code = f"""
    PTRACE_ATTACH = 16
    seen = sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())
    traced = libc.ptrace(PTRACE_ATTACH, {os.getpid()}, 0, 0)
    tell([seen, os.getpid(), os.getppid(), traced])
    """
    seen, own, parent, traced = told(attack(code))
    assert (seen, own, parent, traced) == ([1], 1, 0, -1)


def test_links_in_a_layer_lead_nowhere_outside(
    attack: Attack, store: Store, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    link = {"type": tarfile.SYMTYPE}
    top = layer(
        ("way", b"", link | {"linkname": str(outside)}),
        ("way/evil", b"evil", {}),
        ("up", b"", link | {"linkname": "../" * 40 + str(outside)[1:]}),
        ("up/evil", b"evil", {}),
        ("twin", b"", {"type": tarfile.LNKTYPE, "linkname": "way/kept"}),
    )
    with pytest.raises(EnvbuilderError, match=r"kept|link"):
        attack("tell(1)", into=with_python(store, top))
    harmless = layer(
        ("way", b"", link | {"linkname": str(outside)}),
        ("way/evil", b"evil", {}),
        ("way", b"", {"type": tarfile.DIRTYPE}),
        ("way/evil", b"evil", {}),
    )
    assert told(attack("tell(1)", into=with_python(store, harmless))) == 1
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (outside / "kept").stat().st_nlink == 1


def test_keyrings_are_closed(attack: Attack) -> None:
    code = """
    add_key, request_key, keyctl = (248, 249, 250) if os.uname().machine == "x86_64" else (217, 218, 219)
    name = ctypes.create_string_buffer(b"user")
    here = ctypes.addressof(name)
    tell([call(add_key, here, here, here, 4, -4), call(request_key, here, here, 0, 0),
          call(keyctl, 0, -4, 0)])
    """  # noqa: E501
    assert set(told(attack(code))) <= {"EPERM", "ENOSYS"}


def test_no_cgroup_can_be_made_or_left(attack: Attack) -> None:
    code = """
    made, opened_ = [], []
    for place, folders, names in os.walk("/sys/fs/cgroup"):
        try:
            os.mkdir(f"{place}/escape")
            made.append(place)
        except OSError:
            pass
        opened_ += [f"{place}/{n}" for n in names if opened(f"{place}/{n}", os.O_WRONLY) is None]
    tell([made, opened_])
    """
    assert told(attack(code)) == [[], []]


def test_a_fork_bomb_meets_its_limit(attack: Attack) -> None:
    """200 processes are tried, of which far fewer may be, and the end takes all of them."""
    code = """
    import signal, time
    pids = []
    for _ in range(200):
        try:
            pid = os.fork()
        except OSError as error:
            tell([len(pids), errno.errorcode[error.errno]])
            break
        if pid == 0:
            time.sleep(50)
            os._exit(0)
        pids.append(pid)
    else:
        tell([len(pids), None])
    """
    done = attack(code, processes=64)
    assert done.process_limit == "cgroup"
    count, error = told(done)
    assert error == "EAGAIN"
    assert count < 64
    assert done.seconds < 40


def test_new_namespaces_and_io_uring_are_refused(attack: Attack) -> None:
    """By number: io_uring_setup, then clone (or unshare) into a user namespace, then clone3."""
    code = """
    NEWUSER, SIGCHLD = 0x10000000, 17
    clone, unshare = (56, 272) if os.uname().machine == "x86_64" else (220, 97)
    ring = ctypes.create_string_buffer(120)
    tell([call(425, 8, ctypes.addressof(ring)), call(unshare, NEWUSER), call(unshare, 0x20000),
          call(clone, NEWUSER | SIGCHLD, 0, 0, 0, 0), call(435, 0, 0)])
    """
    ring, *namespaces, clone3 = told(attack(code))
    assert ring in {"EPERM", "ENOSYS"}
    assert set(namespaces) == {"EPERM"}
    assert clone3 == "ENOSYS"


def test_nothing_can_be_mounted_or_loaded(attack: Attack) -> None:
    code = """
    target, kind = b"/tmp", b"tmpfs"
    mounted = libc.mount(kind, target, kind, 0, None)
    swapped = libc.swapon(b"/tmp/none", 0)
    hosted = libc.sethostname(b"evil", 4)
    rooted = libc.chroot(b"/tmp")
    tell([mounted, swapped, hosted, rooted])
    """
    assert told(attack(code)) == [-1, -1, -1, -1]


def test_only_usual_sockets_exist_and_none_reaches_the_host(attack: Attack) -> None:
    """A server of this host listens on loopback, and at a name that no folder protects."""
    name = f"\0envbuilder-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as hidden:
        hidden.bind(name)
        hidden.listen()
        port = server.getsockname()[1]
        code = f"""
        import socket
        def reach(family, address):
            try:
                socket.socket(family).connect(address)
            except OSError as error:
                return errno.errorcode[error.errno]
        tell([reach(socket.AF_INET, ("127.0.0.1", {port})), reach(socket.AF_UNIX, {name!r}),
              reach(socket.AF_VSOCK, (2, 1))])
        """
        tcp, unix, vsock = told(attack(code))
    assert (tcp, unix) == ("ECONNREFUSED", "ECONNREFUSED")
    assert vsock in {"EPERM", "ENOSYS"}


def test_a_memory_hog_is_stopped(attack: Attack) -> None:
    done = attack("hog = bytearray(600_000_000); tell(len(hog))")
    assert done.exit_code
    assert b"600000000" not in done.stdout
    assert done.out_of_memory or b"MemoryError" in done.stderr


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
def test_files_in_memory_count_as_memory(attack: Attack, folder: str) -> None:
    code = f"""
    piece = bytes(1 << 20)
    with open("{folder}/hog", "wb", buffering=0) as file:
        for number in range(600):
            file.write(piece)
    tell(number)
    """
    done = attack(code)
    assert done.exit_code
    assert done.out_of_memory or b"No space left" in done.stderr


def test_files_on_the_disk_have_a_largest_size(attack: Attack, tmp_path: Path) -> None:
    code = f"""
    with open("/results/sparse", "wb") as file:
        try:
            os.ftruncate(file.fileno(), {LARGEST_FILE + 1})
            tell(None)
        except OSError as error:
            tell(errno.errorcode[error.errno])
    """
    results = (Mount(source=tmp_path, target="/results", read_only=False),)
    assert told(attack(code, mounts=results)) == "EFBIG"


def test_a_flood_fills_neither_memory_nor_the_log(attack: Attack, tmp_path: Path) -> None:
    code = """
    piece = b"x" * (1 << 20)
    for _ in range(80):
        sys.stdout.buffer.write(piece)
    print("the end")
    """
    log = tmp_path / "log"
    done = attack(code, log=log)
    assert (done.exit_code, done.truncated, done.stdout) == (0, True, b"")
    assert OUTPUT_LIMIT < log.stat().st_size < OUTPUT_LIMIT + 100_000
    assert log.read_bytes().endswith(b"x" * 1000 + b"the end\n")


def test_what_can_be_written_holds_no_devices_and_no_set_id(attack: Attack) -> None:
    code = """
    with open("/proc/self/mountinfo") as file:
        tell([line.split()[4:6] for line in file])
    """
    mounts = {place: set(options.split(",")) for place, options in told(attack(code))}
    assert "ro" in mounts["/"]
    kernel = {place for place in mounts if place.startswith(("/dev", "/proc"))}
    writable = {place for place, options in mounts.items() if "rw" in options} - kernel
    assert {"/tmp"} <= writable
    assert all(mounts[place] >= {"nosuid", "nodev"} for place in writable)
    assert mounts["/dev/shm"] >= {"nosuid", "nodev"}
