"""Packages out of indexes that want a login, tell no dates, break off, or send other bytes."""

import ssl
import time
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from envbuilder.model.errors import NetworkError, ResolutionError
from envbuilder.model.lock import Wheel
from envbuilder.model.package_spec import Index
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.net.config import Settings
from envbuilder.resolve.python.requirements import PythonTarget, locate_wheels, resolve_python
from envbuilder.resolve.python.wheels import WheelSupply
from envbuilder.storage.store import Store
from tests.contexts import context, indexes
from tests.servers.certificates import authority, server_certificate
from tests.servers.packages import Packages
from tests.servers.samples import noise
from tests.servers.scripted import scripted
from tests.wheels import Recipe, write_wheel

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("told_nothing")]

TARGET = PythonTarget(python="3.12", platform="linux/amd64")
DAYS = {"1.0": "2025-06-01T00:00:00Z", "1.1": "2025-06-29T23:30:00Z", "1.2": "2025-06-30T01:00:00Z"}


@pytest.fixture
def wheels(tmp_path: Path) -> dict[str, bytes]:
    """Three versions of app, which needs lib from 1.1 on, and two of lib."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    recipes = [Recipe(name="app", version="1.0")]
    recipes += [Recipe(name="app", version=each, requires=("lib>=1.1",)) for each in ("1.1", "1.2")]
    recipes += [Recipe(name="lib", version=each) for each in ("1.0", "1.1")]
    paths = [write_wheel(folder, recipe) for recipe in recipes]
    return {path.name: path.read_bytes() for path in paths}


@pytest.fixture
def dated(wheels):
    return Packages(wheels=wheels, uploaded={name: DAYS[name.split("-")[1]] for name in wheels})


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home without any settings; the machine's own are another test's."""
    home = tmp_path / "home"
    for folder in ("pip", "uv"):
        (home / ".config" / folder).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    return home


def versions(wheels):
    return {wheel.name: wheel.version for wheel in wheels}


def resolve(server, *requirements, held=None, **index):
    index = Index(url=f"http://{server.host}/simple", **index)
    return resolve_python(requirements, indexes=indexes(), target=TARGET, index=index, held=held)


def fetch(url, wheel):
    received = bytearray()
    with Silent().step("fetch", "") as step:
        indexes().download(url, received.extend, sha256=wheel.sha256, size=wheel.size, step=step)
    return bytes(received)


# -- logins -------------------------------------------------------------------------------------


def by_variables(home, host, monkeypatch):  # noqa: ARG001
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"my-corp=http://{host}/simple")
    monkeypatch.setenv("UV_INDEX_MY_CORP_USERNAME", "u")
    monkeypatch.setenv("UV_INDEX_MY_CORP_PASSWORD", "p@ss")


def by_named_url(home, host, monkeypatch):  # noqa: ARG001
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"corp=http://u:p%40ss@{host}/simple")


def by_pip(home, host, monkeypatch):
    monkeypatch.delenv("PIP_CONFIG_FILE")
    path = home / ".config/pip/pip.conf"
    path.write_text(f"[global]\nindex-url = http://u:p%40ss@{host}/simple\n")


def by_uv(home, host, monkeypatch):
    monkeypatch.delenv("UV_CONFIG_FILE")
    path = home / ".config/uv/uv.toml"
    path.write_text(f'[[index]]\nurl = "http://u:p%40ss@{host}/simple"\ndefault = true\n')


