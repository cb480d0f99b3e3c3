"""The user of an image: lines in the base's lists and a home; by script and by layer, the same."""

import os
import subprocess
from pathlib import Path

import pytest

from envbuilder.engines.account import with_account
from envbuilder.engines.foundation import Foundation
from envbuilder.layers.account import account_layer
from envbuilder.layers.below import Below, Owned, Told
from envbuilder.layers.untar import untar
from envbuilder.model.account import account_of, user_setting
from envbuilder.model.errors import BuildError, SpecError
from envbuilder.model.resources import TEMPLATES
from envbuilder.model.spec_file import load
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.integration.tiny_image import tiny_image
from tests.unit import locks

PASSWD = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www/:/usr/sbin/nologin\n"
GROUP = "root:x:0:\nwww:x:33:\nvideo:x:44:\n"
SHADOW = "root:*:19000:0:99999:7:::\n"
APP = {"name": "app", "uid": 1000}


def account(user: object):
    found = account_of(locks.lock({}, user=user).spec)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("user", "line", "setting"),
    [
        (APP, "app:x:1000:1000::/home/app:/bin/sh", "1000:1000"),
        ({**APP, "gid": 44, "home": "/srv"}, "app:x:1000:44::/srv:/bin/sh", "1000:44"),
        ("1000", "user1000:x:1000:1000::/home/user1000:/bin/sh", "1000"),
        ("1000:0", "user1000:x:1000:0::/home/user1000:/bin/sh", "1000:0"),
        (  # OpenShift gives numbers of ten digits
            "1000690000:2147483646",
            "user1000690000:x:1000690000:2147483646::/home/user1000690000:/bin/sh",
            "1000690000:2147483646",
        ),
    ],
)
def test_who_is_made(user, line, setting):
    assert account(user).passwd == line
    assert user_setting(locks.lock({}, user=user).spec) == setting


@pytest.mark.parametrize("user", [None, "root", "0", "0:0", "www", "www:video", "www:44"])
def test_whom_the_base_has_or_should_have(user):
    assert account_of(locks.lock({}, user=user).spec) is None


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("{name: app}", "'uid' is missing"),
        ("{name: App, uid: 1}", "a user's name"),
        ("{name: app, uid: 0}", ">= 1"),
        ("{name: app, uid: 1, home: srv}", "an absolute path"),
        ("{name: app, id: 1}", "did you mean uid?"),
        ("{name: root, uid: 5}", "root is user 0 of the base, and not 5"),
        ("{name: www-data, uid: 1000}", "www-data is user 33 of the base, and not 1000"),
        ("{name: app, uid: 65534}", "65534 is the user nobody of the base, and not app"),
        ("{name: app, uid: 1000, home: /opt/venv/app}", "no place for the home of app"),
        ("{name: app, uid: 1000, home: /root}", "home: /home/app"),
        ("{name: app, uid: 1000, home: /srv/../etc}", "not a plain path"),
        ('"1000:"', "'1000:' names nobody"),
        ('"app:video:44"', "names nobody"),
        ('"12345678901"', "names nobody"),
        ('"1000:12345678901"', "names nobody"),
        ('"2147483647"', "names nobody"),
        ('"1000:2147483647"', "names nobody"),
        ("{name: app, uid: 2147483647}", "<= 2147483646"),
        ("{name: app, uid: 1, gid: 2147483647}", "<= 2147483646"),
    ],
)
def test_a_user_that_cannot_be_meant(tmp_path, user, message):
    with pytest.raises(SpecError) as caught:
        load(spec_of(tmp_path, user))
    assert message in f"{caught.value.message} {caught.value.hint}"
    assert "x.yaml:" in caught.value.message


@pytest.mark.parametrize(
    ("user", "base"),
    [
        ("{name: www-data, uid: 33, home: /var/www}", "debian: trixie"),  # as Debian has it
        ("{name: www-data, uid: 82}", "image: alpine"),  # whose numbers are others
        ("{name: app, uid: 65534}", "image: alpine"),
        ("{name: app, uid: 1000, home: /rooted}", "ubuntu: noble"),
        ('"app:44"', "image: alpine"),
        ('""', "image: alpine"),
    ],
)
def test_a_user_that_some_base_can_have(tmp_path, user, base):
    load(spec_of(tmp_path, user, base))


def spec_of(folder: Path, user: str, base: str = "debian: trixie") -> Path:
    path = folder / "x.yaml"
    path.write_text(
        f'version: 1\nname: x\npython: "3.12"\nbase: {{{base}}}\npackages: {{}}\nuser: {user}\n'
    )
    return path


# -- the layer and the script -------------------------------------------------------------------


def base(folder: Path, *, passwd=PASSWD, group=GROUP, shadow: str | None = SHADOW, home=None):
    """Lay out a base's lists below ``folder``."""
    (folder / "etc").mkdir(parents=True)
    (folder / "home").mkdir()
    for name, text in (("passwd", passwd), ("group", group), ("shadow", shadow)):
        if text is not None:
            (folder / "etc" / name).write_text(text)
    if home is not None:
        (folder / home).mkdir(parents=True)


def places(folder: Path) -> Below:
    """Say of a folder what a scan of its layer would."""
    paths = [(path, path.relative_to(folder).as_posix(), path.stat()) for path in folder.rglob("*")]
    own = {
        name: Owned(mode=facts.st_mode & 0o7777, uid=facts.st_uid, gid=facts.st_gid)
        for _, name, facts in paths
    }
    return Below(
        folders={name: own[name] for path, name, _ in paths if path.is_dir()},
        files={
            name: Told(owned=own[name], text=path.read_bytes())
            for path, name, _ in paths
            if path.is_file()
        },
    )


