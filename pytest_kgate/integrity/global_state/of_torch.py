"""Settings of PyTorch in this process."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import torch

from pytest_kgate.integrity.global_state.setting import Setting


def _module_hooks() -> dict[str, dict[Any, Any]]:
    """The hooks that PyTorch calls around every module: a reference that is a module pays for them."""
    known = vars(torch.nn.modules.module)
    return {name: dict(known[name]) for name in known if name.startswith("_global_") and isinstance(known[name], dict)}


def _set_module_hooks(hooks: Mapping[str, Mapping[Any, Any]]) -> None:
    for name, wanted in hooks.items():
        registered = getattr(torch.nn.modules.module, name)
        registered.clear()
        registered.update(wanted)


def of_torch() -> list[Setting]:
    """The settings of PyTorch in this process."""
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
    precision: Mapping[str, tuple[Any, str]] = {
        "torch.backends.cudnn.benchmark": (cudnn, "benchmark"),
        "torch.backends.cudnn.deterministic": (cudnn, "deterministic"),
        "torch.backends.cudnn.enabled": (cudnn, "enabled"),
        "torch.backends.cudnn.allow_tf32": (cudnn, "allow_tf32"),
        "torch.backends.cudnn.benchmark_limit": (cudnn, "benchmark_limit"),
        "torch.backends.mkldnn.deterministic": (torch.backends.mkldnn, "deterministic"),
        "torch.backends.opt_einsum.enabled": (torch.backends.opt_einsum, "enabled"),
        "torch.backends.opt_einsum.strategy": (torch.backends.opt_einsum, "strategy"),
        "torch.backends.cuda.matmul.allow_fp16_accumulation": (cuda.matmul, "allow_fp16_accumulation"),
        "torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction": (
            cuda.matmul,
            "allow_fp16_reduced_precision_reduction",
        ),
        "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction": (
            cuda.matmul,
            "allow_bf16_reduced_precision_reduction",
        ),
    }
    return [
        Setting("torch.get_default_dtype", torch.get_default_dtype, torch.set_default_dtype),
        Setting("torch.get_default_device", torch.get_default_device, torch.set_default_device),
        Setting("torch.get_num_threads", torch.get_num_threads, torch.set_num_threads),
        Setting(
            "torch.get_float32_matmul_precision",
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
        ),
        Setting(
            "torch.are_deterministic_algorithms_enabled",
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
        ),
        Setting("torch.compiler.set_stance", _compiler_stance, torch.compiler.set_stance),
        Setting("torch.nn.modules.module's global hooks", _module_hooks, _set_module_hooks),
        Setting("torch.is_autocast_enabled", lambda: _autocast(), None),
        Setting("torch.is_grad_enabled", torch.is_grad_enabled, torch.set_grad_enabled),
        Setting("torch.is_inference_mode_enabled", torch.is_inference_mode_enabled, None),
        Setting("torch.is_anomaly_enabled", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        Setting(
            "torch.autograd.set_multithreading_enabled",
            torch._C._is_multithreading_enabled,
            torch.autograd.set_multithreading_enabled,
        ),
        Setting("torch.autograd.graph.saved_tensors_hooks", _saved_tensors_hooks, None),
        Setting("torch.autograd.profiler", torch._C._autograd._profiler_enabled, _end_profiler),
        Setting("mkl_get_max_threads", _mkl_threads, None),
        Setting("torch.set_flush_denormal", _flushes_denormals, torch.set_flush_denormal),
        Setting("torch.backends.mkldnn.enabled", lambda: torch.backends.mkldnn.enabled, _set_mkldnn),
        Setting("torch.backends.cuda.flash_sdp_enabled", cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
        Setting("torch.backends.cuda.math_sdp_enabled", cuda.math_sdp_enabled, cuda.enable_math_sdp),
        Setting(
            "torch.backends.cuda.mem_efficient_sdp_enabled",
            cuda.mem_efficient_sdp_enabled,
            cuda.enable_mem_efficient_sdp,
        ),
        Setting("torch.backends.cuda.cudnn_sdp_enabled", cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
        Setting("torch.backends.cuda.preferred_blas_library", cuda.preferred_blas_library, cuda.preferred_blas_library),
        Setting(
            "torch.backends.cuda.preferred_linalg_library", cuda.preferred_linalg_library, cuda.preferred_linalg_library
        ),
        Setting(
            "torch.backends.mha.get_fastpath_enabled",
            torch.backends.mha.get_fastpath_enabled,
            torch.backends.mha.set_fastpath_enabled,
        ),
        Setting("torch.backends.nnpack", lambda: torch._C._get_nnpack_enabled(), torch._C._set_nnpack_enabled),
        Setting("torch.func's open transforms", _open_transforms, None),
        *(Setting(name, _reader(owner, field), _writer(owner, field)) for name, (owner, field) in precision.items()),
    ]


def _compiler_stance() -> str:
    """Whether compiled functions are run as such, for everyone; not loaded for it."""
    eval_frame = sys.modules.get("torch._dynamo.eval_frame")
    return str(eval_frame._stance.stance) if eval_frame is not None else "default"


def _autocast() -> tuple[bool, bool]:
    return torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")


def _saved_tensors_hooks() -> Any:
    """Those that are called for each tensor which a backward pass will need."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True)


def _open_transforms() -> int:
    """How many of `torch.func` each operator goes through."""
    return len(torch._C._functorch.get_interpreter_stack() or ())


def _end_profiler(was_on: bool) -> None:
    if not was_on:
        torch._C._autograd._disable_profiler()


def _mkl_threads() -> str | None:
    """As many threads as a product on the CPU may use; None where PyTorch was built without MKL."""
    told = re.search(r"mkl_get_max_threads\(\) : (\d+)", torch.__config__.parallel_info())
    return told[1] if told else None


def _flushes_denormals() -> bool:
    return float(torch.tensor([1e-310], dtype=torch.float64) * 1.0) == 0.0


def _set_mkldnn(on: bool) -> None:
    torch.backends.mkldnn.set_flags(on)


def _reader(owner: Any, field: str) -> Callable[[], Any]:
    return lambda: getattr(owner, field)


def _writer(owner: Any, field: str) -> Callable[[Any], None]:
    return lambda value: setattr(owner, field, value)
