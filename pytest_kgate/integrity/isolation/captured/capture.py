"""What one call of the candidate launches, read from a CUDA graph; runs in the candidate's own process."""

from __future__ import annotations

import ctypes
import functools
import json
from collections.abc import Callable
from collections.abc import Iterator
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal

from pytest_kgate.device.cuda import driver
from pytest_kgate.device.cuda.timers.capture import Captures
from pytest_kgate.integrity.isolation.captured.graphs import parameter_places
from pytest_kgate.integrity.isolation.captured.launches import MOST_KERNELS
from pytest_kgate.integrity.isolation.captured.launches import KernelLaunch
from pytest_kgate.integrity.isolation.captured.launches import NotRelaunchable

if TYPE_CHECKING:
    from pytest_kgate.device.cuda.context import CudaContext

_MOST_BYTES = 60_000
"""Of what a call launches, in JSON."""


def recorded(device: CudaContext, call: Callable[[int], Any], calls: int, pool: Any) -> list[list[dict[str, Any]]]:
    """The launches of `call(0)`, `call(1)` and so on, each captured alone; the device's stream must be current.

    What they allocate comes from the memory pool of this identifier.

    Raises `NotRelaunchable` where a call can't be captured, or does what is no launch of a kernel.
    """
    captures = Captures(device, pool)
    refusal = captures.refusal(call)
    if refusal is not None:
        raise NotRelaunchable(f"it can't be captured in a CUDA graph ({refusal})")
    found = []
    for turn in range(calls):
        try:
            graph, _ = captures.capture(functools.partial(_one_call, call, turn), 1, to_read=True)
            found.append([one.to_dict() for one in _launches(graph.raw_cuda_graph())])
            if len(json.dumps(found[-1])) > _MOST_BYTES:
                raise NotRelaunchable("the parameters of a call's kernels take more than a message holds")
        except (TypeError, AttributeError):
            raise NotRelaunchable("this PyTorch can't list a graph's nodes: it takes 2.8") from None
        except driver.DriverError as error:
            raise NotRelaunchable(f"this driver can't list a graph's nodes ({error})") from None
    captures.close()
    return found


def _one_call(call: Callable[[int], Any], turn: int, _: int) -> Any:
    return call(turn)


def _launches(graph: Any) -> Iterator[KernelLaunch]:
    kinds = driver.bindings().CUgraphNodeType
    _, count = driver.call("cuGraphGetNodes", graph)
    if count > MOST_KERNELS:
        raise NotRelaunchable(f"a call launches more than {MOST_KERNELS} kernels")
    for node in driver.call("cuGraphGetNodes", graph, count)[0] if count else ():
        kind = driver.call("cuGraphNodeGetType", node)
        if kind != kinds.CU_GRAPH_NODE_TYPE_KERNEL:
            name = kind.name.removeprefix("CU_GRAPH_NODE_TYPE_").lower()
            raise NotRelaunchable(f"a call has a node of the kind {name} beside its kernels")
        yield _launch(node)


def _launch(node: Any) -> KernelLaunch:
    params = driver.call("cuGraphKernelNodeGetParams", node)
    # A function of a library that is loaded into no context yet, or one of this context.
    kind: Literal["Func", "Kernel"] = "Kernel" if int(params.kern) else "Func"
    handle = params.kern if kind == "Kernel" else params.func
    name = driver.call(f"cu{kind}GetName", handle)
    places = parameter_places(handle, kind)
    if params.kernelParams:
        addresses = ctypes.cast(params.kernelParams, ctypes.POINTER(ctypes.c_void_p))
        parameters = [ctypes.string_at(addresses[at], size) for at, (_, size) in enumerate(places)]
    else:
        whole = _as_one_piece(int(params.extra))
        parameters = [whole[offset : offset + size] for offset, size in places]
    function = driver.call("cuKernelGetFunction", handle) if kind == "Kernel" else handle
    carveout = driver.bindings().CUfunction_attribute.CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT
    cluster = _attribute(node, "CLUSTER_DIMENSION")
    dimensions = (cluster.clusterDim.x, cluster.clusterDim.y, cluster.clusterDim.z) if cluster else (1, 1, 1)
    cooperative = _attribute(node, "COOPERATIVE")
    return KernelLaunch(
        name=name.decode("ascii", "replace"),
        grid=(params.gridDimX, params.gridDimY, params.gridDimZ),
        block=(params.blockDimX, params.blockDimY, params.blockDimZ),
        shared_bytes=params.sharedMemBytes,
        parameters=tuple(parameters),
        cluster=(max(1, dimensions[0]), max(1, dimensions[1]), max(1, dimensions[2])),
        cooperative=bool(cooperative and cooperative.cooperative),
        carveout=int(driver.call("cuFuncGetAttribute", carveout, function)),
    )


def _as_one_piece(extra: int) -> bytes:
    """All parameters of a kernel that was given them so, as libraries do; empty where there are none."""
    if not extra:
        return b""
    entries = ctypes.cast(extra, ctypes.POINTER(ctypes.c_size_t))
    found = {entries[at]: entries[at + 1] for at in (0, 2)}
    size = ctypes.c_size_t.from_address(found[driver.bindings().CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT])
    return ctypes.string_at(found[driver.bindings().CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT], size.value)


def _attribute(node: Any, name: str) -> Any:
    ids = driver.bindings().CUlaunchAttributeID
    try:
        return driver.call("cuGraphKernelNodeGetAttribute", node, getattr(ids, f"CU_LAUNCH_ATTRIBUTE_{name}"))
    except driver.DriverError:
        return None
