"""Bills of materials, held against the schemas of those who define the formats."""

import json
import zipfile

import pytest
from click.testing import CliRunner

from envbuilder.cli.app import cli
from envbuilder.evidence.bill import (
    PackageFacts,
    bill_of_image,
    bill_of_lock,
    facts_of_store,
    python_part,
)
from envbuilder.evidence.sbom import cyclonedx
from envbuilder.evidence.spdx import spdx
from envbuilder.layers.installed import DebInstalled, SystemFacts
from envbuilder.model.progress import Silent
from envbuilder.model.pylock import dump_lock
from envbuilder.model.reference import Digest
from envbuilder.registry.layout import export
from envbuilder.storage.store import Store
from envbuilder.workflow.sbom import bill_of_opened
from tests.contexts import context, open_here
from tests.schemas import check_cyclonedx, check_spdx
from tests.servers.locks import sealed, small_lock
from tests.servers.samples import image_of, layer_of, small_image
from tests.unit.test_licenses import metadata

IMAGE = Digest.of(b"image")
MOMENT = "2026-01-02T03:04:05+01:00"
SYSTEM = SystemFacts(
    release=("debian", "13"),
    debs=(
        DebInstalled(name="libstdc++6", version="1:14.2.0-19", architecture="amd64",
                     source="gcc-14", source_version="1:14.2.0-18"),
    ),
    licenses={"libstdc++6": ("GPL-3+", "GCC exception")},
)  # fmt: skip
FACTS = PackageFacts(
    system=SYSTEM,
    metadata=lambda name, _wheel: metadata(License_Expression="MIT") if name == "tqdm" else None,
)


@pytest.fixture(params=["lock", "facts", "image"])
def bill(request):
    if request.param == "image":
        python = [python_part("numpy", "2.0", metadata(License="BSD or so"), None)]
        system = SystemFacts(release=("ubuntu", "22.04"), debs=SYSTEM.debs)
        return bill_of_image("x", IMAGE, finished=MOMENT, python=python, system=system)
    facts = FACTS if request.param == "facts" else None
    return bill_of_lock(small_lock(), IMAGE, finished=MOMENT, facts=facts)


def test_cyclonedx_is_what_its_schema_says(bill):
    check_cyclonedx(cyclonedx(bill))


def test_spdx_is_what_its_own_tools_accept(bill, tmp_path):
    check_spdx(spdx(bill), tmp_path)


def test_the_schemas_refuse_what_is_wrong(tmp_path):
    bill = bill_of_lock(small_lock(), IMAGE, finished=MOMENT)
    with pytest.raises(Exception, match="is not one of"):
        check_cyclonedx(cyclonedx(bill) | {"components": [{"type": "x", "name": "y"}]})
    with pytest.raises(AssertionError):
        check_spdx(spdx(bill) | {"relationships": []}, tmp_path)


def test_the_same_inputs_make_the_same_bytes():
    bills = [bill_of_lock(small_lock(), IMAGE, finished=MOMENT, facts=FACTS) for _ in range(2)]
    assert json.dumps(cyclonedx(bills[0])) == json.dumps(cyclonedx(bills[1]))
    assert json.dumps(spdx(bills[0])) == json.dumps(spdx(bills[1]))


def components(**facts):
    bill = bill_of_lock(small_lock(), IMAGE, finished=MOMENT, **facts)
    return {each["name"]: each for each in cyclonedx(bill)["components"]}


def test_a_deb_is_named_as_scanners_look_it_up():
    """By source: the pool's path names it without more, dpkg knows its version too."""
    purl = "pkg:deb/debian/libstdc%2B%2B6@1:14.2.0-19?arch=amd64&distro=debian-13&upstream=gcc-14"
    assert components()["libstdc++6"]["purl"] == purl
    deb = components(facts=FACTS)["libstdc++6"]
    assert deb["purl"] == f"{purl}%401:14.2.0-18"
    assert {each["name"].rpartition(":")[2]: each["value"] for each in deb["properties"]} == {
        "SrcName": "gcc-14", "SrcEpoch": "1", "SrcVersion": "14.2.0", "SrcRelease": "18",
    }  # fmt: skip
    assert deb["licenses"] == [{"expression": "GPL-3.0-or-later AND LicenseRef-GCC-exception"}]
    assert components()["debian"]["version"] == "13"


