from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from pytest_kgate.build import kernel
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import UsageError

ECHO = """
    const float seen[] = {float(args->batch), float(args->heads), float(args->seqlen), float(args->head_dim),
                          float(args->q_stride[0]), float(args->k_stride[1]), float(args->v_stride[2]),
                          float(args->o_stride[0]), args->scale, float(args->causal), float(args->dtype),
                          *static_cast<const float*>(args->q), *static_cast<const float*>(args->k),
                          *static_cast<const float*>(args->v), float(stream != nullptr)};
    for (int i = 0; i < 15; ++i) out[i] = seen[i];
    return 0;"""


@pytest.fixture
def echo(write_kernel, empty_cache: Path) -> kernel.Kernel:
    return kernel.load_kernel(write_kernel(ECHO))


@pytest.fixture
def host(shared_cache: None) -> kernel.Kernel:
    return kernel.load_kernel("host")


def tensors(*shape: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(shape, generator=generator).to(dtype) for _ in range(3)]


def exact(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **kwargs: object) -> torch.Tensor:
    attention = torch.nn.functional.scaled_dot_product_attention
    return attention(q.double(), k.double(), v.double(), **kwargs)  # type: ignore[arg-type]


def test_importing_the_build_room_imports_neither_torch_nor_numpy() -> None:
    compiler = [f"compiler.{name}" for name in ("arch", "cache", "ninja", "ptxas", "recipe", "toolchain")]
    modules = [*compiler, "kernel", "library", "registry"]
    code = "import sys\n" + "".join(f"import pytest_kgate.build.{module}\n" for module in modules)
    code += "assert not {'torch', 'numpy', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_the_kernel_sees_what_was_passed(echo: kernel.Kernel) -> None:
    q, k, v = tensors(2, 3, 5, 4)
    k = k.transpose(1, 2).contiguous().transpose(1, 2)
    v = torch.cat([v, v], dim=3)[..., :4]
    out = torch.empty(2, 3, 5, 4)
    assert echo(q, k, v, is_causal=True, scale=0.25, out=out) is out
    seen = out.flatten()[:15].tolist()
    assert seen[:11] == [2, 3, 5, 4, 60, 4, 8, 60, 0.25, 1, 0]
    assert seen[11:] == [q.flatten()[0], k.flatten()[0], v.flatten()[0], 0]


def test_the_default_scale_is_that_of_sdpa(echo: kernel.Kernel) -> None:
    seen = echo(*tensors(1, 1, 4, 16)).flatten()[:15].tolist()
    assert seen[8:11] == [0.25, 0, 0]


def test_a_kernel_tells_what_it_is(echo: kernel.Kernel, host: kernel.Kernel) -> None:
    assert (echo.name, echo.implementation, echo.device_kind, echo.knobs) == ("mine", None, "host", {})
    assert (host.name, host.implementation, host.device_kind) == ("host", "host", "host")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": [[1.0]]}, "q is of type list, not a tensor"),
        ({"out": 3}, "out is of type int, not a tensor"),
        ({"k": torch.zeros(1, 2, 9, 16)}, r"v.shape is \(1, 2, 8, 16\), but k.shape is \(1, 2, 9, 16\)"),
        ({"k": torch.zeros(2, 2, 8, 16)}, r"k.shape is \(2, 2, 8, 16\), but q.shape is \(1, 2, 8, 16\)"),
        ({"v": torch.zeros(2, 8, 16)}, r"v has the shape \(2, 8, 16\), 3 dimensions"),
        ({"out": torch.zeros(1, 2, 8, 15)}, r"out.shape is \(1, 2, 8, 15\)"),
        (
            {"v": torch.zeros(1, 2, 8, 16, dtype=torch.float16)},
            "v.dtype is torch.float16, but q.dtype is torch.float32",
        ),
        ({"k": torch.zeros(1, 2, 8, 16, device="meta")}, "takes CPU tensors; k is on meta"),
        ({"q": torch.zeros(1, 2, 16, 8).transpose(2, 3)}, "last dimension of q is not contiguous"),
        ({"out": torch.zeros(1, 1, 1, 16).expand(1, 2, 8, 16)}, "rows of out overlap each other"),
        ({"out": torch.zeros(100).as_strided((1, 2, 8, 16), (0, 16, 8, 1))}, "rows of out overlap each other"),
    ],
)
def test_wrong_arguments_are_named(echo: kernel.Kernel, change: dict[str, object], message: str) -> None:
    q, k, v = tensors(1, 2, 8, 16)
    arguments = {"q": q, "k": k, "v": v} | change
    with pytest.raises(UsageError, match=message):
        echo(**arguments)  # type: ignore[arg-type]


def test_a_dtype_that_no_kernel_takes_is_named(echo: kernel.Kernel) -> None:
    with pytest.raises(UsageError, match=r"dtype torch\.float64"):
        echo(*tensors(1, 1, 4, 4, dtype=torch.float64))


def test_empty_inputs_are_refused(echo: kernel.Kernel) -> None:
    for shape in ((1, 0, 4, 4), (1, 2, 4, 0)):
        with pytest.raises(UsageError, match="empty"):
            echo(*tensors(*shape))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_output_over_an_input_is_refused(echo: kernel.Kernel, which: int) -> None:
    arguments = tensors(1, 2, 8, 16)
    with pytest.raises(UsageError, match="out overlaps the memory of q, k or v"):
        echo(*arguments, out=arguments[which])


