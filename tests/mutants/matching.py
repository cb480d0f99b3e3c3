"""Which unit tests shall notice a mutation of a module: those named like it, and this table."""

from pathlib import Path

ROOMS = ("model", "layers", "smoke/judge", "evidence/verify")

_WHEELS = ("test_layers_wheel", "test_layers_hostile")
_JUDGE = ("test_smoke_judge*", "test_smoke_causes", "test_smoke_formats")
_VERIFY = ("test_verify*", "test_evidence_*", "test_workflow_diff")
_MORE = {
    "model/bytecode_plan": ("test_plan",),
    "model/errors": ("test_cli",),
    "model/image": ("test_registry_manifests", "test_layers_wheel"),
    "model/lock": ("test_lock_tools",),
    "model/package_checks": ("test_spec",),
    "model/progress": ("test_console",),
    "model/plan": ("test_lock_archives",),
    "model/seal": ("test_lock",),
    "model/pylock": ("test_lock", "test_lock_archives"),
    "model/requirements_file": ("test_spec",),
    "model/resources": ("test_samples", "test_smoke_families", "test_docs"),
    "model/package_spec": ("test_spec",),
    "model/image_spec": ("test_spec", "test_own_files"),
    "model/smoke_spec": ("test_spec", "test_smoke_served"),
    "model/spec_words": ("test_spec",),
    "model/spec_platforms": ("test_platforms",),
    "model/spec_file": ("test_spec", "test_samples", "test_cluster_order"),
    "model/spec_misfit": ("test_spec",),
    "model/yaml_text": ("test_deploy",),
    "model/yaml_document": ("test_spec", "test_yaml_edit"),
    "layers/account": ("test_account",),
    "layers/archive": ("test_standalone_python",),
    "layers/chunked_writer": ("test_layers_forms",),
    "layers/contents": ("test_layers_contents", "test_workflow_inspect", "test_layers_below"),
    "layers/deflate": ("test_layers_tar", "test_layers_unpack", *_WHEELS),
    "layers/frames": ("test_layers_forms",),
    "layers/install": _WHEELS,
    "layers/moved": ("test_layers_moved",),
    "layers/own_files": ("test_own_files",),
    "layers/packed": ("test_registry_open_image", "test_archive_members"),
    "layers/seekable": ("test_dependencies", "test_layers_wheel"),
    "layers/tar_split": ("test_layers_forms",),
    "layers/untar": ("test_layers_forms", "test_layers_contents", "test_layers_unpack"),
    "layers/wheel": _WHEELS,
    "layers/wheel_metadata": ("test_sbom", "test_dependencies"),
    "layers/wheel_reconstruction": _WHEELS,
    "layers/wheelfile": _WHEELS,
    "layers/worker": _WHEELS,
    "layers/writer": ("test_layers_files", *_WHEELS),
    "layers/zip_member": ("test_wheel_metadata", "test_bump_advisories"),
    "smoke/judge": _JUDGE,
    "smoke/judge/architecture": ("test_smoke_verdict",),
    "smoke/judge/served": ("test_smoke_served",),
    "smoke/judge/serving": ("test_smoke_engine_run",),
    "smoke/judge/verdict": ("test_smoke_verdict",),
    "evidence/verify": _VERIFY,
}


def modules(package: Path) -> list[Path]:
    """List the modules that are mutated, relative to ``package``."""
    found = (path for room in ROOMS for path in (package / room).rglob("*.py"))
    return sorted(path.relative_to(package) for path in found if path.stat().st_size)


def matching_tests(module: Path, unit: Path) -> tuple[str, ...]:
    """Name the test files under ``unit`` that a mutation of ``module`` runs; none if none fit."""
    name = module.with_suffix("")
    room = name.parent.name
    places = {"", f"{room}_", f"{name.parts[0]}_"}
    patterns = [f"test_{place}{name.name}*" for place in places]
    patterns += _MORE.get(name.as_posix(), ())
    if room not in {"model", "layers"}:  # rooms that are tested as one
        patterns += _MORE[name.parent.as_posix()]
    found = {path.name for pattern in patterns for path in unit.glob(f"{pattern}.py")}
    return tuple(sorted(found))
