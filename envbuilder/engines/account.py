"""The spec's user, for both engines: a layer on the base, or the input of a script."""

from __future__ import annotations

from dataclasses import replace

from envbuilder.layers.account import account_layer
from envbuilder.model.account import account_of
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import Lock
from envbuilder.resolve.context import Context

from .foundation import Foundation
from .own_files import look_at


def with_account(context: Context, lock: Lock, below: Foundation) -> Foundation:
    """Lay the user of the spec on ``below``, if it asks for one that is not there.

    Raises BuildError if another user of the base is in the way, and what fetching a base raises.
    """
    account = account_of(lock.spec)
    if account is None:
        return below
    places = look_at(context, lock, below)
    layer = account_layer(context.store, account, places, title=f"user {account.name}")
    if layer is None:
        return below
    made = replace(layer, kind=LayerKind.ACCOUNT, inputs=(account.passwd,))
    return replace(below, layers=(*below.layers, made))
