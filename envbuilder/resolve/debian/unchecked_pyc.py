"""Compile modules into bytecode that is the same wherever and whenever it is made.

Runs inside a fresh root file system, by its own Python (3.9 or newer), on every core. Debian's
packages compile their modules one package after another, against their sources' times, which a
layer replaces, or, under SOURCE_DATE_EPOCH, against their hashes, which Python then computes at
every start. PEP 552's unchecked hashes need neither. What lies in wheels is compiled likewise, by
the Python of its environment.
"""

import marshal
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.util import MAGIC_NUMBER, cache_from_source, source_from_cache, source_hash
from types import CodeType

PUBLIC = "/usr/lib/python3/dist-packages"

# Marshal notes whether a string is interned. All that Python makes itself are or are not, whatever
# was done before, but for those of one character: there is one object of each.
for each in range(256):
    sys.intern(chr(each))


def number(value: int) -> bytes:
    """Encode a number as .pyc headers do."""
    return (value & 0xFFFFFFFF).to_bytes(4, "little")


TIMED, UNCHECKED, CHECKED = number(0), number(1), number(3)


def canonical(code: bytes) -> bytes:
    """Return marshalled ``code`` as whoever loads it would write it.

    Marshal notes which objects something else refers to, and the compiler that just made them may
    still do so or not. Once loaded, they have but each other.
    """
    return marshal.dumps(marshal.loads(code))  # noqa: S302 - it was compiled here


def in_one_order(constant: object) -> bool:
    """Return whether the sets in ``constant`` always have one order where the hash seed is 0.

    Before 3.11, marshal writes a set as it lies in memory; the place of None, say, is its hash.
    """
    if isinstance(constant, CodeType):
        return all(map(in_one_order, constant.co_consts))
    if isinstance(constant, frozenset):
        return all(isinstance(each, (str, bytes, int, float)) for each in constant)
    return not isinstance(constant, tuple) or all(map(in_one_order, constant))


def compile_module(path: str, name: "str | None" = None) -> None:
    """Compile one source file, as ``name`` if that is another; tracebacks will show it.

    One with errors in it, as templates have, gets no bytecode, nor one that Python cannot compile
    or write the same way each time.
    """
    with open(path, "rb") as file:  # noqa: PTH123
        source = file.read()
        mode = os.fstat(file.fileno()).st_mode & 0o666
    try:
        code = compile(source, name or path, "exec", dont_inherit=True)
        packed = canonical(marshal.dumps(code))
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return  # MemoryError is what the parser raises for too many levels
    if sys.version_info < (3, 11) and not in_one_order(code):
        return
    target = cache_from_source(path)
    os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
    with open(target, "wb") as file:  # noqa: PTH123
        file.write(MAGIC_NUMBER + UNCHECKED + source_hash(source) + packed)
        os.fchmod(file.fileno(), mode)


def settle(path: str) -> None:
    """Rewrite one .pyc file; remove it if it does not belong to its source."""
    try:
        with open(source_from_cache(path), "rb") as file:  # noqa: PTH123
            source = file.read()
            modified = int(os.fstat(file.fileno()).st_mtime)
    except (FileNotFoundError, ValueError):
        os.unlink(path)  # noqa: PTH108
        return
    wanted = MAGIC_NUMBER + UNCHECKED + source_hash(source)
    fresh = (
        MAGIC_NUMBER + TIMED + number(modified) + number(len(source)),
        MAGIC_NUMBER + CHECKED + source_hash(source),
        wanted,
    )
    with open(path, "r+b") as file:  # noqa: PTH123
        valid = file.read(16) in fresh
        if valid:
            code = canonical(file.read())
            file.seek(0)
            file.truncate()
            file.write(wanted + code)
    if not valid:
        os.unlink(path)  # noqa: PTH108


