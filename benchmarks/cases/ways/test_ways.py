"""Ways in which honest candidates are built, launched and kept: none may be INVALID, WRONG or ERROR, on a GPU.

    python benchmarks/cases/run.py benchmarks/cases/ways --out table.txt

Each computes relu(2 x + 1) of rows of float32; the reference does so many times, so that all pass.
"""

from __future__ import annotations

import functools
import gc

import pytest
import torch

from pytest_kgate import Problem

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

triton = pytest.importorskip("triton")
tl = pytest.importorskip("triton.language")

ROWS, COLUMNS = 512, 1024
TIMES = 40

CODE = """
extern "C" __global__ void twice(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = fmaxf(2.0f * x[i] + 1.0f, 0.0f);
}
"""


def plain(x):
    return torch.relu(2 * x + 1)


def reference(x):
    for _ in range(TIMES - 1):
        plain(x)
    return plain(x)


PROBLEM = Problem(
    name="relu of rows",
    inputs=lambda g: (torch.randn(ROWS, COLUMNS, generator=g, device=g.device),),
    reference=reference,
    exact=lambda x: plain(x.double()),
)


@triton.jit
def _block(x, y, n, BLOCK: tl.constexpr):  # noqa: N803
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < n)
    tl.store(y + at, tl.maximum(2 * value + 1, 0.0), mask=at < n)


@triton.jit
def _persistent(x, y, counter, n, BLOCK: tl.constexpr):  # noqa: N803
    tile = tl.atomic_add(counter, 1)
    while tile * BLOCK < n:
        at = tile * BLOCK + tl.arange(0, BLOCK)
        value = tl.load(x + at, mask=at < n)
        tl.store(y + at, tl.maximum(2 * value + 1, 0.0), mask=at < n)
        tile = tl.atomic_add(counter, 1)


@functools.cache
def _tuned(**options):
    configs = [triton.Config({"BLOCK": block}, num_warps=warps) for block in (256, 1024) for warps in (4, 8)]
    return triton.autotune(configs, key=["n"], **options)(_block)


def triton_kernel(x):
    y = torch.empty_like(x)
    _block[(triton.cdiv(x.numel(), 1024),)](x, y, x.numel(), BLOCK=1024)
    return y


def triton_persistent(x):
    y = torch.empty_like(x)
    counter = torch.zeros(1, dtype=torch.int32, device=x.device)
    _persistent[(132,)](x, y, counter, x.numel(), BLOCK=1024)
    return y


def triton_autotuned(x):
    y = torch.empty_like(x)
    _tuned()[lambda its: (triton.cdiv(x.numel(), its["BLOCK"]),)](x, y, x.numel())
    return y


def triton_autotuned_with_graphs(x):
    y = torch.empty_like(x)
    _tuned(use_cuda_graph=True)[lambda its: (triton.cdiv(x.numel(), its["BLOCK"]),)](x, y, x.numel())
    return y


def triton_cooperative(x):
    y = torch.empty_like(x)
    _block[(512,)](x, y, x.numel(), BLOCK=1024, launch_cooperative_grid=True)
    return y


def triton_programmatic_launch(x):
    y = torch.empty_like(x)
    _block[(512,)](x, y, x.numel(), BLOCK=1024, launch_pdl=True)
    return y