def test_a_wheel_has_hash_and_licence():
    wheel = components(facts=FACTS)["tqdm"]
    assert wheel["licenses"] == [{"license": {"id": "MIT"}}]
    assert wheel["hashes"] == [{"alg": "SHA-256", "content": small_lock().wheels[0].sha256.hex}]
    assert "licenses" not in components(facts=FACTS)["mine"]
    assert components()["mine"]["externalReferences"][0]["url"] == (
        f"git+https://git.example.test/mine@{'c' * 40}"
    )


def test_no_password_is_in_a_bill(bill):
    assert "hunter2" not in json.dumps([cyclonedx(bill), spdx(bill)])


@pytest.fixture
def built(tmp_path, monkeypatch):
    """A sealed lock in lockfiles/, and a store that has its wheel."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENVBUILDER_CACHE", str(tmp_path / "store"))
    store = Store(tmp_path / "store")
    image = small_image(store, seed=1)
    (tmp_path / "lockfiles").mkdir()
    lock = sealed(small_lock(), image)
    (tmp_path / "lockfiles/pylock.small.toml").write_text(dump_lock(lock))
    return store, lock


def run(*arguments):
    return CliRunner().invoke(cli, ["sbom", *arguments], catch_exceptions=False)


@pytest.mark.parametrize("form", ["cyclonedx", "spdx"])
def test_the_command_writes_a_file_or_stdout(built, tmp_path, form):
    done = run("small", "--format", form, "-o", "bill.json")
    assert (done.exit_code, done.stdout) == (0, "")
    document = json.loads((tmp_path / "bill.json").read_text())
    shown = run("lockfiles/pylock.small.toml", "--format", form)
    assert document.keys() == json.loads(shown.stdout).keys()
    if form == "spdx":
        check_spdx(document, tmp_path)
    else:
        check_cyclonedx(document)
        assert document["metadata"]["component"]["version"] == str(built[1].seal.manifest)
    assert "no licence is known of 3 packages: tqdm" in done.stderr


def test_a_wheel_in_the_store_tells_its_licence(tmp_path):
    path = tmp_path / "x.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x-1.dist-info/METADATA", "Name: x\nVersion: 1\nLicense: ISC\n")
    store = Store(tmp_path / "store")
    digest = store.add(path.read_bytes())
    head = facts_of_store(store, small_lock()).metadata("x", digest)
    assert head is not None
    assert head["License"] == "ISC"
    assert facts_of_store(store, small_lock()).metadata("x", IMAGE) is None


STATUS = b"Package: zlib1g\nArchitecture: amd64\nSource: zlib\nVersion: 1:1.3-1\n"


def test_an_image_of_others_tells_its_packages_itself(tmp_path):
    head = b"Name: Some_Package\nVersion: 2\nLicense: ISC\n"
    documents = {
        "usr/lib/python3/dist-packages/some-2.dist-info/METADATA": head,
        "var/lib/dpkg/status": STATUS,
        "etc/os-release": b'ID=ubuntu\nVERSION_ID="24.04"\n',
    }
    there = Store(tmp_path / "there")
    image = image_of([layer_of(there, documents, "all")])
    export(image, there, f"oci:{tmp_path / 'image'}", name="x", progress=Silent())
    here = context(Store(tmp_path / "here"))
    with open_here(f"oci:{tmp_path / 'image'}", here.store) as opened:
        bill = bill_of_opened(here, opened)
    assert [(part.purl, part.license.expression) for part in bill.parts] == [
        ("pkg:pypi/some-package@2", "ISC"),
        ("pkg:deb/ubuntu/zlib1g@1:1.3-1?arch=amd64&distro=ubuntu-24.04&upstream=zlib", ""),
    ]
    check_cyclonedx(cyclonedx(bill))
