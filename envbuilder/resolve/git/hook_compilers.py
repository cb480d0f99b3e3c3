"""Lets compilers remember what they compiled; for ``hook_program.py`` and ``build-wheel.sh``.

ccache brings a folder of compilers that go through it, and that stands first in PATH. sccache has
none, so one is made. nvcc and hipcc are mostly called by their absolute paths, which pass such
folders by: CMake and torch are told of the cache by variables, where nobody has told them yet.
Standard library only, Python 3.9 or later. As a program it prints shell commands.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys

_COMPILERS = re.compile(r"([\w.]+-)*(cc|gcc|c\+\+|g\+\+|clang|clang\+\+)(-[0-9.]+)?")
_WRAPPER = """\
#!/bin/sh
# compiler {digest}, which is part of what sccache knows an object by
read -r caller <"/proc/$PPID/comm"
if [ "$caller" = sccache ]; then # which a build calls itself: one of them is enough
  exec {compiler} "$@"
fi
exec sccache {compiler} "$@"
"""


def variables(folder: str) -> "dict[str, str]":
    """Return what a build's environment needs for its compilers to go through the cache.

    That is nothing if neither ccache nor sccache is on the path. ``folder`` is made for sccache.
    """
    name = next(filter(shutil.which, ("ccache", "sccache")), None)
    if name is None:
        return {}
    found = {f"CMAKE_{language}_COMPILER_LAUNCHER": name for language in ("CUDA", "HIP")}
    if nvcc := _nvcc():
        found["PYTORCH_NVCC"] = f"{name} {nvcc}"
    found = {key: value for key, value in found.items() if key not in os.environ}
    if name == "sccache":
        _wrap(folder)
        found["PATH"] = f"{folder}:{os.environ['PATH']}"
    return found


def finish() -> None:
    """End sccache's server, if one runs, which first writes what it still has in hand."""
    if shutil.which("sccache"):
        subprocess.run(["sccache", "--stop-server"], check=False, capture_output=True)


def _wrap(folder: str) -> None:
    """Make a compiler in ``folder`` of each one on the path; the first of a name is the one."""
    os.makedirs(folder)
    for place in os.environ["PATH"].split(":"):
        for name in sorted(os.listdir(place)) if os.path.isdir(place) else ():
            wrapper, compiler = os.path.join(folder, name), os.path.join(place, name)
            passed = not _COMPILERS.fullmatch(name) or os.path.exists(wrapper)
            if not passed and os.access(compiler, os.X_OK):
                _write(wrapper, compiler)


def _write(wrapper: str, compiler: str) -> None:
    with open(compiler, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    with open(wrapper, "w", encoding="utf-8") as file:
        file.write(_WRAPPER.format(digest=digest, compiler=shlex.quote(compiler)))
    os.chmod(wrapper, 0o755)  # noqa: S103


def _nvcc() -> "str | None":
    """Find nvcc as torch does."""
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    in_homes = [os.path.join(home, "bin", "nvcc") for home in homes]
    places = (*in_homes, shutil.which("nvcc") or "", "/usr/local/cuda/bin/nvcc")
    return next((place for place in places if os.access(place, os.X_OK)), None)


if __name__ == "__main__":
    if sys.argv[1] == "finish":
        finish()
    else:
        for key, value in variables(sys.argv[1]).items():
            print(f"export {key}={shlex.quote(value)}")
