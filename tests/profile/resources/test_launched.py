"""A candidate is called as in its race, and then in a graph; what can't be seen is told. A stand-in for the GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from pytest_kgate import Problem
from pytest_kgate.device.cuda import driver
from pytest_kgate.integrity.launches.graph_nodes import Unlisted
from pytest_kgate.profile.resources import launched as module
from pytest_kgate.profile.resources.kernel_use import KernelUse
from pytest_kgate.profile.resources.launched import launched

MINE = KernelUse("_Z4minePf", 80, 0, 0, 0, 1024, 2)

NOTHING = "it launches no kernel on the stream that it is called on"


def problem(**more: Any) -> Problem:
    return Problem(
        name="relu",
        inputs=lambda g: (torch.randn(4, 8, generator=g, device=g.device),),
        reference=more.pop("reference", torch.relu),
        exact=lambda x: torch.relu(x.double()),
        **more,
    )


RELU = problem()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """What is said of a candidate whose graph has these kernels, or can't be listed."""

    class Captures:
        def __init__(self, device: Any) -> None:
            self.open = True

        def capture(self, call: Callable[[int], Any], launches: int, *, to_read: bool) -> tuple[Any, list[Any]]:
            return SimpleNamespace(reset=lambda: None), [call(0)]

        def recover(self) -> None:
            assert self.open

        def close(self) -> None:
            self.open = False

    device = SimpleNamespace(torch_device="cpu", running=lambda doing: contextlib.nullcontext(), wait=lambda: None)
    monkeypatch.setattr(module, "Captures", Captures)
    monkeypatch.setattr(module, "use_of", lambda use: use)

    def seen(candidate: Callable[..., Any], kernels: Any = (MINE,), problem: Problem = RELU) -> Any:
        def kernels_in(graph: Any) -> Any:
            if isinstance(kernels, Exception):
                raise kernels
            return [(one,) for one in kernels]

        monkeypatch.setattr(module, "kernels_in", kernels_in)
        return launched(device, candidate, problem)  # type: ignore[arg-type]

    return seen


def test_kernels_have_their_plain_names_and_each_way_of_launching_one_counts_once(seen: Any) -> None:
    other = KernelUse("triton_poi_fused_0", 16, 0, 0, 0, 0, 16)
    names = [one.kernel for one in seen(torch.relu, (MINE, other, MINE, other))]
    assert names == ["mine", "triton_poi_fused_0"]


def test_a_candidate_is_handed_an_output_of_the_references_shape(seen: Any) -> None:
    outputs = []

    def sums(x: Tensor, out: Tensor) -> Tensor:
        outputs.append(out.shape)
        return torch.sum(x, dim=1, out=out)

    sum_rows = Problem(
        name="sum of rows",
        inputs=lambda g: (torch.randn(4, 8, generator=g, device=g.device),),
        reference=lambda x: x.sum(dim=1),
        exact=lambda x: x.double().sum(dim=1),
    )
    assert isinstance(seen(sums, problem=sum_rows), list)
    assert outputs == [torch.Size([4])] * 2


def test_a_candidate_that_works_in_place_is_called_so(seen: Any) -> None:
    changed = []
    in_place = problem(mutates=(0,), reference=lambda x: x.relu_())
    assert isinstance(seen(lambda x: changed.append(x.relu_()), problem=in_place), list)
    assert len(changed) == 2


def fails_at(number: int, error: Exception) -> Callable[[Tensor], Tensor]:
    calls = []

    def candidate(x: Tensor) -> Tensor:
        calls.append(x)
        if len(calls) == number:
            raise error
        return torch.relu(x)

    return candidate


@pytest.mark.parametrize(
    ("candidate", "kernels", "said"),
    [
        (torch.relu, (), NOTHING),
        (torch.relu, Unlisted("too old"), "this PyTorch or driver can't list what a graph launches (too old)"),
        (torch.relu, TypeError("keep_graph"), "this PyTorch or driver can't list what a graph launches (keep_graph)"),
        (torch.relu, driver.DriverError("no"), "the driver does not tell what its kernels take (no)"),
        (
            fails_at(1, ValueError("no more")),
            (),
            "a further call of it failed (the candidate raised ValueError: no more)",
        ),
        (
            fails_at(2, RuntimeError("operation not permitted when stream is capturing\nmore")),
            (),
            "it can't be captured in a CUDA graph (the candidate raised RuntimeError: operation not permitted when "
            "stream is capturing)",
        ),
    ],
)
def test_what_can_not_be_seen_is_told(seen: Any, candidate: Any, kernels: Any, said: str) -> None:
    assert seen(candidate, kernels) == said
