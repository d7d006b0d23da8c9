"""The names of dtypes, which problems are written with and records hold; without importing torch."""

from __future__ import annotations


def is_dtype(value: object) -> bool:
    """Whether it is one of torch's dtypes, told without importing torch: none is there before that."""
    return type(value).__module__ == "torch" and type(value).__name__ == "dtype"


def dtype_name(dtype: object) -> str:
    """The dtype's name: `float16`."""
    return str(dtype).removeprefix("torch.")
