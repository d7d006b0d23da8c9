"""What the kernels that a call launches on a GPU take: attributes of the functions in a captured graph of the call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import torch

from pytest_kgate.bench.correctness.problem_calls import workload_of
from pytest_kgate.build.compiler import ptxas
from pytest_kgate.device.arm import CALL_CONVENTION
from pytest_kgate.device.arm import bind
from pytest_kgate.device.arm import blame
from pytest_kgate.device.arm import prepare
from pytest_kgate.device.cuda import driver
from pytest_kgate.device.cuda.timers.capture import Captures
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import KgateError
from pytest_kgate.integrity.launches.graph_nodes import Unlisted
from pytest_kgate.integrity.launches.graph_nodes import kernels_in
from pytest_kgate.problems.trees import tree
from pytest_kgate.profile.resources.kernel_use import KernelUse
from pytest_kgate.profile.under_tool.launch_only import unwritten

if TYPE_CHECKING:
    from pytest_kgate.device.cuda.device import CudaDevice
    from pytest_kgate.problems.problem import Problem

_SEED = 1


def launched(device: CudaDevice, candidate: Callable[..., Any], problem: Problem) -> list[KernelUse] | str:
    """What each kernel takes that one call of the candidate launches; where it can't be seen, one clause that says why.

    Spills are known of those alone that use no local memory.
    """
    arm = bind("candidate", problem.called(candidate), problem.params, problem.mutates)

    def call(turn: int) -> Any:
        with blame("the candidate", CALL_CONVENTION, skips=True):
            return arm.call(inputs, output)

    try:
        with device.running("looking at what the candidate launches"):
            inputs = workload_of(problem, device).draw(_SEED)
            output = _output(problem, inputs, device) if arm.takes_output else None
            try:
                prepare([arm], [inputs])
                call(0)  # loads modules and compiles, which a capture must not
                device.wait()
                return _captured(device, call)
            finally:
                prepare([arm], [])
    except KgateError as error:
        return f"a further call of it failed ({error.what.rstrip('.')})"


def _output(problem: Problem, inputs: tuple[Any, ...], device: CudaDevice) -> Any:
    return tree.mapped(unwritten(problem, inputs), lambda one: torch.empty_like(one, device=device.torch_device))


def _captured(device: CudaDevice, call: Callable[[int], Any]) -> list[KernelUse] | str:
    captures = Captures(device)
    try:
        graph, _ = captures.capture(call, 1, to_read=True)
        found = [use_of(*kernel) for kernel in kernels_in(graph)]
        graph.reset()
    except (Unlisted, TypeError) as error:
        return f"this PyTorch or driver can't list what a graph launches ({error})"
    except (RuntimeError, CandidateError) as error:
        captures.recover()
        return f"it can't be captured in a CUDA graph ({str(error).splitlines()[0].rstrip('.')})"
    except driver.DriverError as error:
        return f"the driver does not tell what its kernels take ({error})"
    finally:
        captures.close()
    names = ptxas.demangled([one.kernel for one in found])
    uses = [dataclasses.replace(one, kernel=name) for one, name in zip(found, names, strict=True)]
    return list(dict.fromkeys(uses)) or "it launches no kernel on the stream that it is called on"


def use_of(name: bytes, function: Any, params: Any) -> KernelUse:
    """What one launch takes of an SM; the kernel's name is still mangled."""
    attributes = driver.bindings().CUfunction_attribute

    def attribute(which: str) -> int:
        found: int = driver.call("cuFuncGetAttribute", getattr(attributes, f"CU_FUNC_ATTRIBUTE_{which}"), function)
        return found

    threads = params.blockDimX * params.blockDimY * params.blockDimZ
    local = attribute("LOCAL_SIZE_BYTES")
    return KernelUse(
        kernel=name.decode("ascii", "replace"),
        registers=attribute("NUM_REGS"),
        local_bytes=local,
        spill_bytes=None if local else 0,
        static_shared_bytes=attribute("SHARED_SIZE_BYTES"),
        dynamic_shared_bytes=params.sharedMemBytes,
        blocks_per_sm=driver.call(
            "cuOccupancyMaxActiveBlocksPerMultiprocessor", function, threads, params.sharedMemBytes
        ),
    )
