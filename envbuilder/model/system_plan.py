"""Which Debian packages share a layer: a pure function of the lock's base.

A runtime lays these below all else. Lowest lie the small packages that every Debian system has,
so that environments share them; then heavy packages, each its own layer; then the rest in a fixed
number of buckets by name, so that a new version of one touches one bucket; last, one small layer
with what no package owns: dpkg's own records, the linker's cache, what scripts wrote to /etc.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .lock import DebianBase, DebPackage

HEAVY = 1 << 20
"""A .deb of this many bytes gets a layer of its own, while there is room."""
BUCKETS = 16
MOST_LAYERS = 48

# What Debian marks `Essential: yes`, and what these depend on, in bookworm and in trixie. A name
# that is missing here costs nothing but that it lies in a bucket.
ESSENTIAL = frozenset(
    [
        "base-files",
        "base-passwd",
        "bash",
        "bsdutils",
        "coreutils",
        "dash",
        "debconf",
        "debianutils",
        "diffutils",
        "dpkg",
        "findutils",
        "gcc-12-base",
        "gcc-14-base",
        "grep",
        "gzip",
        "hostname",
        "init-system-helpers",
        "libacl1",
        "libattr1",
        "libaudit-common",
        "libaudit1",
        "libblkid1",
        "libbz2-1.0",
        "libc-bin",
        "libc6",
        "libcap-ng0",
        "libcap2",
        "libcom-err2",
        "libcrypt1",
        "libdb5.3",
        "libdb5.3t64",
        "libdebconfclient0",
        "libgcc-s1",
        "libgcrypt20",
        "libgmp10",
        "libgpg-error0",
        "libgssapi-krb5-2",
        "libk5crypto3",
        "libkeyutils1",
        "libkrb5-3",
        "libkrb5support0",
        "liblastlog2-2",
        "liblz4-1",
        "liblzma5",
        "libmd0",
        "libmount1",
        "libnsl2",
        "libpam-modules",
        "libpam-modules-bin",
        "libpam-runtime",
        "libpam0g",
        "libpcre2-8-0",
        "libselinux1",
        "libsmartcols1",
        "libsqlite3-0",
        "libssl3",
        "libssl3t64",
        "libsystemd0",
        "libtinfo6",
        "libtirpc-common",
        "libtirpc3",
        "libudev1",
        "libuuid1",
        "libzstd1",
        "login",
        "login.defs",
        "mawk",
        "ncurses-base",
        "ncurses-bin",
        "openssl-provider-legacy",
        "perl-base",
        "sed",
        "sysvinit-utils",
        "tar",
        "usr-is-merged",
        "util-linux",
        "util-linux-extra",
        "zlib1g",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLayer:
    """Debian packages that become one layer, sorted by name; none for what no package owns.

    ``bucket`` counts the layers of small packages from 1; other layers have none.
    """

    title: str
    packages: tuple[DebPackage, ...] = ()
    bucket: int | None = None


def system_plan(base: DebianBase) -> tuple[SystemLayer, ...]:
    """Plan the layers of ``base``, lowest first; the last holds what no package owns."""
    alone = _alone(base)
    small = [deb for deb in sorted(base.packages) if deb not in alone]
    essential = tuple(deb for deb in small if deb.name in ESSENTIAL)
    return (
        *_essential(base, essential),
        *(_single(base, deb) for deb in sorted(alone)),
        *_buckets(base, [deb for deb in small if deb.name not in ESSENTIAL]),
        SystemLayer(title=f"{base.distribution.title()} {base.suite}: state"),
    )


def _alone(base: DebianBase) -> frozenset[DebPackage]:
    heavy = sorted(
        (deb for deb in base.packages if deb.size >= HEAVY), key=lambda each: (-each.size, each)
    )
    return frozenset(heavy[: MOST_LAYERS - BUCKETS - 2])


def _essential(base: DebianBase, debs: tuple[DebPackage, ...]) -> tuple[SystemLayer, ...]:
    title = f"{base.distribution.title()} {base.suite}: essential packages"
    return (SystemLayer(title=title, packages=debs),) if debs else ()


def _single(base: DebianBase, deb: DebPackage) -> SystemLayer:
    return SystemLayer(
        title=f"{base.distribution.title()} {base.suite}: {deb.name} {deb.version}", packages=(deb,)
    )


def _buckets(base: DebianBase, small: list[DebPackage]) -> list[SystemLayer]:
    buckets: list[list[DebPackage]] = [[] for _ in range(BUCKETS)]
    for deb in small:
        buckets[hashlib.sha256(deb.name.encode()).digest()[0] % BUCKETS].append(deb)
    return [
        SystemLayer(
            title=f"{base.distribution.title()} {base.suite}: packages {number}/{BUCKETS}",
            packages=tuple(debs),
            bucket=number,
        )
        for number, debs in enumerate(buckets, 1)
        if debs
    ]