def by_layer(user: object, folder: Path, store: Store) -> None:
    """Make the user in ``folder`` as the embedded engine does."""
    layer = account_layer(store, account(user), places(folder), title="user")
    if layer is None:
        return
    with untar(store.path(layer.digest), layer.media_type, layer.diff_id) as tar:
        for entry in tar.entries():
            path = folder / entry.info.name
            if entry.info.isdir():
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(b"".join(tar.content()))
            path.chmod(entry.info.mode)
            os.chown(path, entry.info.uid, entry.info.gid)


def by_script(user: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Make the user in ``folder`` as the rendered Dockerfile does, with its paths led there."""
    found = account(user)
    text = (TEMPLATES / "context" / "account.sh").read_text()
    text = text.replace("/etc/", f"{folder}/etc/").replace(
        '"$HOME_FOLDER"', f'"{folder}$HOME_FOLDER"'
    )
    given = {
        "NAME": found.name,
        "NUMBER": str(found.uid),
        "GROUP": str(found.gid),
        "HOME_FOLDER": found.home,
        "STRICT": "yes" if found.strict else "",
    }
    return subprocess.run(
        ["sh", "-c", text], env=os.environ | given, capture_output=True, text=True, check=False
    )


def shown(folder: Path) -> dict[str, tuple[object, ...]]:
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mode, path.stat().st_uid, path.stat().st_gid,
            path.read_bytes() if path.is_file() else None,
        )
        for path in folder.rglob("*")
    }  # fmt: skip


CASES = {
    "new": (APP, {}),
    "a group that is there": ({**APP, "gid": 44}, {}),
    "a number": ("1000", {}),
    "a number of ten digits": ("1000690000", {}),
    "a number that the base has": ("33", {}),
    "a number with root's group": ("1000:0", {}),
    "just as the base has it": (
        {"name": "www", "uid": 33, "gid": 33, "home": "/var/www"},
        {"home": "var/www"},
    ),
    "no shadow": (APP, {"shadow": None}),
    "no lists at all": (APP, {"passwd": None, "group": None, "shadow": None}),
    "no last line break": (APP, {"passwd": PASSWD.rstrip("\n"), "group": GROUP.rstrip("\n")}),
    "a home that is there": (APP, {"home": "home/app"}),
    "a home far down": ({**APP, "home": "/var/lib/app/home"}, {}),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user, as only root may")
@pytest.mark.parametrize("case", CASES)
def test_both_engines_make_the_same(case, tmp_path):
    user, given = CASES[case]
    one, other = tmp_path / "one", tmp_path / "other"
    base(one, **given)
    base(other, **given)
    by_layer(user, one, Store(tmp_path / "store"))
    done = by_script(user, other)
    assert done.returncode == 0, done.stderr
    assert shown(one) == shown(other)
    found = account(user)
    if case != "a number that the base has":
        home = one / found.home.lstrip("/")
        assert (home.stat().st_uid, home.stat().st_gid) == (found.uid, found.gid)
    lines = (one / "etc" / "passwd").read_text().splitlines()
    assert [line.split(":")[2] for line in lines].count(str(found.uid)) == 1


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"name": "www", "uid": 1000}, "a user www of uid 33"),
        ({"name": "app", "uid": 33}, "a user www of uid 33"),
        ({"name": "www", "uid": 33, "gid": 33}, "home /var/www/"),
        ({"name": "video", "uid": 1000}, "a group video of gid 44"),
    ],
)
def test_whoever_is_in_the_way_is_named(tmp_path, user, message):
    base(tmp_path / "base")
    with pytest.raises(BuildError, match=message):
        account_layer(Store(tmp_path), account(user), places(tmp_path / "base"), title="user")
    before = shown(tmp_path / "base")
    done = by_script(user, tmp_path / "base")
    assert (done.returncode, "in the way" in done.stderr) == (1, True)
    assert shown(tmp_path / "base") == before


def test_the_lists_keep_their_owner_and_mode(tmp_path):
    owned = Owned(mode=0o640, uid=0, gid=42)
    below = Below(
        folders={"etc": Owned(mode=0o755), "home": Owned(mode=0o711)},
        files={"etc/shadow": Told(owned=owned, text=SHADOW.encode())},
    )
    store = Store(tmp_path)
    layer = account_layer(store, account(APP), below, title="user")
    with untar(store.path(layer.digest), layer.media_type, layer.diff_id) as tar:
        found = {each.info.name.rstrip("/"): each.info for each in tar.entries()}
    shadow, home = found["etc/shadow"], found["home/app"]
    assert (shadow.mode, shadow.gid, home.uid) == (0o640, 42, 1000)
    assert found["home"].mode == 0o711


def test_a_user_on_a_real_stack_of_layers(tmp_path):
    store = Store(tmp_path)
    image = tiny_image(store)
    lock = locks.lock({}, user=APP | {"uid": 1001})
    made = with_account(context(store), lock, Foundation(layers=image.layers))
    assert made.layers[-1].title == "user app"
    assert with_account(context(store), lock, made).layers == made.layers, "once is enough"
    clash = locks.lock({}, user=APP)
    with pytest.raises(BuildError, match="a user builder of uid 1000"):
        with_account(context(store), clash, Foundation(layers=image.layers))
