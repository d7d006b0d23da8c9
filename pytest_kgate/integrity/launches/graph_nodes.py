"""The kernels in a captured CUDA graph, as the driver lists its nodes.

A profiler gives the same names, but takes seconds to start the first time in a process.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch

from pytest_kgate.device.cuda import driver


class Unlisted(Exception):
    """This driver or this PyTorch can't list the nodes of a graph."""


def launched_by(graph: torch.cuda.CUDAGraph) -> dict[str, int]:
    """How often each kernel, memory copy and memset is in a graph that was captured with `keep_graph`.

    Kernels have their demangled names. Raises `Unlisted` where the nodes can't be listed.
    """
    with _listing():
        return dict(Counter(_name(kind, node) for kind, node in _work(graph.raw_cuda_graph())))


def kernels_in(graph: torch.cuda.CUDAGraph) -> list[tuple[bytes, Any, Any]]:
    """Each kernel of such a graph: its name as in the device code, its function, and the node's parameters.

    Raises `Unlisted` where the nodes can't be listed.
    """
    with _listing():
        return [_kernel(node) for kind, node in _work(graph.raw_cuda_graph()) if kind == _KERNEL]


_KERNEL = "kernel"


@contextlib.contextmanager
def _listing() -> Iterator[None]:
    try:
        yield
    except (AttributeError, RuntimeError, driver.DriverError) as error:  # PyTorch before 2.8, a driver before 12.3
        raise Unlisted(str(error)) from error


def _work(graph: Any) -> Iterator[tuple[str, Any]]:
    """Kernels, memory copies and memsets of a graph and its child graphs; other nodes compute nothing."""
    kinds = driver.bindings().CUgraphNodeType
    _, count = driver.call("cuGraphGetNodes", graph)
    nodes = driver.call("cuGraphGetNodes", graph, count)[0] if count else ()
    for node in nodes:
        kind = driver.call("cuGraphNodeGetType", node)
        if kind == kinds.CU_GRAPH_NODE_TYPE_KERNEL:
            yield _KERNEL, node
        elif kind == kinds.CU_GRAPH_NODE_TYPE_GRAPH:
            yield from _work(driver.call("cuGraphChildGraphNodeGetGraph", node))
        elif kind == kinds.CU_GRAPH_NODE_TYPE_CONDITIONAL:
            raise Unlisted("what it runs is decided when it runs")
        elif kind == kinds.CU_GRAPH_NODE_TYPE_MEMCPY:
            yield "Memcpy", node
        elif kind == kinds.CU_GRAPH_NODE_TYPE_MEMSET:
            yield "Memset", node


def _name(kind: str, node: Any) -> str:
    if kind != _KERNEL:
        return kind
    params = driver.call("cuGraphKernelNodeGetParams", node)
    by_function = int(params.func)
    name = driver.call("cuFuncGetName", params.func) if by_function else driver.call("cuKernelGetName", params.kern)
    return demangled(name or b"")


def _kernel(node: Any) -> tuple[bytes, Any, Any]:
    params = driver.call("cuGraphKernelNodeGetParams", node)
    if int(params.func):
        return driver.call("cuFuncGetName", params.func) or b"", params.func, params
    # A function of a library that is loaded into no context yet.
    name = driver.call("cuKernelGetName", params.kern) or b""
    return name, driver.call("cuKernelGetFunction", params.kern), params


@functools.cache  # one gate asks for the same few names again and again
def demangled(name: bytes) -> str:
    """A C++ symbol's demangled name; the symbol itself where it is not mangled, or libstdc++ is missing."""
    plain = name.decode(errors="replace")
    try:
        library = ctypes.CDLL("libstdc++.so.6")
        demangle = library.__cxa_demangle
        release = ctypes.CDLL(None).free
    except (OSError, AttributeError):
        return plain
    demangle.restype = ctypes.c_void_p
    release.argtypes = [ctypes.c_void_p]
    status = ctypes.c_int()
    text = demangle(name, None, None, ctypes.byref(status))
    if not text:
        return plain
    try:
        return ctypes.string_at(text).decode(errors="replace")
    finally:
        release(text)
