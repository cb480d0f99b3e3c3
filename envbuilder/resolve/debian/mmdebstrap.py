"""One run of mmdebstrap: a local repository in, the tar of a root file system out.

Root gets a mount and process namespace for it where the kernel allows that, another user a user
namespace (mmdebstrap's ``unshare`` mode: newuidmap and subordinate ids). Whatever ends the builder,
kill -9 included, ends everything below it and takes the mounts along.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tarfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from threading import Event
from typing import IO, TypeVar, cast

from envbuilder.layers.tar import MTIME
from envbuilder.model.errors import BuildError, DiskFullError, MissingToolError

from . import unchecked_pyc
from .rootfs import SLIM

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NAMESPACE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_END_TOGETHER = 'trap "kill -KILL 0" TERM; "$@" & wait $!'
_RECORDS = "/run/dpkg-records.tar"
_GRACE = 10  # seconds
_BLINK = 0.2  # seconds
_TRIES = 10

# In place of Debian's own, which starts Python for each package: what was asked for is kept, and
# compiled at once in the end (unchecked_pyc.py).
PY3COMPILE = """\
#!/bin/sh
echo "$*" >>/run/py3compile
"""

Result = TypeVar("Result")


def bootstrap(
    work: Path,
    *,
    repository: Path,
    suite: str,
    architecture: str,
    packages: Sequence[str],
    say: Callable[[str], None],
    consume: Callable[[BufferedReader], Result],
    stop: Event,
    records: Path,
) -> Result:
    """Install ``packages`` and the essential ones; return what ``consume`` makes of the tar.

    ``work`` is a folder that other users may enter; ``say`` gets each line of the log, from a
    thread; ``stop``, when set, ends the run. Before the tar's first byte comes, ``records`` is a
    tar of dpkg's lists and diversions. Raises MissingToolError, and BuildError with the end
    of the log.
    """
    for program in ("mmdebstrap", "unshare", "setpriv"):
        if shutil.which(program, path=_PATH) is None:
            raise MissingToolError(
                f"{program} is not installed; the root file system of a Debian base takes it",
                hint="apt-get install mmdebstrap uidmap util-linux",
            )
    command = [
        *_supervisor(),
        "mmdebstrap",
        *_options(work, architecture=architecture, packages=packages, records=records),
        suite,
        "-",
        f"deb [trusted=yes] copy:{repository} ./",
    ]
    log: deque[str] = deque(maxlen=30)
    with ThreadPoolExecutor(2) as pool, _running(command, work) as process:
        pool.submit(_heed, stop, process)
        followed = pool.submit(_follow, process.stderr, log, say)
        output = cast("BufferedReader", process.stdout)
        cut: tarfile.TarError | None = None
        try:
            result = consume(output)
        except tarfile.TarError as error:  # the tar ends early: the log says why
            output.close()
            cut = error
        process.wait()
        followed.result()
    if stop.is_set():
        raise BuildError("the build of the Debian base was stopped")
    if cut or process.returncode:
        raise _failure(log) from cut
    return result


def remove_leftovers(work: Path) -> None:
    """Remove ``work``, also where a killed run left files of the user's subordinate ids in it.

    What was killed a moment ago may still finish a write, so there are several tries.
    """
    left = _TRIES
    while work.exists():
        left -= 1
        try:
            shutil.rmtree(work)
        except OSError:
            if not left:
                raise
            _empty_as_subordinate(work)
            time.sleep(_BLINK)


def _empty_as_subordinate(work: Path) -> None:
    roots = [str(path) for path in work.iterdir() if path.stat().st_uid != os.geteuid()]
    if roots and os.geteuid() != 0:
        command = ["mmdebstrap", "--unshare-helper", "rm", "-rf", *roots]
        subprocess.run(command, env={"PATH": _PATH}, capture_output=True, check=False)


def _options(work: Path, *, architecture: str, packages: Sequence[str], records: Path) -> list[str]:
    return [
        f"--mode={'root' if os.geteuid() == 0 else 'unshare'}",
        "--variant=essential",
        "--format=tar",
        "--verbose",
        "--skip=check/qemu",  # whether its programs run was tried; it would want arch-test for that
        f"--architectures={architecture}",
        f"--include={','.join(packages)}",
        *_hooks(work),
        f'--customize-hook=cd "$1/var/lib/dpkg"; tar -cf "$1{_RECORDS}" diversions info/*.list',
        f"--customize-hook=download {_RECORDS} {shlex.quote(str(records))}",
    ]


def _hooks(work: Path) -> list[str]:
    """Return what runs around dpkg; ``debian.sh`` of the rendered context has the same."""
    files = {
        "slim.cfg": SLIM,
        "py3compile": PY3COMPILE,
        "unchecked_pyc.py": Path(unchecked_pyc.__file__).read_text("utf-8"),
    }
    place = {}
    for name, text in files.items():
        path = work / name
        path.write_text(text, "utf-8")
        path.chmod(0o644)
        place[name] = shlex.quote(str(path))
    return [
        f'--setup-hook=install -D -m 644 {place["slim.cfg"]} "$1/etc/dpkg/dpkg.cfg.d/slim"',
        # Found before /usr/bin: what packages want compiled is compiled at once, in the end.
        f'--essential-hook=install -m 755 {place["py3compile"]} "$1/usr/local/sbin/py3compile"',
        '--customize-hook=rm "$1/usr/local/sbin/py3compile"',
        f'--customize-hook=test ! -x "$1/usr/bin/python3" || chroot "$1" /usr/bin/python3 '
        f"-s -S -B - /usr /run/py3compile < {place['unchecked_pyc.py']}",
    ]


def _supervisor() -> list[str]:
    """Tie the run's life to ours: when the thread that starts it dies, the kernel ends the run."""
    probe = [*_NAMESPACE, "true"]
    if os.geteuid() == 0 and not subprocess.run(probe, capture_output=True, check=False).returncode:
        return ["setpriv", "--pdeathsig", "KILL", *_NAMESPACE]
    # Another user, or root in a container that may not mount: the process group ends instead.
    return ["setpriv", "--pdeathsig", "TERM", "sh", "-c", _END_TOGETHER, "sh"]


@contextmanager
def _running(command: list[str], work: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` in a process group of its own, which ends with the block."""
    environment = {
        "PATH": _PATH,
        "TMPDIR": str(work),
        "HOME": "/nonexistent",
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": str(MTIME),
    }
    with subprocess.Popen(
        command,
        env=environment,
        umask=0o022,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            _stop(process)


def _heed(stop: Event, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        if stop.wait(_BLINK):
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    for sent in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, sent)
            process.wait(_GRACE)
            return


def _follow(stream: IO[bytes] | None, log: deque[str], say: Callable[[str], None]) -> None:
    for raw in stream or ():
        line = raw.decode(errors="replace").rstrip()
        log.append(line)
        say(line)


def _failure(log: deque[str]) -> BuildError:
    said = "\n".join(log)
    failure: type[BuildError] = BuildError
    hint = "the lines above are the end of mmdebstrap's log"
    if os.geteuid() != 0 and ("subuid" in said or "newuidmap" in said):
        hint = "without root it needs `apt-get install uidmap`, and your user in /etc/subuid"
    elif "No space left on device" in said:
        failure = DiskFullError
        hint = "free some space, or set TMPDIR to a folder on another disk"
    elif "Permission denied" in said:
        hint = "set TMPDIR to a folder that other users may enter"
    return failure(f"mmdebstrap failed:\n{said}", hint=hint)
