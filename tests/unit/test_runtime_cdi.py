"""CDI edits on a file as `nvidia-ctk cdi generate` writes it (shortened)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from envbuilder.model.errors import MissingToolError
from envbuilder.runtime.cdi import device_edits, nvidia_devices, with_devices
from envbuilder.runtime.command import Command
from envbuilder.runtime.oci_config import oci_config
from envbuilder.runtime.user import User

SPEC = """\
---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
containerEdits:
  env:
    - NVIDIA_VISIBLE_DEVICES=void
  deviceNodes:
    - path: /dev/nvidia-modeset
    - path: /dev/nvidia-uvm
    - path: /dev/nvidiactl
  hooks:
    - hookName: createContainer
      path: /usr/bin/nvidia-cdi-hook
      args:
        - nvidia-cdi-hook
        - create-symlinks
        - --link
        - libcuda.so.1::/usr/lib/x86_64-linux-gnu/libcuda.so
    - hookName: createContainer
      path: /usr/bin/nvidia-cdi-hook
      args: [nvidia-cdi-hook, update-ldcache, --folder, /usr/lib/x86_64-linux-gnu]
  mounts:
    - hostPath: /usr/bin/nvidia-smi
      containerPath: /usr/bin/nvidia-smi
      options: [ro, nosuid, nodev, bind]
    - hostPath: /run/nvidia-persistenced/socket
      containerPath: /run/nvidia-persistenced/socket
      options: [ro, nosuid, nodev, bind, noexec]
devices:
  - name: "0"
    containerEdits:
      deviceNodes:
        - path: /dev/nvidia0
        - path: /dev/dri/card1
          hostPath: /dev/dri/card9
  - name: "1"
    containerEdits:
      deviceNodes:
        - path: /dev/nvidia1
      additionalGids: [44]
  - name: all
    containerEdits:
      deviceNodes:
        - path: /dev/nvidia0
        - path: /dev/nvidia1
        - path: /dev/dri/card1
          hostPath: /dev/dri/card9
"""


def _config() -> dict[str, Any]:
    settings = {"Env": ["NVIDIA_VISIBLE_DEVICES=all", "COLOUR=red"]}
    command = Command(args=("nvidia-smi",))
    return oci_config(settings, command, user=User(), scratch=1 << 20, limits={})


def _edited(spec: str) -> dict[str, Any]:
    return with_devices(_config(), device_edits(yaml.safe_load(spec)))


def test_all_devices_are_bound_once_each() -> None:
    bound = [
        m for m in _edited(SPEC)["mounts"] if m["destination"].startswith(("/dev/n", "/dev/d"))
    ]
    assert [(mount["source"], mount["destination"]) for mount in bound] == [
        ("/dev/nvidia-modeset", "/dev/nvidia-modeset"),
        ("/dev/nvidia-uvm", "/dev/nvidia-uvm"),
        ("/dev/nvidiactl", "/dev/nvidiactl"),
        ("/dev/nvidia0", "/dev/nvidia0"),
        ("/dev/nvidia1", "/dev/nvidia1"),
        ("/dev/dri/card9", "/dev/dri/card1"),
    ]
    assert all("nodev" not in mount["options"] for mount in bound)


def test_without_a_device_called_all_every_device_is_taken() -> None:
    spec = yaml.safe_load(SPEC)
    del spec["devices"][2]
    edited = with_devices(_config(), device_edits(spec))
    assert {"/dev/nvidia0", "/dev/nvidia1"} <= {m["destination"] for m in edited["mounts"]}
    assert edited["process"]["user"]["additionalGids"] == [44]


def test_hooks_and_mounts_are_kept_as_they_are() -> None:
    edited = _edited(SPEC)
    hooks = edited["hooks"]["createContainer"]
    assert [hook["args"][1] for hook in hooks] == ["create-symlinks", "update-ldcache"]
    assert all("hookName" not in hook for hook in hooks)
    assert {
        "source": "/usr/bin/nvidia-smi",
        "destination": "/usr/bin/nvidia-smi",
        "type": "bind",
        "options": ["ro", "nosuid", "nodev", "bind"],
    } in edited["mounts"]


def test_variables_replace_those_of_the_image() -> None:
    env = _edited(SPEC)["process"]["env"]
    assert [entry for entry in env if entry.startswith("NVIDIA")] == ["NVIDIA_VISIBLE_DEVICES=void"]
    assert "COLOUR=red" in env


def test_the_configuration_passed_in_stays_as_it_was() -> None:
    config = _config()
    with_devices(config, device_edits(yaml.safe_load(SPEC)))
    assert config == _config()


def test_later_directories_come_first(tmp_path: Path) -> None:
    low, high = tmp_path / "etc", tmp_path / "run"
    for directory, device in ((low, "nvidia0"), (high, "nvidia7")):
        directory.mkdir()
        (directory / "nvidia.yaml").write_text(SPEC.replace("/dev/nvidia0", f"/dev/{device}"))
    (high / "another.json").write_text('{"kind": "vendor.com/net", "devices": []}')
    _, all_gpus = nvidia_devices((low, high))
    assert all_gpus["deviceNodes"][0] == {"path": "/dev/nvidia7"}


def test_no_file_and_bad_files_say_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MissingToolError, match="no CDI file") as caught:
        nvidia_devices((tmp_path, tmp_path / "nonesuch"))
    assert "nvidia-ctk cdi generate" in caught.value.hint
    for text in ("{", "[]"):
        (tmp_path / "nvidia.json").write_text(text)
        with pytest.raises(MissingToolError, match=r"nvidia\.json"):
            nvidia_devices((tmp_path,))
