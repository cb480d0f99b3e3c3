"""What a source's code is given of this host, and what it left in the place of its answers."""

import os
from pathlib import Path

from envbuilder.resolve.git.hooks import Hook, _command, read_output
from envbuilder.resolve.git.project import Project
from envbuilder.resolve.git.sandbox import host_sandbox
from envbuilder.runtime.limits import most_memory
from envbuilder.storage.store import Store


def test_a_plain_file_of_sensible_length_is_read(tmp_path):
    (tmp_path / "result.json").write_text("{}")
    assert read_output(tmp_path, "result.json") == b"{}"
    os.truncate(tmp_path / "result.json", 1 << 40)
    assert read_output(tmp_path, "result.json") is None


def test_links_and_paths_that_lead_out_are_not_read(tmp_path):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "out" / "folder").symlink_to(tmp_path)
    for name in ("link", "folder/secret", "../secret", "", "none"):
        assert read_output(tmp_path / "out", name) is None


def test_a_source_sees_a_listed_few_of_this_host_and_writes_to_fewer(tmp_path):
    sandbox = host_sandbox("3.11", store=Store(tmp_path / "store"))
    project = Project(backend="x", backend_path=(), requires=())
    hook = Hook(name="examine", project=project, source=tmp_path, subdirectory=None, env={})
    command = _command(sandbox, hook, tmp_path, tmp_path / "log")
    seen = {mount.target: mount.read_only for mount in command.mounts}
    own = {"/build/source": False, "/build/output": False}
    parts = ("hook.py", "hook_watch.py", "hook_compilers.py")
    own |= {f"/build/{part}": True for part in parts}
    host = {target: read_only for target, read_only in seen.items() if target not in own}
    assert {target: seen[target] for target in own} == own
    assert all(host.values())
    python = Path(sandbox.interpreter).parents[1]
    listed = {"/usr", "/bin", "/lib", "/lib64", "/sbin", "/etc/ld.so.cache", str(python)}
    local = Path("/usr/local")
    for mount in command.mounts:  # hidden by an empty folder of ours; of it, the Python alone
        if mount.target == str(local):
            assert not any(path.is_file() for path in mount.source.rglob("*"))
        elif Path(mount.target).is_relative_to(local):
            assert python == local or Path(mount.target).is_relative_to(python)
    assert {target for target in host if not Path(target).is_relative_to(local)} <= listed
    assert (command.memory, command.log) == (most_memory(), tmp_path / "log")
