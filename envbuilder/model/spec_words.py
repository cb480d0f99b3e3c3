"""What texts and numbers a spec may hold: one type for each kind, and its pattern in words."""

from __future__ import annotations

from typing import Annotated, Literal, dataclass_transform, get_args

from msgspec import Meta, Struct

_END = r"$(?!\n)"  # Python's $ alone would let a last line break pass; JSON schema's would not
NAME = r"^[a-z0-9]+(-[a-z0-9]+)*" + _END
LINE = r"^[^\x00\r\n]*" + _END
LABEL = r"^[^\x00-\x1f\x7f=]+" + _END
SYSTEM_PACKAGE = r"^[A-Za-z0-9][A-Za-z0-9+._:~^-]*(=[A-Za-z0-9.+:~-]+)?" + _END
ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_]*" + _END
GIT_REF = r"^[A-Za-z0-9_][A-Za-z0-9_./+-]*" + _END
COMMIT = r"^[0-9a-f]{7,64}" + _END
PYTHON = r"^3\.[0-9]{1,2}(\.[0-9]{1,2})?" + _END
GLIBC = r"^2\.[0-9]{1,2}" + _END
SUITE = r"^[a-z]+" + _END
BUILD_SOURCE = r"^[a-z0-9]+([_-][a-z0-9]+)*" + _END
FETCH_CONTENT = r"^[A-Za-z0-9_.+-]+" + _END
GPU_TYPE = r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?" + _END
SIGNAL = r"^(SIG[A-Z0-9+-]+|[0-9]{1,2})" + _END
ABSOLUTE = r"^(/[A-Za-z0-9._+-]+)+" + _END
PLACE = r"^(/[A-Za-z0-9._+-]+)+/?" + _END
MODE = r"^0?[0-7]{3}" + _END
USER = r"^[a-z_][a-z0-9_-]{0,31}" + _END
OWNER = r"^([a-z_][a-z0-9_-]*|[0-9]{1,10}(:[0-9]{1,10})?)" + _END
HIGHEST_ID = 2**31 - 2
"""The last number of a user or a group that all programs take."""

IN_WORDS = {  # for error messages: what each pattern means
    NAME: "lower-case words and digits joined by hyphens",
    LINE: "one line of text",
    LABEL: "a label's name, without = and control characters",
    SYSTEM_PACKAGE: "a package name, or NAME=VERSION",
    ENV_NAME: "the name of an environment variable",
    GIT_REF: "the name of a git tag or branch",
    COMMIT: "a commit id of 7 to 64 lower-case hex digits",
    PYTHON: 'a Python version like "3.12" or "3.12.3"',
    GLIBC: 'a version of glibc like "2.36"',
    SUITE: "the name of a suite (Debian 12 is bookworm, 13 trixie; Ubuntu 24.04 is noble)",
    ABSOLUTE: "an absolute path",
    PLACE: "an absolute path; one that ends in / is a folder to put a file into",
    MODE: 'a file\'s mode in octal, like "0644"',
    USER: "a user's name, of at most 32 letters, digits, _ and -",
    OWNER: "the spec's own user by name, or UID, or UID:GID",
    GPU_TYPE: "a type of GPU as Ray calls it, like H100 or A100-80G",
    SIGNAL: "a signal, like SIGINT",
    BUILD_SOURCE: "lower-case words and digits joined by - or _",
    FETCH_CONTENT: "the name that CMake's FetchContent_Declare has",
}

Name = Annotated[str, Meta(pattern=NAME, max_length=64)]
Line = Annotated[str, Meta(pattern=LINE, max_length=4096)]
LabelName = Annotated[str, Meta(pattern=LABEL, max_length=4096)]
EnvName = Annotated[str, Meta(pattern=ENV_NAME)]
SystemPackage = Annotated[str, Meta(pattern=SYSTEM_PACKAGE)]
GitRef = Annotated[str, Meta(pattern=GIT_REF, max_length=255)]
Commit = Annotated[str, Meta(pattern=COMMIT)]
Platform = Literal["linux/amd64", "linux/arm64"]
PLATFORMS: tuple[Platform, ...] = get_args(Platform)
MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
"""Each platform's machine, as Python names it."""
PythonVersion = Annotated[str, Meta(pattern=PYTHON)]
Modality = Literal["audio", "image", "video"]
GpuType = Annotated[str, Meta(pattern=GPU_TYPE)]
GpuUse = Literal["auto", "required", "never"]
Compression = Literal["gzip", "zstd", "zstd:chunked"]
COMPRESSIONS: tuple[Compression, ...] = get_args(Compression)
Strategy = Literal["best-match", "first-index"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
"""Defaults are taken from these: msgspec leaves one out of a normal form by identity."""


@dataclass_transform(frozen_default=True)
class Frozen(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all parts of a spec share: immutable, named fields only, unknown keys refused."""
