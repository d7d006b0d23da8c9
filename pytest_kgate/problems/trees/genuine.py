"""Whether an object is what its class says: a tensor or a library's array, with none of its functions hidden.

Any object of Python that takes attributes of its own may have one in place of a function of its class: a plain tensor
whose `is_conj` is a candidate's computes when it is asked, and one whose `double` is another has what is exact go by
that.
"""

from __future__ import annotations

import sys

from pytest_kgate.errors import CandidateError
from pytest_kgate.problems.trees.instead import indefinite
from pytest_kgate.system.provenance.installed import is_installed_class

_ARRAYS = frozenset({"numpy", "cupy", "jax", "jaxlib", "warp", "tensorflow", "mlx", "paddle", "dpctl", "numba"})
"""Libraries whose arrays hold values already, or finish them in the stream, when DLPack asks for them."""

_HANDS_OUT = ("__dlpack__", "block_until_ready", "__cuda_array_interface__")
"""How their values are had: by the library's own code. Anyone can make a module of its name, or patch its class."""


def demand_known_array(result: object) -> None:
    """Raise `CandidateError` for an answer that is no array of a library known here, or not as its class has it."""
    kind = type(result)
    home = sys.modules.get(kind.__module__)
    genuine = home is not None and getattr(home, kind.__name__, None) is kind
    if kind.__module__.partition(".")[0] not in _ARRAYS or not genuine or not is_installed_class(kind, _HANDS_OUT):
        raise CandidateError(
            f"The candidate returned a {kind.__name__}, whose __dlpack__ may compute when it is read.",
            "Return a torch tensor, or an array of a library such as CuPy or JAX.",
        )
    demand_nothing_hidden(result)


def demand_nothing_hidden(result: object) -> None:
    """Raise `CandidateError` for an answer of a known class with something of its own in place of its class's."""
    names = hidden(result)
    if names:
        raise CandidateError(
            f"The candidate returned {indefinite(type(result).__name__)} with {indefinite(names[0])} of its own, which "
            "may compute when it is read.",
            "Return it without attributes that are called like something of its class.",
        )


def hidden(one: object) -> tuple[str, ...]:
    """Names under which an object of a known class has something of its own in place of what its class has."""
    own = getattr(one, "__dict__", None)
    return tuple(sorted(name for name in own if hasattr(type(one), name))) if own else ()
