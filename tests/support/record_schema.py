"""Files of records, held to the schema that the package publishes."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.report.record import record

if TYPE_CHECKING:
    import jsonschema


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a file of records."""
    schema: dict[str, Any] = json.loads(Path(record.__file__).with_name("records.schema.json").read_text("utf-8"))
    return schema


def demand_valid(content: Any) -> None:
    """Raise `jsonschema.ValidationError` where a file's content does not fit."""
    _validator().validate(content)


@functools.cache
def _validator() -> jsonschema.Draft202012Validator:
    """Made once; to check the schema itself would take sixty times as long as to check by it; `tests/report` does."""
    import jsonschema  # not ahead of the tests that do without it, on machines that have none

    return jsonschema.Draft202012Validator(json_schema())