def hides(path: str) -> bool:
    """Return whether Python runs the .pyc ``path`` unasked, and the source beside it is another."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            head = file.read(16)
        if head[:8] != MAGIC_NUMBER + UNCHECKED:
            return False
        with open(source_from_cache(path), "rb") as file:  # noqa: PTH123
            return source_hash(file.read()) != head[8:]
    except (OSError, ValueError):
        return False  # no source, or no bytecode: nothing is hidden


def drop_stale(top: str) -> None:
    """Remove what hides a source below ``top``, as a step that edits a module leaves it.

    All else stays as it is, and so no part of the step's layer. Other file systems are not entered.
    """
    on_every_core(os.unlink, [path for path in compiled_files(top) if hides(path)])


def copied(source: str, places: "list[str]") -> "Iterator[str]":
    """Yield where files lie that were copied from folders to ``places``, in turn.

    The folders are called ``source`` with a number after it, from 1.
    """
    for number, place in enumerate(places, 1):
        top = f"{source}{number}"
        for folder, folders, names in os.walk(top):
            into = os.path.join(os.path.realpath(place), os.path.relpath(folder, top))  # noqa: PTH118
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]  # noqa: PTH114, PTH118
            for name in names + links:
                yield os.path.normpath(os.path.join(into, name))  # noqa: PTH118


def drop_replaced(top: str, own: "set[str]") -> None:
    """Remove what is bytecode below ``top`` of a module that is one of the files ``own``.

    Or of a link to one. What they bring compiled stays.
    """
    for path in compiled_files(top):
        try:
            module = source_from_cache(path)
        except ValueError:
            continue
        if path not in own and not own.isdisjoint((module, os.path.realpath(module))):
            os.unlink(path)  # noqa: PTH108


def compiled_files(top: str) -> "list[str]":
    """List what lies in every ``__pycache__`` below ``top``, and in the same file system."""
    device, found = os.lstat(top).st_dev, []
    for folder, folders, names in os.walk(top):
        folders[:] = [
            name
            for name in folders
            if os.lstat(os.path.join(folder, name)).st_dev == device  # noqa: PTH118
        ]
        if os.path.basename(folder) == "__pycache__":  # noqa: PTH119
            found += [os.path.join(folder, name) for name in names]  # noqa: PTH118
    return found


def sources(folders: "set[str]") -> "list[str]":
    """List the modules below ``folders``."""
    found = {
        os.path.join(place, name)  # noqa: PTH118
        for top in folders
        for place, _, names in os.walk(top)
        for name in names
        if name.endswith(".py")
    }
    return [path for path in found if os.path.isfile(path)]  # noqa: PTH113


def asked(calls: str) -> "set[str]":
    """Return the folders that packages asked py3compile to compile, one call a line of ``calls``.

    A call names a package's private folders, or means its modules among the public ones.
    """
    try:
        with open(calls) as file:  # noqa: PTH123
            lines = file.read().splitlines()
    except FileNotFoundError:
        return set()
    private = {word for line in lines for word in line.split() if word.startswith("/")}
    return private | {PUBLIC}


def on_every_core(work: "Callable[[str], None]", paths: "list[str]") -> None:
    """Do ``work`` for each path, the largest first, in as many processes as there are cores."""
    ordered = sorted(paths, key=lambda path: (-os.lstat(path).st_size, path))
    count = len(os.sched_getaffinity(0))
    children = []
    for turn in range(count):
        child = os.fork()
        if not child:
            failed = 1
            try:
                for path in ordered[turn::count]:
                    work(path)
                failed = 0
            finally:
                os._exit(failed)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        sys.exit("a module could not be compiled")


def main(top: str, calls: str) -> None:
    """Compile what the ``calls`` of py3compile asked for, and settle what is compiled already."""
    warnings.simplefilter("ignore")
    there = compiled_files(top)
    on_every_core(compile_module, sources(asked(calls)))
    on_every_core(settle, there)


def recorded(top: str) -> "set[str]":
    """Return the bytecode that a wheel's RECORD lists, anywhere below ``top``."""
    found = set()
    for place, _, names in os.walk(top):
        if place.endswith(".dist-info") and "RECORD" in names:
            record = os.path.join(place, "RECORD")  # noqa: PTH118
            with open(record, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
                listed = [line.rsplit(",", 2)[0].strip('"') for line in file]
            found |= {
                os.path.normpath(os.path.join(place, "..", name))  # noqa: PTH118
                for name in listed
                if name.endswith(".pyc")
            }
    return found


def compile_below(top: str, depth: int) -> None:
    """Compile every module below ``top``; its path in the image lacks the first ``depth`` folders.

    Bytecode that a wheel has brought stays: its RECORD says what it is.
    The environment must have set the hash seed to 0, which only Pythons before 3.11 look at.
    """
    warnings.simplefilter("ignore")
    brought = recorded(top)

    def work(path: str) -> None:
        if cache_from_source(path) not in brought:
            compile_module(path, "/" + "/".join(path.split("/")[depth + 1 :]))

    on_every_core(work, sources({top}))


if __name__ == "__main__":
    if sys.argv[1] == "--below":
        compile_below(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1] == "--stale":
        drop_stale(sys.argv[2])
    elif sys.argv[1] == "--replaced":
        drop_replaced("/", set(copied(sys.argv[2], sys.argv[3:])))
    else:
        main(sys.argv[1], sys.argv[2])
