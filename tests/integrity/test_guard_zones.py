"""Guard zones: writes beside a buffer and reads beyond it are found, honest candidates notice nothing."""

from __future__ import annotations

import pytest
import torch

from pytest_kgate import Problem
from pytest_kgate.device.arm import Arm
from pytest_kgate.device.host import HostDevice
from pytest_kgate.errors import CandidateError
from pytest_kgate.integrity.guard_zones import GuardZones

RELU = Problem(
    name="relu",
    inputs=lambda g: (torch.randn(8, 16, generator=g),),
    reference=torch.relu,
    exact=lambda x: torch.relu(x.double()),
)


def flat(tensor, first, count):
    return torch.as_strided(tensor, (count,), (1,), tensor.storage_offset() + first)


def play(call, problem=RELU, takes_output=True):
    zones = GuardZones(HostDevice())
    inputs = zones.problem(problem).inputs(torch.Generator().manual_seed(1))
    output = torch.full_like(inputs[0], float("nan")) if takes_output else None
    return inputs, zones.arm(Arm("candidate", call, takes_output)).call(inputs, output)


def test_honest_candidate_gets_the_same_values_and_shape():
    inputs, result = play(lambda inputs, output: output.copy_(torch.relu(inputs[0])))
    assert torch.equal(inputs[0], RELU.inputs(torch.Generator().manual_seed(1))[0])
    assert torch.equal(result, torch.relu(inputs[0]))


@pytest.mark.parametrize(
    ("first", "said"), [(128, "the byte 0 behind"), (-1, "the byte 4 before"), (130, "byte 8 behind")]
)
def test_write_beside_the_output_is_found(first, said):
    def call(inputs, output):
        output.copy_(torch.relu(inputs[0]))
        flat(output, first, 1).fill_(7.0)
        return output

    with pytest.raises(CandidateError, match=f"its output: the .*{said.removeprefix('the ')}|its output: {said}"):
        play(call)


def test_elements_taken_for_wider_ones_are_a_cause_that_is_named():
    def call(inputs, output):
        flat(output, 0, 2 * output.numel()).zero_()
        return output

    with pytest.raises(CandidateError) as caught:
        play(call)
    assert "elements that are taken for wider ones, as float16 for float32" in caught.value.todo


@pytest.mark.parametrize("count", [3, 400], ids=["smaller", "larger"])
def test_resized_output_is_called_resized(count):
    with pytest.raises(CandidateError, match=rf"resized its output from \(8, 16\) to \({count},\)"):
        play(lambda inputs, output: output.resize_(count))


def test_resized_input_is_called_resized():
    def call(inputs, output):
        output.copy_(torch.relu(inputs[0]))
        inputs[0].resize_(3)
        return output

    with pytest.raises(CandidateError, match=r"resized its input 0 from \(8, 16\) to \(3,\)"):
        play(call)


def test_write_behind_an_input_is_found_although_the_input_is_whole():
    def call(inputs, output):
        flat(inputs[0], 128, 1).fill_(0.0)
        return output.copy_(torch.relu(inputs[0]))

    with pytest.raises(CandidateError, match="behind its input 0"):
        play(call)


def test_reader_beyond_the_inputs_meets_nan():
    def call(inputs, output):
        return torch.relu(inputs[0]) + 0.0 * flat(inputs[0], 128, 16)

    _, result = play(call, takes_output=False)
    assert bool(result.isnan().all())


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: torch.randn(4, 6, generator=g).t(),
        lambda g: torch.randn(4, 6, generator=g)[:, ::2],
        lambda g: torch.randn(3, 1, generator=g).expand(3, 5),
        lambda g: torch.randint(0, 9, (5,), generator=g),
        lambda g: torch.randn(7, generator=g).to(torch.bfloat16),
        lambda g: torch.empty(0),
    ],
    ids=["transposed", "strided", "expanded", "integers", "bfloat16", "empty"],
)
def test_layout_and_values_of_inputs_are_kept(draw):
    problem = Problem("any", draw, torch.relu, torch.relu)
    (guarded,) = GuardZones(HostDevice()).problem(problem).inputs(torch.Generator().manual_seed(1))
    plain = draw(torch.Generator().manual_seed(1))
    assert (guarded.shape, guarded.stride(), guarded.dtype) == (plain.shape, plain.stride(), plain.dtype)
    assert torch.equal(guarded, plain)
