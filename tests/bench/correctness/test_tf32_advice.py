"""What is said of TF32, where a reference on a GPU looks wrong."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate.bench.correctness.comparison.outputs import ExactOutputs
from pytest_kgate.bench.correctness.comparison.tolerance import ExactAnswer
from pytest_kgate.bench.correctness.reference_check import demand_right_reference
from pytest_kgate.errors import ProblemError


@pytest.mark.parametrize(
    ("device", "dtype", "on", "told"),
    [
        (
            "cuda",
            torch.float32,
            True,
            "TF32 is on for convolutions: set torch.backends.cudnn.allow_tf32 = False to see.",
        ),
        ("cuda", torch.float32, False, ""),
        ("cuda", torch.float16, True, ""),
        ("cpu", torch.float32, True, ""),
    ],
)
def test_a_coarse_reference_is_told_of_tf32_where_it_is_on(monkeypatch, device, dtype, on, told):
    exact = torch.randn(64, 64, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    reference = (exact * 1.2).to(dtype)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", on)
    truth = ExactAnswer(exact, reference)
    truth.device = torch.device(device)  # the comparison is over, and no GPU is needed
    outputs = ExactOutputs({"output": truth}, reference, {}, None)
    with pytest.raises(ProblemError, match="reference is wrong") as found:
        demand_right_reference(outputs, None, (), lambda: False, dict)
    assert found.value.todo.startswith(f"{told} Mend" if told else "Mend")
