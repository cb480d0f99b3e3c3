"""Many at once on one store, and two users on it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

from tests.siege.attacks.kills import COLD
from tests.siege.field import Attack, Field, only_root
from tests.siege.testbed import NAME, ROOT

USER = 12345
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")


def crowd(field: Field) -> None:
    """Sixteen builds on one store, cold or warm, with prunes among them."""
    judge, random = field.judge, field.random
    for name in COLD:
        if random.random() < 0.3:
            shutil.rmtree(field.checkout.store / name, ignore_errors=True)
    build = ("build", NAME, "--locked", "--no-smoke", "-o", "json")
    others = (("cache", "prune"), ("cache", "prune", "--all"), ("cache", "ls"))
    wanted = [build] * 16 + [random.choice(others) for _ in range(4)]
    random.shuffle(wanted)
    running = [(arguments, judge.start(*arguments)) for arguments in wanted]
    for arguments, each in running:
        outcome = judge.finish(each, arguments)
        if outcome.code:
            judge.tally.fault("recovery", f"{arguments}: {outcome.code}: {outcome.stderr}")
        elif arguments == build and json.loads(outcome.stdout)["image"] != judge.expected:
            judge.tally.fault("change", outcome.stdout)
    judge.settle()


def two_users(field: Field) -> None:
    """Root and the checkout's owner, in turns or at once, on one store."""
    judge, random = field.judge, field.random
    _hand_over(field.checkout.folder)
    commands = (
        ("build", NAME, "--no-smoke", "--output-image", "oci:out"),
        ("build", NAME, "--no-smoke"),
        ("cache", "verify"),
        ("cache", "prune"),
        ("fetch", NAME),
        ("lock", NAME, "--upgrade"),
        ("history", NAME),
    )
    pair = [
        (arguments, judge.start(*arguments, prefix=random.choice(((), AS_USER))))
        for arguments in random.choices(commands, k=2)
    ]
    for arguments, each in pair:
        outcome = judge.finish(each, arguments)
        if outcome.code:
            judge.tally.fault("recovery", f"{arguments}: {outcome.code}: {outcome.stderr}")
    last = judge.run("build", NAME, "--no-smoke", "--locked", prefix=AS_USER)
    if last.code:
        judge.tally.fault("recovery", f"the owner is locked out: {last.stderr}")
    for path in field.checkout.folder.rglob("*"):
        if path.lstat().st_uid != USER and not {"trees-0", "trees-0-aside"} & set(path.parts):
            judge.tally.fault("leftover", f"root's {path}")
            break
    judge.leftovers()


def _hand_over(folder: Path) -> None:
    """Make all of a checkout the user's; what root has unpacked there is no longer what it was."""
    for trees in folder.glob("*/trees*"):
        shutil.rmtree(trees)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)


def no_second_user() -> str:
    if missing := only_root():
        return missing
    start = shlex.join([*AS_USER, "sh", "-c", f"{shlex.quote(sys.executable)} -c 'import click'"])
    reached = os.system(f"{start} 2>/dev/null")  # by a shell, which has none of root's powers left
    readable = os.system(f"{' '.join(AS_USER)} test -r {ROOT}/envbuilder/__main__.py")
    return "another user cannot reach this Python" if reached or readable else ""


ATTACKS = (
    Attack(name="16 builds with prunes", run=crowd, share=0),
    Attack(name="two users", run=two_users, share=0, missing=no_second_user),
)
