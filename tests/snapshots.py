"""A snapshot of a model as the hub's cache holds it: links into the blobs beside it."""

from pathlib import Path


def snapshot_at(cache: Path) -> Path:
    """Write a repository with one snapshot, a part of it included, to ``cache``; return it."""
    repository = cache / "models--Qwen--Small"
    snapshot = repository / "snapshots" / "abc12345"
    (snapshot / "onnx").mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "1").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/1")
    (snapshot / "onnx" / "config.json").symlink_to("../../../blobs/1")
    return snapshot