def by_netrc(home, host, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://{host}/simple")
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    (home / "netrc").write_text("machine 127.0.0.1 login u password p@ss\n")


@pytest.mark.parametrize("say", [by_variables, by_named_url, by_pip, by_uv, by_netrc])
def test_a_private_index_gives_its_files_to_who_may_resolve(home, monkeypatch, wheels, say):
    with scripted(Packages(wheels=wheels, login="u:p@ss").respond) as server:
        say(home, server.host, monkeypatch)
        (wheel,) = resolve_python(["app==1.0"], indexes=indexes(), target=TARGET, index=Index())
        ((_, url),) = locate_wheels(
            [wheel], indexes=indexes(), target=TARGET, index=Index()
        ).items()
        assert fetch(url, wheel) == wheels[wheel.filename]
        assert wheel.size == len(wheels[wheel.filename])


def test_who_is_refused_hears_how_to_log_in(wheels):
    with scripted(Packages(wheels=wheels, login="u:p").respond) as server:
        url = f"http://{server.host}/files/{NAME}"
        for ask in (
            lambda: resolve(server, "app"),
            lambda: indexes().size_of(url),
            lambda: fetch(url, LOCKED),
        ):
            with pytest.raises((NetworkError, ResolutionError), match="401") as caught:
                ask()
            assert "UV_INDEX_NAME_USERNAME" in caught.value.hint


def test_the_authority_that_pip_trusts_is_trusted_for_files(home, tmp_path, monkeypatch, wheels):
    root = authority()
    path, _ = root.write(tmp_path, "root")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server_certificate(root).write(tmp_path, "server"))
    for name in ("SSL_CERT_FILE", "PIP_CERT", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    other, _ = authority().write(tmp_path, "other")  # which others trust, does not come before
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    (home / ".config/pip/pip.conf").write_text(f"[global]\ncert = {path}\n")
    with scripted(Packages(wheels=wheels).respond, tls=context) as server:
        index = Index(url=f"https://{server.host}/simple")
        (wheel,) = resolve_python(["app==1.0"], indexes=indexes(), target=TARGET, index=index)
        assert fetch(f"https://{server.host}/files/{wheel.filename}", wheel)


def test_no_index_asks_none(monkeypatch, tmp_path, wheels):
    for name, content in wheels.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with scripted(Packages(wheels=wheels).respond) as server:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://{server.host}/simple")
        found = resolve_python(["app"], indexes=indexes(), target=TARGET, index=Index())
        assert versions(found) == {
            "app": "1.2", "lib": "1.1"
        }  # fmt: skip
        assert server.seen == []


def test_a_variable_for_versions_does_not_change_a_lock(monkeypatch, tmp_path, wheels):
    (tmp_path / "constraints.txt").write_text("app<1.2\n")
    monkeypatch.setenv("UV_CONSTRAINT", str(tmp_path / "constraints.txt"))
    monkeypatch.setenv("UV_RESOLUTION", "lowest")
    with scripted(Packages(wheels=wheels).respond) as server:
        assert versions(resolve(server, "app")) == {"app": "1.2", "lib": "1.1"}


# -- what an index offers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "version"),
    [("2025-06-29", "1.1"), ("2025-06-29T23:00:00Z", "1.0"), ("2025-07-01T00:00:00Z", "1.2")],
)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_a_date_hides_what_is_newer_in_every_time_zone(monkeypatch, dated, moment, version, zone):
    monkeypatch.setenv("TZ", zone)
    with scripted(dated.respond) as server:
        found = resolve(server, "app", "lib<1.1" if version == "1.0" else "lib",
                        exclude_newer=moment)  # fmt: skip
    assert versions(found)["app"] == version


def test_a_mirror_without_dates_has_the_locked_file(dated, wheels):
    with scripted(dated.respond) as server:
        locked = resolve(server, "app", exclude_newer="2025-06-29")
    with scripted(Packages(wheels=wheels).respond) as mirror:
        index = Index(url=f"http://{mirror.host}/simple", exclude_newer="2025-06-29")
        found = locate_wheels(locked, indexes=indexes(), target=TARGET, index=index)
    assert found == {wheel: f"http://{mirror.host}/files/{wheel.filename}" for wheel in locked}


def test_a_file_of_another_hash_is_not_the_locked_one(wheels):
    with scripted(Packages(wheels=wheels).respond) as server:
        (locked,) = resolve(server, "app==1.0")
        wheels[locked.filename] += b"\0"
        index = Index(url=f"http://{server.host}/simple")
        with pytest.raises(ResolutionError, match=locked.filename):
            locate_wheels([locked], indexes=indexes(), target=TARGET, index=index)


def test_an_unknown_name_is_a_matter_of_names(wheels):
    with (
        scripted(Packages(wheels=wheels).respond) as server,
        pytest.raises(ResolutionError, match="apq was not found") as caught,
    ):
        resolve(server, "apq")
    assert "check the name" in caught.value.hint


def test_held_versions_stay_until_something_forces_them(wheels):
    held = {"app": "1.1", "lib": "1.0", "gone": "3"}
    with scripted(Packages(wheels=wheels).respond) as server:
        assert versions(resolve(server, "app", held={"app": "1.0"})) == {"app": "1.0"}
        # app 1.1 needs another lib than is held: lib gives way, app does not.
        assert versions(resolve(server, "app==1.1", "lib", held=held)) == {
            "app": "1.1", "lib": "1.1"
        }  # fmt: skip
        with pytest.raises(ResolutionError):
            resolve(server, "app==9", held=held)


# -- how files come -------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch):
    """Let downloads try three times, without much of a pause."""
    settings = Settings(backoff=0.01, attempts=3)
    monkeypatch.setattr(Settings, "from_environment", lambda _: settings)


def as_locked(name: str, data: bytes) -> Wheel:
    size, sha256 = len(data), Digest.of(data)
    return Wheel(name="app", version="1.0", filename=name, size=size, sha256=sha256)


