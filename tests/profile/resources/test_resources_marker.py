"""What users of the `resources` marker see where there is no GPU: kernels are compiled for real, and not run."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from record_schema import demand_valid
from sample_suite import RELU
from sample_suite import fake_device

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401
from pytest_kgate.build.compiler import cache
from pytest_kgate.build.compiler import toolchain
from pytest_kgate.build.compiler.ninja import BuildResult
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.errors import ToolchainMissing
from pytest_kgate.problems.attention.problem import sdpa_problem
from pytest_kgate.problems.shape import Shape
from pytest_kgate.profile.resources.compiled import compiled
from pytest_kgate.profile.resources.kernel_use import KernelUse
from pytest_kgate.report.record.document import document
from pytest_kgate.report.record.document import load

pytest.importorskip("jsonschema", reason="needs jsonschema, of the extra `test`")

HERE = Path(__file__).parent
SHAPE = "Shape(1, 8, 512, 64)"

Run = Callable[..., pytest.RunResult]


@pytest.fixture(autouse=True)
def users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests compile stays, so that the next run of the suite does not compile it again."""
    monkeypatch.setenv("KGATE_CACHE_DIR", str(cache.root()))
    try:
        toolchain.cuda_compiler()
    except ToolchainMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Runs tests on the host; `kernel` is a kernel of this folder, or one that ships."""

    def run(body: str, *options: str) -> pytest.RunResult:
        prelude = f"import pytest\nfrom pytest_kgate import Shape\nHERE = {str(HERE)!r}\n"
        pytester.makepyfile(test_it=prelude + textwrap.dedent(body))
        flags = ("-rs", "--kgate-device=host", "--kgate-json=records.json", "-p", "no:cacheprovider")
        return pytester.runpytest_inprocess(*flags, *options)

    return run


def test_limits_alone_pass_or_fail_without_a_gpu(run: Run, pytester: pytest.Pytester) -> None:
    result = run(
        f"""
        pytestmark = pytest.mark.resources(shared_kib=1)

        @pytest.mark.parametrize("most", [40, 128])
        @pytest.mark.resources(spills=0)
        def test_two(kbench, sdpa_oracle, kernels, request, most):
            request.applymarker(pytest.mark.resources(registers=most))
            kbench(kernels(HERE + "/two_kernels.cu"), sdpa_oracle({SHAPE}))

        @pytest.mark.resources(shared_kib=0.125)
        def test_static(kbench, sdpa_oracle):
            kbench(HERE + "/two_kernels.cu", sdpa_oracle({SHAPE}))

        @pytest.mark.resources(spills=0, local_bytes=0)
        def test_spills(kbench, sdpa_oracle, kernels):
            kbench(kernels(HERE + "/two_kernels.cu", MAX_THREADS=1024), sdpa_oracle({SHAPE}))
        """,
        "--kgate-arch=sm_90a",
    )
    result.assert_outcomes(passed=1, failed=3)
    text = " ".join(result.stdout.str().split())
    assert "demanded registers at most 40" in text
    assert "in mine::greedy verdict FAIL: mine::greedy takes" in text
    assert "at most 40 registers are allowed (compiled for sm_90a)" in text
    assert "held shared_kib 0.25 <= 1, spills 0 bytes <= 0 bytes" in text
    assert "mine::greedy takes 0.25 KiB of shared memory a block; at most 0.125 KiB are allowed" in text
    assert re.search(r"mine::greedy spills \d\d+ bytes a thread", text)
    assert re.search(r"mine::greedy takes \d\d+ bytes of local memory a thread; at most 0 bytes are allowed", text)
    assert "1 PASS, 3 FAIL" in text
    records = load(pytester.path / "records.json")
    assert [record["verdict"] for record in records] == ["FAIL", "PASS", "FAIL", "FAIL"]
    assert {limit["name"] for limit in records[0]["limits"]} == {"registers", "shared_kib", "spills"}
    assert records[0]["timing"] is records[0]["correctness"] is None
    demand_valid(document(records))


GATED = f"""
    @pytest.mark.speedup(0.9)
    class TestGated:
        @pytest.mark.resources(registers=128, spills=0)
        def test_holds(self, kbench, sdpa_oracle, kernels):
            kbench(kernels(HERE + "/two_kernels.cu"), sdpa_oracle({SHAPE}))

        @pytest.mark.resources(registers=20)
        def test_broken(self, kbench, sdpa_oracle, kernels):
            kbench(kernels(HERE + "/two_kernels.cu"), sdpa_oracle({SHAPE}))

        @pytest.mark.resources(shared_kib=48, spills=0)
        def test_unknown(self, kbench, sdpa_oracle, kernels):
            kbench(kernels(HERE + "/asks_for_shared.cu"), sdpa_oracle({SHAPE}))
