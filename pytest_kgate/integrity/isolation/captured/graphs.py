"""CUDA graphs of launches that another process has captured, one launch after the other."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Literal

from pytest_kgate.device.cuda import driver
from pytest_kgate.integrity.isolation.captured.launches import KernelLaunch
from pytest_kgate.integrity.isolation.captured.launches import NotRelaunchable

_PORTABLE_SHARED_BYTES = 48 * 1024
_PORTABLE_CLUSTER = 8
"""What every GPU takes without being told."""

_PARAMETER_ALIGNMENT = 64
"""That of a tensor map, the most that any parameter needs."""


def functions_in(images: Iterable[bytes]) -> dict[str, Any]:
    """Load device code, and return its kernels by name, None for a name that several images have.

    Raises `NotRelaunchable` where the driver does not take it.
    """
    found: dict[str, Any] = {}
    for image in images:
        try:
            library = driver.call("cuLibraryLoadData", image, [], [], 0, [], [], 0)
            count = driver.call("cuLibraryGetKernelCount", library)
            for kernel in driver.call("cuLibraryEnumerateKernels", count, library) if count else ():
                name = driver.call("cuKernelGetName", kernel).decode("ascii", "replace")
                found[name] = None if name in found else driver.call("cuKernelGetFunction", kernel)
        except driver.DriverError as error:
            raise NotRelaunchable(f"the driver does not take its device code ({error})") from None
    return found


class CallGraphs:
    """Makes graphs of calls, and prepares the kernels for them."""

    def __init__(self, functions: Mapping[str, Any], calls: Sequence[Sequence[KernelLaunch]]) -> None:
        """Raises `NotRelaunchable` where a kernel is not among these functions, or can't be launched so."""
        for call in calls:
            for launch in call:
                if launch.name not in functions:
                    raise NotRelaunchable(f"the kernel {launch.name} is not in its device code")
                if functions[launch.name] is None:
                    raise NotRelaunchable(f"several kernels in its device code are called {launch.name}")
        self._functions = functions
        self._calls = calls
        self._parameters = [[_Parameters(launch.parameters) for launch in call] for call in calls]
        for name in {launch.name for call in calls for launch in call}:
            self._allow(functions[name], [launch for call in calls for launch in call if launch.name == name])

    def instantiate(self, turns: Iterable[int]) -> Any:
        """An executable graph of these calls, each of whose kernels begins when the one before has ended."""
        graph = driver.call("cuGraphCreate", 0)
        try:
            last: list[Any] = []
            for turn in turns:
                for launch, parameters in zip(self._calls[turn], self._parameters[turn], strict=True):
                    last = [self._add(graph, last, launch, parameters)]
            return driver.call("cuGraphInstantiate", graph, 0)
        except driver.DriverError as error:
            raise NotRelaunchable(f"the driver does not take its launches ({error})") from None
        finally:
            driver.call("cuGraphDestroy", graph)

    def _add(self, graph: Any, after: list[Any], launch: KernelLaunch, parameters: _Parameters) -> Any:
        cuda = driver.bindings()
        node = cuda.CUDA_KERNEL_NODE_PARAMS()
        node.func = self._functions[launch.name]
        node.gridDimX, node.gridDimY, node.gridDimZ = launch.grid
        node.blockDimX, node.blockDimY, node.blockDimZ = launch.block
        node.sharedMemBytes = launch.shared_bytes
        node.kernelParams = parameters.address
        added = driver.call("cuGraphAddKernelNode", graph, after, len(after), node)
        if math.prod(launch.cluster) > 1:
            value = cuda.CUkernelNodeAttrValue()
            value.clusterDim.x, value.clusterDim.y, value.clusterDim.z = launch.cluster
            attribute = cuda.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
            driver.call("cuGraphKernelNodeSetAttribute", added, attribute, value)
        if launch.cooperative:
            value = cuda.CUkernelNodeAttrValue()
            value.cooperative = 1
            attribute = cuda.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_COOPERATIVE
            driver.call("cuGraphKernelNodeSetAttribute", added, attribute, value)
        return added

    def _allow(self, function: Any, launches: Sequence[KernelLaunch]) -> None:
        """Give a kernel the shared memory and clusters that it is launched with; check its parameters' sizes."""
        attributes = driver.bindings().CUfunction_attribute
        carveout = max(launch.carveout for launch in launches)
        shared = max(launch.shared_bytes for launch in launches)
        try:
            if shared > _PORTABLE_SHARED_BYTES // 2:  # static shared memory counts, too
                wanted = attributes.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                driver.call("cuFuncSetAttribute", function, wanted, shared)
            if max(math.prod(launch.cluster) for launch in launches) > _PORTABLE_CLUSTER:
                wanted = attributes.CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED
                driver.call("cuFuncSetAttribute", function, wanted, 1)
            if carveout >= 0:
                wanted = attributes.CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT
                driver.call("cuFuncSetAttribute", function, wanted, carveout)
        except driver.DriverError as error:
            raise NotRelaunchable(f"the driver does not take its launches ({error})") from None
        sizes = [size for _, size in parameter_places(function)]
        if any([len(value) for value in launch.parameters] != sizes for launch in launches):
            raise NotRelaunchable("a kernel's parameters have other sizes than its device code says")


def parameter_places(function: Any, kind: Literal["Func", "Kernel"] = "Func") -> list[tuple[int, int]]:
    """Offset and size of each parameter of a function, or of a library's kernel, in bytes.

    The driver copies that many from where it is told that the parameter lies.
    """
    places: list[tuple[int, int]] = []
    while True:
        try:
            places.append(driver.call(f"cu{kind}GetParamInfo", function, len(places)))
        except driver.DriverError:  # there is no further one
            return places


class _Parameters:
    """Values of a launch's parameters in memory, and where the driver finds their addresses."""

    def __init__(self, values: Sequence[bytes]) -> None:
        self._buffers = [(ctypes.c_ubyte * (len(value) + _PARAMETER_ALIGNMENT))() for value in values]
        starts = [ctypes.addressof(one) + -ctypes.addressof(one) % _PARAMETER_ALIGNMENT for one in self._buffers]
        for start, value in zip(starts, values, strict=True):
            ctypes.memmove(start, value, len(value))
        self._addresses = (ctypes.c_void_p * max(1, len(starts)))(*starts)
        self.address = ctypes.addressof(self._addresses)