NAME = "app-1.0-py3-none-any.whl"
DATA = noise(100_000)
LOCKED = as_locked(NAME, DATA)


def half(call, _, data):
    """Promise all, send half, and break off."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n"
    call.raw(head.encode() + data[: len(data) // 2])


def rest(call, request, data):
    """Send what a range asks for, and only half without one."""
    if (asked := request.headers.get("Range")) is None:
        half(call, request, data)
        return
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    place = f"bytes {start}-{len(data) - 1}/{len(data)}"
    call.answer(206, data[start:], Content_Range=place)


@pytest.mark.usefixtures("impatient")
def test_a_file_that_breaks_off_goes_on_where_it_was():
    with scripted(Packages(wheels={NAME: DATA}, send=rest).respond) as server:
        assert fetch(f"http://{server.host}/files/{NAME}", LOCKED) == DATA
        assert [request.headers.get("Range") for request in server.seen] == [
            None, f"bytes={len(DATA) // 2}-"
        ]  # fmt: skip


@pytest.mark.usefixtures("impatient")
def test_a_server_without_ranges_sends_it_again_and_nothing_comes_twice():
    def send(call, request, data):
        whole = len(server.seen) > 1
        call.answer(200, data) if whole else half(call, request, data)

    with scripted(Packages(wheels={NAME: DATA}, send=send).respond) as server:
        assert fetch(f"http://{server.host}/files/{NAME}", LOCKED) == DATA


@pytest.mark.usefixtures("impatient")
def test_a_file_that_always_breaks_off_is_given_up():
    with scripted(Packages(wheels={NAME: DATA}, send=half).respond) as server:
        with pytest.raises(NetworkError, match="broke off"):
            fetch(f"http://{server.host}/files/{NAME}", LOCKED)
        assert len(server.seen) == 3


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("sent", [DATA[:-1], DATA + b"x", DATA[:-1] + b"x"])
def test_other_bytes_than_the_locked_ones_are_refused(sent):
    with (
        scripted(Packages(wheels={NAME: sent}).respond) as server,
        pytest.raises(NetworkError, match="is not the locked file: expected 100,000 bytes"),
    ):
        fetch(f"http://{server.host}/files/{NAME}", LOCKED)


def test_a_file_of_this_machine_that_is_gone_is_named(tmp_path):
    url = (tmp_path / NAME).as_uri()
    for read in (
        lambda: fetch(url, LOCKED),
        lambda: indexes().size_of(url),
        lambda: indexes().read_range(url, 0, 1),
    ):
        with pytest.raises(NetworkError, match=f"cannot read .*{NAME}"):
            read()


def supply(tmp_path, wheels, host):
    urls = {wheel: f"http://{host}/files/{wheel.filename}" for wheel in wheels}
    return WheelSupply(context=context(Store(tmp_path / "store")), urls=urls)


def many(count):
    files = {f"app-{n}-py3-none-any.whl": noise(10_000, seed=n) for n in range(count)}
    return files, [as_locked(name, data) for name, data in files.items()]


def test_all_wheels_come_and_none_twice(tmp_path):
    files, wheels = many(9)
    with scripted(Packages(wheels=files).respond) as server:
        bringing = supply(tmp_path, wheels, server.host)
        bringing.bring_all(wheels)
        bringing.bring_all(wheels)
        assert len(server.seen) == len(wheels)
    assert all(bringing.context.store.has(wheel.sha256) for wheel in wheels)


def test_the_first_failure_stops_the_others(tmp_path):
    """The first wheel would come for ten seconds more, and be wrong as well."""
    files, (slow, wrong) = many(2)
    slow = replace(slow, size=1 << 20)
    files[wrong.filename] = b"of another hash"

    def send(call, request, data):
        if request.path.endswith(wrong.filename):
            call.answer(200, data)
            return
        call.raw(f"HTTP/1.1 200 OK\r\nContent-Length: {slow.size}\r\n\r\n".encode())
        for _ in range(1 << 10):
            call.wfile.write(bytes(1 << 10))
            time.sleep(0.01)

    with scripted(Packages(wheels=files, send=send).respond) as server:
        bringing = supply(tmp_path, [slow, wrong], server.host)
        with pytest.raises(NetworkError, match=f"{wrong.filename} is not the locked file"):
            bringing.bring_all([slow, wrong])
    assert not list((bringing.context.store.root / "tmp").iterdir())


def test_a_wheel_that_was_pruned_meanwhile_is_named(tmp_path):
    bringing = supply(tmp_path, [], "127.0.0.1")
    with pytest.raises(NetworkError, match=f"{NAME} was in the store, and is gone"):
        bringing.bring(LOCKED, Event())
