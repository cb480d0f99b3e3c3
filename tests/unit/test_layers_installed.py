"""What dpkg's database, os-release and copyright files say of a system."""

import io
import tarfile

import pytest

from envbuilder.layers.installed import (
    DebInstalled,
    SystemFacts,
    facts_in_store,
    is_system_document,
    system_facts,
)
from envbuilder.model.image import OCI_LAYER_TAR, Layer
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store

STATUS = b"""\
Package: libstdc++6
Status: install ok installed
Architecture: amd64
Source: gcc-14
Version: 14.2.0-19

Package: libcom-err2
Status: hold ok installed
Architecture: amd64
Source: e2fsprogs (1.47.2-3)
Version: 1.47.2-3+b12

Package: tool
Status: install ok installed
Architecture: all
Version: 1.0-1+b2
Description: of many lines
 Package: not-a-field

Package: gone
Status: deinstall ok config-files
Version: 1
"""
RELEASE = b'NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="13"\n'
COPYRIGHT = (
    b"Format: https://www.debian.org/doc/x/\n\nFiles: *\nLicense:  GPL-2+\n text\nLicense:\n"
)


def deb(name, version, source, source_version, architecture="amd64"):
    return DebInstalled(
        name=name, version=version, architecture=architecture, source=source,
        source_version=source_version,
    )  # fmt: skip


def layer(store: Store, files: dict[str, bytes]) -> Layer:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    digest = store.add(buffer.getvalue())
    return Layer(digest=digest, size=len(buffer.getvalue()), diff_id=digest,
                 media_type=OCI_LAYER_TAR, title="x")  # fmt: skip


def test_packages_and_what_they_are_built_from():
    facts = system_facts({"var/lib/dpkg/status": STATUS, "usr/lib/os-release": RELEASE})
    assert facts.release == ("debian", "13")
    assert facts.debs == (
        deb("libcom-err2", "1.47.2-3+b12", "e2fsprogs", "1.47.2-3"),
        deb("libstdc++6", "14.2.0-19", "gcc-14", "14.2.0-19"),
        deb("tool", "1.0-1+b2", "tool", "1.0-1", "all"),
    )


def test_only_machine_readable_copyright_files_count():
    facts = system_facts(
        {
            "usr/share/doc/a/copyright": COPYRIGHT,
            "usr/share/doc/b/copyright": b"This is GPL.\nLicense: MIT\n",
            "usr/share/doc/a/other": COPYRIGHT,
        }
    )
    assert facts.licenses == {"a": ("GPL-2+",)}
    assert facts.debs is None


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("var/lib/dpkg/status", True),
        ("var/lib/dpkg/status.d/base-files", True),
        ("var/lib/dpkg/status-old", False),
        ("usr/share/doc/a/copyright", True),
        ("usr/share/doc/a/b/copyright", False),
        ("etc/os-release", True),
        ("opt/etc/os-release", False),
    ],
)
def test_which_documents_tell(path, is_one):
    assert is_system_document(path) is is_one


def test_an_upper_layer_replaces_what_it_says(tmp_path):
    store = Store(tmp_path)
    newer = STATUS.replace(b"14.2.0-19", b"14.2.0-20")
    layers = [
        layer(store, {"./var/lib/dpkg/status": STATUS, "etc/os-release": RELEASE,
                      "usr/share/doc/a/copyright": COPYRIGHT}),
        layer(store, {"usr/bin/x": b"x"}),
        layer(store, {"var/lib/dpkg/status": newer}),
    ]  # fmt: skip
    facts = facts_in_store(store, layers)
    assert facts is not None
    assert facts.debs is not None
    assert (facts.debs[1].version, facts.release[0], set(facts.licenses)) == (
        "14.2.0-20", "debian", {"a"},
    )  # fmt: skip
    for each in layers:  # it is remembered: the blobs are no longer needed
        store.discard(each.digest)
    assert facts_in_store(store, layers) == facts


def test_a_layer_that_is_not_there_leaves_all_unknown(tmp_path):
    store = Store(tmp_path)
    there = layer(store, {"var/lib/dpkg/status": STATUS})
    absent = Layer(digest=Digest.of(b"x"), size=1, diff_id=Digest.of(b"x"), title="x")
    assert facts_in_store(store, [there, absent]) is None
    assert facts_in_store(store, []) == SystemFacts()
