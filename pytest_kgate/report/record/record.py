"""What a record is. records.schema.json beside this file describes every field.

A record is the JSON-able account of one `kbench` call with all its gates; in memory it is a dict of built-in types.
"""

from __future__ import annotations

from typing import Any
from typing import TypeAlias

Record: TypeAlias = "dict[str, Any]"
