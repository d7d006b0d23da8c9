"""Operators that modules register with PyTorch under names of the whole process, where two revisions can't both be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from typing import NoReturn

from pytest_kgate.errors import RevisionError


@contextlib.contextmanager
def none_defined_twice(title: str) -> Iterator[None]:
    """Raise `RevisionError` where a module defines a `torch.library.custom_op` that there is already.

    PyTorch would put the new one in the place of the old one, and today's kernel would call that of the other revision.
    What is registered by other functions of `torch.library` is refused by PyTorch itself.
    """
    try:
        from torch._library import custom_ops

        known: Any = custom_ops.OPDEF_TO_LIB
        before = custom_ops.get_library_allowing_overwrite
    except (ImportError, AttributeError):  # a PyTorch whose operators are kept in another place
        yield
        return

    def refused(namespace: str, name: str) -> Any:
        if f"{namespace}::{name}" in known:
            _refuse(f"{namespace}::{name}", title)
        return before(namespace, name)

    custom_ops.get_library_allowing_overwrite = refused
    try:
        yield
    finally:
        custom_ops.get_library_allowing_overwrite = before


def _refuse(name: str, title: str) -> NoReturn:
    raise RevisionError(
        f"the operator {name} is defined at {title}, too, and a process can have one of this name.",
        "Hand kbench the function that the operator calls.",
    )
