"""The kernels in a captured graph by their names, as the CUDA driver lists them.

A profiler would say the same, and takes seconds to start where a process asks for the first time.
"""

from __future__ import annotations

import ctypes
import functools
from collections import Counter
from collections.abc import Iterator

import torch

from pytest_kgate.device.cuda import driver

_KERNEL, _GRAPH, _CONDITIONAL = 0, 4, 13
_OTHERS = {1: "Memcpy", 2: "Memset"}
"""Of CUgraphNodeType in cuda.h. What else a graph may hold computes nothing."""

_KERNEL_AT = 56
"""Bytes before `kern` in CUDA_KERNEL_NODE_PARAMS_v2; `func` comes first. It has 72 in all."""


class Unlisted(Exception):
    """This driver, or this PyTorch, does not list the nodes of a graph."""


def launched_by(graph: torch.cuda.CUDAGraph) -> dict[str, int]:
    """How often each kernel, memory copy or setting is in a graph that was captured with `keep_graph`.

    Kernels are called as in C++. Raises `Unlisted`.
    """
    try:
        pointer = ctypes.c_void_p(graph.raw_cuda_graph())
        return dict(Counter(_names(pointer)))
    except (AttributeError, RuntimeError, driver.DriverError) as error:  # PyTorch before 2.8, a driver before 12.3
        raise Unlisted(str(error)) from error


def _names(graph: ctypes.c_void_p) -> Iterator[str]:
    count = ctypes.c_size_t()
    driver.call("cuGraphGetNodes", graph, None, ctypes.byref(count))
    nodes = (ctypes.c_void_p * count.value)()
    if nodes:
        driver.call("cuGraphGetNodes", graph, nodes, ctypes.byref(count))
    for node in map(ctypes.c_void_p, nodes):
        kind = ctypes.c_int()
        driver.call("cuGraphNodeGetType", node, ctypes.byref(kind))
        if kind.value == _KERNEL:
            yield _kernel_name(node)
        elif kind.value == _GRAPH:
            inner = ctypes.c_void_p()
            driver.call("cuGraphChildGraphNodeGetGraph", node, ctypes.byref(inner))
            yield from _names(inner)
        elif kind.value == _CONDITIONAL:
            raise Unlisted("what it runs is decided when it runs")
        elif kind.value in _OTHERS:
            yield _OTHERS[kind.value]


def _kernel_name(node: ctypes.c_void_p) -> str:
    params = (ctypes.c_uint64 * 32)()  # longer than any version of the struct
    driver.call("cuGraphKernelNodeGetParams_v2", node, params)
    function, kernel = params[0], params[_KERNEL_AT // 8]
    name = ctypes.c_char_p()
    if function:
        driver.call("cuFuncGetName", ctypes.byref(name), ctypes.c_void_p(function))
    else:
        driver.call("cuKernelGetName", ctypes.byref(name), ctypes.c_void_p(kernel))
    return demangled(name.value or b"")


@functools.cache  # one gate asks for the same few names again and again
def demangled(name: bytes) -> str:
    """A symbol as it is written in C++; as it is where it was never mangled, or nothing here can tell."""
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