"""


def test_with_gates_that_need_a_gpu_a_broken_limit_fails_and_one_that_holds_is_told(run: Run) -> None:
    result = run(GATED, "--kgate-arch=sm_90a")
    result.assert_outcomes(skipped=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*two_kernels needs a CUDA device, and there is none here; its resources hold, compiled for sm_90a: "
            "registers * <= 128, spills 0 bytes <= 0 bytes",
            "*asks_for_shared needs a CUDA device*: spills 0 bytes <= 0 bytes; shared_kib is not known: how much "
            "dynamic shared memory turns is launched with is known where a GPU runs it, and no GPU runs it",
        ]
    )


def test_what_can_not_be_measured_fails_where_it_has_to_be(run: Run) -> None:
    result = run(GATED, "--kgate-arch=sm_90a", "--kgate-require-metrics", "-k", "unknown")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*verdict*NOT MEASURED: how much dynamic shared memory turns is launched with*"])


def test_without_an_architecture_nothing_is_judged_for_another_one(run: Run) -> None:
    result = run(GATED)
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(["*With --kgate-arch its limits on resources are judged all the same.*"])
    run(GATED, "--kgate-require-metrics").assert_outcomes(failed=3)


def test_a_demand_that_only_a_gpu_can_measure_is_no_reason_to_pass(run: Run) -> None:
    body = f"""
        @pytest.mark.resources(registers=128)
        @pytest.mark.parametrize("marker", [pytest.mark.metrics(sm=">= 1 %"), pytest.mark.speed_of_light(0.1)])
        def test_it(kbench, sdpa_oracle, kernels, request, marker):
            request.applymarker(marker)
            kbench(kernels(HERE + "/two_kernels.cu"), sdpa_oracle({SHAPE}))

        @pytest.mark.metrics(sm=">= 1 %")
        def test_metrics(kbench, sdpa_oracle, kernels):
            kbench(kernels(HERE + "/two_kernels.cu"), sdpa_oracle({SHAPE}))
        """
    run(body, "--kgate-arch=sm_90a").assert_outcomes(skipped=3)
    run(body, "--kgate-arch=sm_90a", "--kgate-require-metrics").assert_outcomes(failed=3)


def test_an_isolated_kernel_is_judged_too(run: Run) -> None:
    body = f"""
        @pytest.mark.resources(registers=20)
        def test_it(kbench, sdpa_oracle):
            kbench(HERE + "/two_kernels.cu", sdpa_oracle({SHAPE}), isolate=True)
        """
    result = run(body, "--kgate-arch=sm_90a")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*mine::greedy takes*"])


def test_where_nothing_is_compiled_and_no_gpu_runs_it_gates_count_all_the_same(
    run: Run, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest(fake_device(ratio=0.8))
    result = run(
        RELU
        + """
@pytest.mark.resources(registers=40)
@pytest.mark.parametrize("bound", [0.5, 0.9])
def test_plain(kbench, bound):
    kbench(torch.relu, RELU, speedup=bound, name="plain")
"""
    )
    result.assert_outcomes(skipped=1, failed=1)
    result.stdout.fnmatch_lines(["*NOT MEASURED: plain was not compiled here, and no GPU runs it"])
    assert [one["verdict"] for one in load(pytester.path / "records.json")] == ["FAIL", "NOT MEASURED"]


@pytest.mark.parametrize(
    ("marker", "complaint"),
    [
        ("resources()", "it limits nothing; there are registers, shared_kib, spills, local_bytes, blocks_per_sm"),
        ("resources(register=3)", "got an unexpected keyword argument 'register'. Did you mean 'registers'?"),
        ("resources(72)", "too many positional arguments"),
        ("resources(registers=-1)", "registers must be a number of registers, 0 or more, not -1"),
        ("resources(registers='>= 72')", 'registers is an upper limit, write "<= 72"'),
    ],
)
def test_a_marker_that_makes_no_sense_ends_the_collection(run: Run, marker: str, complaint: str) -> None:
    result = run(f"@pytest.mark.{marker}\ndef test_it(kbench): pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stderr.str() + result.stdout.str()
    assert complaint in text
    assert "Usage: @pytest.mark.resources(*, registers, shared_kib, spills, local_bytes, blocks_per_sm)" in text


def test_a_marker_without_a_call_has_judged_nothing(run: Run) -> None:
    result = run("@pytest.mark.resources(registers=3)\ndef test_it(): pass")
    result.stdout.fnmatch_lines(["*The test has the marker resources, but never called kbench, so nothing was*"])


def used(name: str, *extents: int, **more: int) -> tuple[BuildResult, list[KernelUse]]:
    kernel = load_kernel(name, arch="sm_90a")
    return kernel.build, compiled(kernel, sdpa_problem(Shape(*extents, **more), "float16", None, None, "o"))


@pytest.mark.parametrize(
    ("name", "extents", "dynamic_shared_bytes", "blocks_per_sm"),
    [
        ("latency", (1, 8, 512, 64), 82480, 2),
        ("wmma", (1, 8, 512, 64), 129024, 1),
        ("mma", (1, 8, 512, 64), 73728, 2),
        ("custom_v3", (1, 8, 512, 64), 53248, 4),
        ("latency", (2, 8, 2048, 128), 98848, 2),
        ("wmma", (2, 8, 2048, 128), 104448, 1),
        ("mma", (2, 8, 2048, 128), 104448, 2),
        ("custom_v3", (2, 8, 2048, 128), 94208, 2),
    ],
)
def test_of_a_shipped_kernel_what_the_problem_launches_is_judged_as_nsight_compute_sees_it_on_an_h100(
    name: str, extents: tuple[int, ...], dynamic_shared_bytes: int, blocks_per_sm: int
) -> None:
    build, (one,) = used(name, *extents)
    assert f"<__half, {extents[3]}" in one.kernel
    assert len(build.resources) > 1
    assert one.registers == next(entry.registers for entry in build.resources if entry.kernel == one.kernel)
    assert (one.dynamic_shared_bytes, one.blocks_per_sm) == (dynamic_shared_bytes, blocks_per_sm)


def test_where_a_kernel_can_not_plan_a_problem_all_of_it_is_judged() -> None:
    build, found = used("wmma", 1, 8, 512, 64, window=7)
    assert len(found) == len(build.resources)
