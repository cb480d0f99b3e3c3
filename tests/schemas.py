"""The published schemas of what we write, from the packages of those who publish them."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from referencing import Registry, Resource
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

_FILES = resources.files("cyclonedx.schema._res")
_PROVENANCE, _TEST_RESULT = provenance_pb2.Provenance, test_result_pb2.TestResult


def check_cyclonedx(document: dict[str, Any]) -> None:
    """Hold ``document`` against CycloneDX's own schema for 1.6; raise ValidationError."""
    schemas = {path.name: _schema(path.name) for path in _FILES.iterdir() if _is_json(path.name)}
    registry = Registry().with_resources(
        [(name, Resource.from_contents(each)) for name, each in schemas.items()]
        + [(str(each["$id"]), Resource.from_contents(each)) for each in schemas.values()]
    )
    schema = schemas["bom-1.6.SNAPSHOT.schema.json"] | {"$id": "bom-1.6.SNAPSHOT.schema.json"}
    jsonschema.Draft7Validator(schema, registry=registry).validate(document)


def check_spdx(document: dict[str, Any], folder: Path) -> None:
    """Let SPDX's own tools read ``document`` (2.3) and find nothing wrong in it."""
    path = folder / "bill.spdx.json"
    path.write_text(json.dumps(document))
    complaints = validate_full_spdx_document(parse_file(str(path)))
    assert not complaints, [each.validation_message for each in complaints]


def check_provenance(predicate: dict[str, Any]) -> None:
    """Read ``predicate`` by the schema of SLSA provenance v1; raise ParseError."""
    json_format.ParseDict(predicate, _PROVENANCE())


def check_test_result(predicate: dict[str, Any]) -> None:
    """Read ``predicate`` by the schema of in-toto's test-result v0.1; raise ParseError.

    It has no field for the date and the whole report: readers leave out what they do not know.
    """
    json_format.ParseDict(predicate, _TEST_RESULT(), ignore_unknown_fields=True)


def _is_json(name: str) -> bool:
    return name.endswith(".schema.json")


def _schema(name: str) -> dict[str, Any]:
    return json.loads((_FILES / name).read_text("utf-8"))