def made_by_nvrtc():
    kernel = torch.cuda._compile_kernel(CODE, "twice")

    def candidate(x):
        y = torch.empty_like(x)
        kernel(grid=(x.numel() // 256, 1, 1), block=(256, 1, 1), args=(x, y, x.numel()))
        return y

    return candidate


def made_by_jiterator():
    return torch.cuda.jiterator._create_jit_fn(
        "template <typename T> T twice(T x) { return x > -0.5f ? 2 * x + 1 : 0; }"
    )


def made_as_triton_op():
    @torch.library.triton_op("kgate_cases::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        y = torch.empty_like(x)
        torch.library.wrap_triton(_block)[(512,)](x, y, x.numel(), BLOCK=1024)
        return y

    return twice


def own_graph():
    """A graph of its own with buffers of its own, into which each call's input is copied."""
    kept = {}

    def candidate(x):
        if torch.cuda.is_current_stream_capturing():
            return plain(x)
        if "graph" not in kept:
            kept["x"] = x.clone()
            torch.cuda.synchronize()
            kept["graph"] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(kept["graph"]):
                kept["y"] = plain(kept["x"])
        kept["x"].copy_(x)
        kept["graph"].replay()
        return kept["y"].clone()

    return candidate


def own_pool():
    pool = torch.cuda.MemPool()

    def candidate(x):
        with torch.cuda.use_mem_pool(pool):
            y = 2 * x
        return torch.relu(y + 1)

    return candidate


def stream_of_high_priority():
    side = torch.cuda.Stream(priority=-1)

    def candidate(x):
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            y = plain(x)
        torch.cuda.current_stream().wait_stream(side)
        return y

    return candidate


def one_stream_for_each_half():
    sides = [torch.cuda.Stream() for _ in range(2)]

    def candidate(x):
        y, here = torch.empty_like(x), torch.cuda.current_stream()
        for half, side in enumerate(sides):
            side.wait_stream(here)
            with torch.cuda.stream(side):
                rows = slice(half * ROWS // 2, (half + 1) * ROWS // 2)
                torch.clamp_min(2 * x[rows] + 1, 0, out=y[rows])
        for side in sides:
            here.wait_stream(side)
        return y

    return candidate


def captured_by_event():
    """It is ordered by events instead of `wait_stream`, and keeps them."""
    side, events = torch.cuda.Stream(), [torch.cuda.Event() for _ in range(2)]

    def candidate(x):
        events[0].record()
        side.wait_event(events[0])
        with torch.cuda.stream(side):
            y = plain(x)
            events[1].record()
        torch.cuda.current_stream().wait_event(events[1])
        return y

    return candidate


def constants_from_pinned_memory():
    pinned = torch.tensor([2.0, 1.0]).pin_memory()

    def candidate(x):
        factor, offset = pinned.to("cuda", non_blocking=True)
        return torch.relu(factor * x + offset)

    return candidate


def under_autocast(x):
    with torch.autocast("cuda", dtype=torch.bfloat16):
        return plain(x)


def sets_precision_and_puts_it_back(x):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        return plain(x)
    finally:
        torch.set_float32_matmul_precision(before)


def is_profiled(x):
    torch.cuda.nvtx.range_push("relu")
    with torch.profiler.record_function("relu"):
        y = plain(x)
    torch.cuda.nvtx.range_pop()
    return y


def by_dlpack(x):
    return torch.from_dlpack(torch.relu(2 * torch.from_dlpack(x) + 1))


def with_a_gradient(x):
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad((leaf * leaf + leaf).sum(), leaf)
    return torch.relu(gradient)


def by_jvp(x):
    return torch.relu(torch.func.jvp(lambda one: one * one + one, (x,), (torch.ones_like(x),))[1])


def functional_call():
    layer = torch.nn.PReLU(init=0.0).cuda()
    weights = dict(layer.named_parameters())
    return lambda x: torch.func.functional_call(layer, weights, (2 * x + 1,)).detach()


def exported():
    class Twice(torch.nn.Module):
        def forward(self, x):
            return plain(x)

    return torch.export.export(Twice(), (torch.randn(ROWS, COLUMNS, device="cuda"),)).module()


def folded_weights():
    """A layer whose weights are on the GPU and are folded at the first call."""
    layer, kept = torch.nn.Linear(1, 1).cuda(), {}
    with torch.no_grad():
        layer.weight.fill_(2)
        layer.bias.fill_(1)

    def candidate(x):
        if not kept:
            kept["both"] = torch.cat([layer.weight.detach().flatten(), layer.bias.detach()])
        return torch.relu(x * kept["both"][0] + kept["both"][1])

    return candidate


def much_memory(x):
    wide = x.repeat(64, 1)
    return torch.relu(2 * wide[:ROWS] + 1)


def a_view_of_more(x):
    y = torch.empty(ROWS + 8, COLUMNS, device=x.device)
    torch.clamp_min(2 * x + 1, 0, out=y[4 : 4 + ROWS])
    return y[4 : 4 + ROWS]


def transposed(x):
    return plain(x.t().contiguous()).t()


def frees_its_cache_once():
    kept = []

    def candidate(x):
        if not kept:
            kept.append(x.new_empty(2**26))
            del kept[0]
            kept.append(None)
            gc.collect()
            torch.cuda.empty_cache()
        return plain(x)

    return candidate


def deterministic(x):
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        return plain(x)
    finally:
        torch.use_deterministic_algorithms(before)


CALLED = (
    *(triton_kernel, triton_persistent, triton_autotuned, triton_autotuned_with_graphs, triton_cooperative),
    *(triton_programmatic_launch, under_autocast, sets_precision_and_puts_it_back, is_profiled, by_dlpack),
    *(with_a_gradient, by_jvp, much_memory, a_view_of_more, transposed, deterministic),
)
MADE = (
    *(made_by_nvrtc, made_by_jiterator, made_as_triton_op, own_graph, own_pool, stream_of_high_priority),
    *(one_stream_for_each_half, captured_by_event, constants_from_pinned_memory, functional_call, exported),
    *(folded_weights, frees_its_cache_once),
)


@pytest.mark.perf
@pytest.mark.allclose(1e-5, rtol=1e-5)
@pytest.mark.speedup(2.0)
@pytest.mark.parametrize("candidate", CALLED, ids=lambda one: one.__name__)
def test_called(kbench, candidate):
    kbench(candidate, PROBLEM)


@pytest.mark.perf
@pytest.mark.allclose(1e-5, rtol=1e-5)
@pytest.mark.speedup(2.0)
@pytest.mark.parametrize("make", MADE, ids=lambda one: one.__name__)
def test_made(kbench, make):
    kbench(make(), PROBLEM, name=make.__name__)


@pytest.mark.perf
@pytest.mark.allclose(1e-5, rtol=1e-5)
@pytest.mark.speedup(2.0)
@pytest.mark.parametrize("module", [torch.nn.BatchNorm1d, torch.nn.LayerNorm], ids=lambda one: one.__name__)
def test_module_that_is_the_reference_too(kbench, module):
    """Its weights, and statistics that each call changes, are on the GPU."""
    torch.manual_seed(3)
    layer = module(COLUMNS).cuda()
    problem = Problem(
        name=f"one {module.__name__}",
        inputs=lambda g: (torch.randn(ROWS, COLUMNS, generator=g, device=g.device),),
        reference=lambda x: [layer(x) for _ in range(TIMES)][-1],
        exact=layer,
    )
    kbench(lambda x: layer(x), problem, name=module.__name__)
