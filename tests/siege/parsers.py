"""Every parser of what others wrote, with real samples, behind one form: bytes in, or a refusal.

A parser here takes the bytes and a folder of its own. It may raise EnvbuilderError; anything else
is a fault.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import tarfile
import zipfile
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from zstandard import ZstdCompressor

from envbuilder.evidence.dsse import opened
from envbuilder.evidence.keys import new_key, read_private, read_public
from envbuilder.layers.contents import scan
from envbuilder.layers.install import Target
from envbuilder.layers.unpack import unpack
from envbuilder.layers.untar import untar
from envbuilder.layers.wheel import WheelInput, wheel_layer
from envbuilder.model.git_url import Address
from envbuilder.model.image import (
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    parse_image,
)
from envbuilder.model.lock import DebPackage
from envbuilder.model.progress import Silent
from envbuilder.model.pylock import dump_lock, read_lock
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.model.requirements_file import read_requirements
from envbuilder.model.spec_file import load as load_spec
from envbuilder.registry.auth import parse_challenges
from envbuilder.registry.credentials import find_credential
from envbuilder.registry.layout import export
from envbuilder.registry.layout import load as load_layout
from envbuilder.registry.manifests import parse_manifest
from envbuilder.resolve.debian.apt import parse_records
from envbuilder.resolve.debian.archives import read_sources
from envbuilder.resolve.debian.packages import described_by
from envbuilder.resolve.debian.system_python import find_distributions
from envbuilder.resolve.git.project import read_project
from envbuilder.resolve.python.index_pages import _files as files_of_page
from envbuilder.runtime.cdi import nvidia_devices, with_devices
from envbuilder.smoke import to_html, to_json, to_junit
from envbuilder.smoke.answers import read_answers
from envbuilder.smoke.document import UnfitError, read_document
from envbuilder.smoke.judge import judge
from envbuilder.smoke.server.client import RefusedError, Server
from envbuilder.storage.ledger import parse_entry
from envbuilder.storage.ledger import read as read_ledger
from envbuilder.storage.store import Store
from envbuilder.workflow.cluster.make import outcome_of
from envbuilder.workflow.cluster.needs import Need
from envbuilder.workflow.cluster.order import read_answer
from envbuilder.workflow.cluster.start import frame
from tests.contexts import open_here
from tests.servers.debian import Deb, build_deb
from tests.servers.locks import sealed, small_lock
from tests.servers.samples import small_image, tar_of
from tests.servers.scripted import scripted
from tests.unit.smoke_documents import PLAN, RECORDED, sound_start
from tests.unit.test_bump_advisories import LOCK, advisory, insecure
from tests.unit.test_debian_archives import BOOKWORM
from tests.unit.test_runtime_cdi import SPEC as CDI
from tests.wheels import Recipe, write_wheel

Samples = Callable[[Path], Sequence[bytes]]
Parse = Callable[[bytes, Path], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parser:
    """``slow`` ones start programs: they get fewer inputs."""

    name: str
    samples: Samples
    parse: Parse
    slow: bool = False


def in_file(name: str, read: Callable[[Path], object]) -> Parse:
    """Return a parser of a file called ``name``."""

    def parse(data: bytes, folder: Path) -> object:
        path = folder / name
        path.write_bytes(data)
        return read(path)

    return parse


def texts(*samples: str | bytes) -> Samples:
    return lambda _: [each.encode() if isinstance(each, str) else each for each in samples]


def documents(*samples: object) -> Samples:
    return texts(*(json.dumps(each) for each in samples))


# -- wheels, layers, packages -----------------------------------------------------------------

RECIPE = Recipe(
    name="demo",
    requires=("six",),
    entry_points="[console_scripts]\nd = demo:main\n",
    files={
        "demo/__init__.py": b"x = 1\n" * 50,
        "demo/bytes.bin": bytes(range(256)) * 8,
        "demo-1.0.data/scripts/run": b"#!python\nprint()\n",
        "demo-1.0.data/data/share/x": b"data",
    },
    stored=frozenset({"demo/bytes.bin"}),
)


def wheels(folder: Path) -> list[bytes]:
    return [write_wheel(folder, each).read_bytes() for each in (RECIPE, Recipe(name="demo"))]


def parse_wheel(data: bytes, folder: Path) -> object:
    path = folder / RECIPE.filename
    path.write_bytes(data)
    wheel = WheelInput(filename=path.name, sha256=Digest.of(data), path=path)
    store = Store(folder / "store")
    made = wheel_layer(store, [wheel], target=Target(python="3.11"), title="x")
    with untar(store.path(made.digest), made.media_type, made.diff_id) as tar:
        return scan(tar)


def rebuilt_wheel(data: bytes, folder: Path) -> object:
    """Take mutated members, but a sound zip around them: deeper than a broken directory."""
    files = dict(RECIPE.contents())
    name = sorted(files)[len(data) % len(files)]
    files[name] = data
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, content in files.items():
            archive.writestr(each, content)
    return parse_wheel(out.getvalue(), folder)


def tars(_: Path) -> list[bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, target in (
            ("usr", tarfile.DIRTYPE, ""),
            ("usr/lib/python3.11/site-packages/x-1.dist-info/METADATA", tarfile.REGTYPE, ""),
            ("usr/" + "long/" * 40 + "n\u00e4me", tarfile.REGTYPE, ""),
            ("lib", tarfile.SYMTYPE, "usr/lib"),
            ("hard", tarfile.LNKTYPE, "usr/" + "long/" * 40 + "n\u00e4me"),
            ("dev/null", tarfile.CHRTYPE, ""),
            ("usr/.wh.gone", tarfile.REGTYPE, ""),
            ("usr/.wh..wh..opq", tarfile.REGTYPE, ""),
            ("a/__pycache__/m.cpython-311.pyc", tarfile.REGTYPE, ""),
            ("var/lib/dpkg/status", tarfile.REGTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, target, 0o4755
            content = b"Package: x\nStatus: install ok installed\nName: x\nVersion: 1\n\n"
            member.size = len(content) if kind == tarfile.REGTYPE else 0
            member.pax_headers = {"SCHILY.xattr.user.a": "b"} if kind == tarfile.REGTYPE else {}
            tar.addfile(member, io.BytesIO(content))
    return [out.getvalue(), tar_of({"etc/x": b"y" * 3000})]


def parse_layer(pack: Callable[[bytes], bytes], media_type: str, data: bytes, folder: Path) -> None:
    blob, into = folder / "blob", folder / "into"
    blob.write_bytes(pack(data))
    diff_id = Digest.of(data)
    with untar(blob, media_type, diff_id) as tar:
        scan(tar, hashed=True)
    into.mkdir()
    unpack(blob, media_type, into, diff_id=diff_id)


def packed_layers(folder: Path) -> list[bytes]:
    return [gzip.compress(tars(folder)[0], mtime=0)]


def parse_packed(data: bytes, folder: Path) -> None:
    """Read a layer whose very compression is damaged."""
    blob = folder / "blob"
    blob.write_bytes(data)
    with untar(blob, OCI_LAYER_GZIP, Digest.of(tars(folder)[0])) as tar:
        scan(tar)


def debs(folder: Path) -> list[bytes]:
    site = "usr/lib/python3/dist-packages"
    metadata = "Metadata-Version: 2.1\nName: Some_Thing\nVersion: 1.0\n"
    files = {f"{site}/x-1.dist-info/METADATA": metadata, f"{site}/y.egg-info": metadata}
    deb = Deb(name="python3-x", files=files)
    return [build_deb(deb, folder / "tree", folder / "x.deb").read_bytes()]


def parse_deb(data: bytes, folder: Path) -> object:
    store = Store(folder / "store")
    deb = DebPackage(
        name="x", version="1", architecture="amd64", filename="x.deb", size=len(data),
        sha256=store.add(data),
    )  # fmt: skip
    return find_distributions([deb], store=store)


# -- images -----------------------------------------------------------------------------------


def layouts(folder: Path, target: str) -> Path:
    store = Store(folder / "image-store")
    image = small_image(store)
    for document in (image.manifest, image.config):
        store.add(document)
    return export(image, store, target, name="x", progress=Silent())


def archives(folder: Path) -> list[bytes]:
    return [layouts(folder, str(folder / "x.tar")).read_bytes()]


def parse_archive(data: bytes, folder: Path) -> object:
    path = folder / "y.tar"
    path.write_bytes(data)
    with open_here(str(path), Store(folder / "store")) as image:
        return image.contents(Silent(), hashed=True)


def indexes(folder: Path) -> list[bytes]:
    return [(layouts(folder, f"oci:{folder / 'x'}") / "index.json").read_bytes()]


def parse_index(data: bytes, folder: Path) -> object:
    layout = layouts(folder, f"oci:{folder / 'y'}")
    (layout / "index.json").write_bytes(data)
    return load_layout(layout, "linux/amd64")


def image_documents(folder: Path) -> list[bytes]:
    image = small_image(Store(folder / "image-store"))
    return [image.manifest, image.config]


def parse_document(data: bytes, folder: Path) -> object:
    """Put a mutated manifest or config into an image that names it rightly."""
    image = small_image(Store(folder / "image-store"))
    if b"rootfs" in data:
        manifest = json.loads(image.manifest)
        manifest["config"]["digest"] = str(Digest.of(data))
        read = parse_image(json.dumps(manifest).encode(), data)
    else:
        read = parse_image(data, image.config)
    return dict(read.settings), read.layers


def manifests(folder: Path) -> list[bytes]:
    image = small_image(Store(folder / "image-store"))
    entry = {
        "mediaType": OCI_MANIFEST, "digest": str(image.digest), "size": len(image.manifest),
        "platform": {"os": "linux", "architecture": "amd64"}, "annotations": {"a": "b"},
    }  # fmt: skip
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    return [image.manifest, json.dumps(index).encode()]


def parse_registry_manifest(data: bytes, _: Path) -> object:
    kind = OCI_INDEX if b'"manifests"' in data else OCI_MANIFEST
    found = parse_manifest(data, kind, "example.com/x")
    return found.children if found.is_index else (found.config, found.layers)


# -- smoke ------------------------------------------------------------------------------------


def probe_documents(_: Path) -> list[bytes]:
    started = {**RECORDED, "jobs": [*RECORDED["jobs"], sound_start()]}
    return [json.dumps(started).encode()]


def parse_probe(data: bytes, _: Path) -> object:
    wanted = [job["name"] for job in RECORDED["jobs"]]
    with contextlib.suppress(UnfitError):
        report = judge(PLAN, read_document(data, wanted=wanted), subject="x")
        return to_html(report), to_json(report), to_junit(report)
    return None


ANSWERS = {
    "version": 1, "identity": "x", "packages": {"a": "1"},
    "prompts": {
        "text": {"dtype": "f", "logits": [1.0], "spread": 0.1, "generated": [3], "margins": [0.1]}
    },
}  # fmt: skip


# -- others -----------------------------------------------------------------------------------


def ledgers(_: Path) -> list[bytes]:
    line = {
        "time": "2026-01-01T00:00:00Z", "spec": str(Digest.of(b"s")), "lock": str(Digest.of(b"l")),
        "image": str(Digest.of(b"i")), "engine": "embedded", "good": True,
    }  # fmt: skip
    parse_entry(json.dumps(line).encode())
    return [b"".join(json.dumps(line).encode() + b"\n" for _ in range(3))]


def locks(folder: Path) -> list[bytes]:
    image = small_image(Store(folder / "image-store"))
    return [dump_lock(small_lock()).encode(), dump_lock(sealed(small_lock(), image)).encode()]


def osv_zips(_: Path) -> list[bytes]:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            text = json.dumps(advisory("requests", {"introduced": "0"}, {"fixed": "2.31.0"}))
            archive.writestr(f"{number}.json", text)
    return [out.getvalue()]


def parse_osv(data: bytes, folder: Path) -> object:
    (folder / "osv").mkdir()
    (folder / "osv" / "x.json").write_bytes(data)
    return insecure(LOCK, folder / "osv")


PAGE = {
    "meta": {"api-version": "1.1"}, "name": "x",
    "files": [
        {"filename": "x-1.0-py3-none-any.whl", "url": "../x-1.0-py3-none-any.whl", "size": 5,
         "hashes": {"sha256": "0" * 64}, "upload-time": "2025-01-01T00:00:00Z", "yanked": False},
    ],
}  # fmt: skip
HTML = f'<!DOCTYPE html><base href="/y/"><a href="x-1.0.whl#sha256={"0" * 64}" data-yanked>x</a>\n'


def parse_page(kind: str, data: bytes, _: Path) -> object:
    return list(files_of_page("http://127.0.0.1/simple/x/", kind, data))


def keys(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in new_key(folder / "key")]


def parse_key(data: bytes, folder: Path) -> object:
    (folder / "key").write_bytes(data)
    read = read_public if b"PUBLIC" in data else read_private
    return read(str(folder / "key"), {})


def parse_envelope(data: bytes, folder: Path) -> object:
    _, public = new_key(folder / "key")
    return opened(data, read_public(str(public)))


def parse_cdi(data: bytes, folder: Path) -> object:
    (folder / "nvidia.yaml").write_bytes(data)
    config = {"process": {"env": [], "user": {}}, "mounts": []}
    return with_devices(config, nvidia_devices([folder]))


def parse_sources(data: bytes, folder: Path) -> object:
    (folder / "sources.list.d").mkdir()
    (folder / "sources.list").write_bytes(data)
    (folder / "sources.list.d" / "x.sources").write_bytes(data)
    return read_sources(folder)


def parse_packages(data: bytes, _: Path) -> object:
    return [described_by(each) for each in parse_records(data.decode(errors="replace"))]


def parse_project(data: bytes, _: Path) -> object:
    """Read a pyproject.toml as if a commit, or an archive, held it."""
    tree = SimpleNamespace(read=lambda _: data, place="https://example.com/x")
    return read_project(tree, subdirectory=None)


def parse_answer(data: bytes, _: Path) -> object:
    """Ask a model server that answers so."""
    with scripted(lambda call, _: call.answer(200, data)) as server:
        asked = Server(f"http://{server.host}", key_variable="NO_KEY", timeout=20)
        with contextlib.suppress(RefusedError):  # its callers' to judge
            return asked.model(), asked.prompt_tokens("x", [])
    return None


def parse_text(parse: Callable[[str], object], data: bytes, _: Path) -> object:
    return parse(data.decode(errors="surrogateescape"))


SPECS = (
    "version: 1\nname: x\npython: '3.11'\nbase: {debian: trixie}\nsystem: {packages: [python3]}\n"
    "packages:\n  tqdm: '==4.67.1'\n  mine: {git: 'https://example.com/x', tag: v1}\n"
    "env: {A: b}\nsmoke: {gpu: never}\n",
    "version: 1\nname: x\npython: '3.11'\nbase: {image: 'example.com/x:1'}\npackages: &a {a: '*'}\n"
    "overrides: {numpy: '==1'}\nindex: {exclude_newer: 2025-01-01T00:00:00Z}\n"
    "healthcheck: {command: [a], interval: 5}\nsteps: {after_python: ['true']}\n",
)
_ENVELOPE = {
    "payloadType": "application/vnd.in-toto+json",
    "payload": "e30=",
    "signatures": [{"sig": "AA=="}],
}

PACKAGES = (
    "Package: x\nVersion: 1.0-1\nArchitecture: amd64\nFilename: pool/x_1.0_amd64.deb\nSize: 10\n"
    f"SHA256: {'0' * 64}\nDescription: a\n b\n\nPackage: y\nVersion: 2\nArchitecture: all\n"
    f"Filename: pool/y.deb\nSize: 5\nSHA256: {'1' * 64}\n"
)
PROJECT = (
    '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "b"\nbackend-path = ["."]\n'
    '[project]\nname = "x"\ndynamic = ["version"]\n[tool.setuptools_scm]\n'
)


def jobs(folder: Path) -> list[bytes]:
    image = small_image(Store(folder / "image-store"))
    entry = json.loads(ledgers(folder)[0].splitlines()[0])
    report = {"subject": "x", "verdict": "pass", "summary": "known good", "checks": []}
    built = {
        "lock": dump_lock(sealed(small_lock(), image)),
        "manifest": b64encode(image.manifest).decode(),
        "config": b64encode(image.config).decode(),
        "report": report,
        "entry": {**entry, "image": str(image.digest)},
    }
    answers = ({"code": 4, "error": "x"}, {"code": 0, "built": built})
    return [json.dumps(each).encode() for each in answers]


def parse_job(data: bytes, _: Path) -> object:
    answer = read_answer(frame("aa", data), "aa")
    return answer if answer is None or answer.error else outcome_of(answer, Need(memory=1))


PARSERS = (
    Parser(name="answers of jobs", samples=jobs, parse=parse_job),
    Parser(name="package indexes of apt", samples=texts(PACKAGES), parse=parse_packages),
    Parser(name="pyproject files", samples=texts(PROJECT), parse=parse_project),
    Parser(name="answers of servers", parse=parse_answer, slow=True, samples=documents(
        {"data": [{"id": "x"}], "usage": {"prompt_tokens": 5}},
        {"data": [{"id": "x"}], "error": {"message": "x"}},
    )),
    Parser(name="specs", samples=texts(*SPECS), parse=in_file("x.yaml", load_spec)),
    Parser(name="locks", samples=locks, parse=in_file("pylock.small.toml", read_lock)),
    Parser(name="wheels", samples=wheels, parse=parse_wheel),
    Parser(
        name="metadata of wheels", parse=rebuilt_wheel,
        samples=lambda _: [text for name, text in RECIPE.contents().items() if "info" in name],
    ),
    Parser(
        name="layers (tar)", samples=tars,
        parse=partial(parse_layer, partial(gzip.compress, compresslevel=1), OCI_LAYER_GZIP),
    ),
    Parser(
        name="layers (zstd)", samples=tars,
        parse=partial(parse_layer, ZstdCompressor(level=1).compress, OCI_LAYER_ZSTD),
    ),
    Parser(name="layers (gzip)", samples=packed_layers, parse=parse_packed),
    Parser(name=".deb files", samples=debs, parse=parse_deb, slow=True),
    Parser(name="apt sources", parse=parse_sources,
           samples=texts(BOOKWORM, "deb [arch=amd64] http://example.com/debian trixie main\n")),
    Parser(name="manifests", samples=manifests, parse=parse_registry_manifest),
    Parser(name="manifests with configs", samples=image_documents, parse=parse_document),
    Parser(name="OCI layouts", samples=indexes, parse=parse_index),
    Parser(name="OCI archives", samples=archives, parse=parse_archive),
    Parser(name="probe documents", samples=probe_documents, parse=parse_probe, slow=True),
    Parser(name="recorded answers", samples=documents(ANSWERS),
           parse=in_file("x.json", read_answers)),
    Parser(name="ledgers", samples=ledgers, parse=in_file("x.jsonl", read_ledger)),
    Parser(name="OSV documents", parse=parse_osv, samples=documents(
        advisory("requests", {"introduced": "0"}, {"fixed": "2.31.0"}, versions=["2.19.0"]))),
    Parser(name="OSV archives", samples=osv_zips, parse=in_file("x.zip", partial(insecure, LOCK))),
    Parser(name="index pages (JSON)", samples=documents(PAGE),
           parse=partial(parse_page, "application/vnd.pypi.simple.v1+json")),
    Parser(name="index pages (HTML)", samples=texts(HTML), parse=partial(parse_page, "text/html")),
    Parser(name="keys", samples=keys, parse=parse_key),
    Parser(name="envelopes", samples=documents(_ENVELOPE), parse=parse_envelope),
    Parser(name="CDI files", samples=texts(CDI), parse=parse_cdi),
    Parser(name="logins", samples=documents({"auths": {"example.com": {"auth": "YTpi"}}}),
           parse=in_file("config.json", lambda path: find_credential("example.com", [path]))),
    Parser(name="challenges", parse=partial(parse_text, parse_challenges),
           samples=texts('Bearer realm="https://example.com/t",service="x",scope="a:b:pull"')),
    Parser(name="requirement files", parse=in_file("x.txt", read_requirements),
           samples=texts("a==1 ; python_version < '3'\n# c\nb[x]>=2 --hash=sha256:00\n")),
    Parser(name="image references", parse=partial(parse_text, ImageRef.parse),
           samples=texts("example.com:5000/a/b:tag@sha256:" + "0" * 64)),
    Parser(name="git addresses", parse=partial(parse_text, Address.parse),
           samples=texts("https://example.com/x.git", "git@example.com:x/y", "ssh://a:22/b")),
)  # fmt: skip
