"""A user as a layer: the base's lists with one more line, and a home of the user's own."""

from __future__ import annotations

from collections.abc import Mapping

from envbuilder.model.account import Account, missing_lines
from envbuilder.model.errors import BuildError
from envbuilder.model.image import Layer
from envbuilder.storage.store import Store

from .below import Below, Owned, Told
from .tar import parents
from .writer import layer_writer

_FOLDER = 0o755
_NOTHING = Told(owned=Owned(mode=0o644), text=b"")


def account_layer(store: Store, account: Account, places: Below, *, title: str) -> Layer | None:
    """Make the layer that lays ``account`` on ``places``; None if all of it is there already.

    Raises BuildError for a user or group of the base that is in the way.
    """
    lists, folders = _lists(account, places), _folders(account, places)
    if not lists and (not account.strict or not folders):
        return None
    with layer_writer(store) as out:
        above = {each for path in (*lists, *folders) for each in parents(path)}
        for path in sorted({each.rstrip("/") for each in above} - folders.keys()):
            here = places.folders.get(path, Owned(mode=_FOLDER))
            out.entry(f"{path}/", mode=here.mode, owner=(here.uid, here.gid))
        for path, folder in sorted(folders.items()):
            out.entry(f"{path}/", mode=folder.mode, owner=(folder.uid, folder.gid))
        for path, told in sorted(lists.items()):
            owner = (told.owned.uid, told.owned.gid)
            out.entry(path, mode=told.owned.mode, content=told.text, owner=owner)
        layer = out.finish()
    return Layer(digest=layer.digest, size=layer.size, diff_id=layer.diff_id, title=title)


def _lists(account: Account, places: Below) -> Mapping[str, Told]:
    """Return the texts that change, by their paths."""
    passwd, group, shadow = (places.find(f"etc/{name}") for name in ("passwd", "group", "shadow"))
    user, own_group = missing_lines(
        account, passwd=_text(passwd, "passwd"), group=_text(group, "group")
    )
    if user is None and not account.strict:  # whoever has the number will do
        return {}
    names = {entry.partition(b":")[0] for entry in (shadow.text if shadow else b"").splitlines()}
    has_shadow = shadow is not None and account.name.encode() not in names
    lines = {
        "passwd": (passwd, user),
        "group": (group, own_group),
        "shadow": (shadow, account.shadow if user is not None and has_shadow else None),
    }
    return {
        places.real(f"etc/{name}"): _with_line(told or _NOTHING, line)
        for name, (told, line) in lines.items()
        if line is not None
    }


def _text(told: Told | None, name: str) -> str:
    try:
        return (told.text if told is not None else b"").decode()
    except UnicodeDecodeError as error:
        raise BuildError(f"/etc/{name} of the base is not UTF-8") from error


def _with_line(told: Told, line: str) -> Told:
    before = told.text if not told.text or told.text.endswith(b"\n") else told.text + b"\n"
    return Told(owned=told.owned, text=before + line.encode() + b"\n")


def _folders(account: Account, places: Below) -> Mapping[str, Owned]:
    """Return the home, unless it is there and the user's, and what is missing above it."""
    home = places.real(account.home)
    found = places.folders.get(home)
    if found is not None and (found.uid, found.gid) == (account.uid, account.gid):
        return {}
    own = Owned(mode=_FOLDER if found is None else found.mode, uid=account.uid, gid=account.gid)
    return {home: own}