def test_a_transposed_output_is_no_overlap(echo: kernel.Kernel) -> None:
    out = torch.empty(1, 8, 2, 16).transpose(1, 2)
    assert echo(*tensors(1, 2, 8, 16), out=out) is out


@pytest.mark.parametrize("code", ["-4", "4"])  # a positive one was taken for what the binding itself refuses
def test_a_kernels_refusal_carries_its_own_message(write_kernel, empty_cache: Path, code: str) -> None:
    refuses = kernel.load_kernel(write_kernel(f"return {code};"))
    with pytest.raises(CandidateError, match=r"code -4\): It refuses\. Use another\."):
        refuses(*tensors(1, 1, 4, 4))


def test_a_kernel_without_messages_still_reports_its_code(tmp_path: Path, empty_cache: Path) -> None:
    path = tmp_path / "mute.cpp"
    path.write_text('#include "sdpa.h"\nKGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs*, void*) { return -9; }')
    with pytest.raises(CandidateError, match="code -9"):
        kernel.load_kernel(path)(*tensors(1, 1, 4, 4))


def test_other_python_threads_run_while_a_kernel_does(write_kernel, empty_cache: Path) -> None:
    body = """
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    volatile float* flag = out;
    while (*flag == 0.0f) if (std::chrono::steady_clock::now() > end) return -1;
    return 0;"""
    waits = kernel.load_kernel(write_kernel(body, before="#include <chrono>"))
    out = torch.zeros(1, 1, 1, 4)
    thread = threading.Timer(0.05, out.fill_, [1.0])
    thread.start()
    waits(*tensors(1, 1, 1, 4), out=out)
    thread.join()


def test_a_cuda_kernel_loads_without_a_gpu_and_asks_for_cuda_tensors(
    write_kernel, empty_cache: Path, nvcc: None
) -> None:
    mine = kernel.load_kernel(write_kernel(name="mine.cu"), arch="sm_80")
    assert (mine.device_kind, mine.build.arch) == ("cuda", "sm_80")
    with pytest.raises(UsageError, match="takes CUDA tensors; q is on cpu"):
        mine(*tensors(1, 1, 4, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [(1, 2, 64, 64), (2, 3, 130, 80), (1, 1, 1, 128), (1, 2, 33, 7)])
def test_the_host_kernel_computes_attention(
    host: kernel.Kernel, shape: tuple[int, ...], causal: bool, dtype: torch.dtype
) -> None:
    q, k, v = tensors(*shape, dtype=dtype)
    error = (host(q, k, v, is_causal=causal) - exact(q, k, v, is_causal=causal)).abs().max().item()
    assert error < (2e-3 if dtype == torch.float16 else 1e-5)


def test_the_host_kernel_takes_strides_scale_and_out(host: kernel.Kernel) -> None:
    q, k, v = (t.transpose(1, 2) for t in tensors(2, 40, 3, 64))
    out = torch.full((2, 40, 3, 64), float("nan")).transpose(1, 2)
    host(q, k, v, scale=0.5, out=out)
    assert (out - exact(q, k, v, scale=0.5)).abs().max().item() < 1e-5


@pytest.mark.gpu
def test_a_cuda_kernel_runs_on_the_current_stream(write_kernel, empty_cache: Path, nvcc: None) -> None:
    launch = "fill<<<1, 1, 0, static_cast<cudaStream_t>(stream)>>>(out); return int(cudaGetLastError());"
    before = "__global__ void fill(float* out) { *out = 42.0f; }"
    mine = kernel.load_kernel(write_kernel(launch, before=before, name="mine.cu"))
    q = torch.zeros(1, 1, 1, 4, device="cuda")
    k, v, out = q.clone(), q.clone(), q.clone()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        mine(q, k, v, out=out)
    assert out.flatten()[0].item() == 0, "captured, not run"
    graph.replay()
    assert out.flatten()[0].item() == 42


WORKSPACE = """
KGATE_EXPORT int64_t kgate_sdpa_workspace(const kgate::SdpaArgs* args) {
    return args->batch + 10 * args->heads + 100 * args->seqlen + 1000 * args->head_dim + args->causal + args->dtype;
}"""


def test_a_kernel_gets_the_workspace_that_it_asks_for(write_kernel, empty_cache: Path) -> None:
    body = """
    static_cast<char*>(args->workspace)[args->workspace_bytes - 1] = 1;
    out[0] = float(args->workspace_bytes);
    return 0;"""
    asks = kernel.load_kernel(write_kernel(body, before=WORKSPACE))
    assert asks(*tensors(2, 3, 4, 5), is_causal=True).flatten()[0] == 2 + 30 + 400 + 5000 + 1


def test_a_kernel_that_asks_for_no_workspace_gets_none(write_kernel, empty_cache: Path) -> None:
    mine = kernel.load_kernel(write_kernel("out[0] = float(args->workspace_bytes); return args->workspace != nullptr;"))
    assert mine(*tensors(1, 1, 4, 4)).flatten()[0] == 0


def test_empty_inputs_are_refused_with_a_workspace_too(write_kernel, empty_cache: Path) -> None:
    asks = kernel.load_kernel(write_kernel(before=WORKSPACE))
    with pytest.raises(UsageError, match="empty"):
        asks(*tensors(1, 0, 4, 4))
