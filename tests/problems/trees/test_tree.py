"""Copies of inputs of any kind."""

from __future__ import annotations

import subprocess
import sys
from collections import namedtuple

import pytest
import torch

from pytest_kgate.problems.trees import structure
from pytest_kgate.problems.trees import tree

LAYOUTS = {
    "dense": lambda: torch.arange(12.0).reshape(3, 4),
    "transposed": lambda: torch.arange(12.0).reshape(3, 4).t(),
    "with gaps": lambda: torch.arange(24.0).reshape(3, 8)[:, ::2],
    "expanded": lambda: torch.arange(4.0).expand(3, 4),
    "behind other elements": lambda: torch.arange(13.0)[1:].reshape(3, 4),
    "number": lambda: torch.tensor(3),
    "empty": lambda: torch.empty(0, 4),
    "needs a gradient": lambda: torch.ones(3, requires_grad=True),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "conjugated": lambda: torch.view_as_complex(torch.arange(24.0).reshape(3, 4, 2)).conj(),
    "conjugated, with gaps": lambda: torch.view_as_complex(torch.arange(24.0).reshape(3, 4, 2)).conj()[:, ::2],
    "negated": lambda: torch.view_as_complex(torch.arange(24.0).reshape(3, 4, 2)).conj().imag,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_copy_is_laid_out_as_what_it_copies(layout):
    tensor = LAYOUTS[layout]()
    (copy,) = tree.copy((tensor,))
    assert torch.equal(copy.to_dense(), tensor.to_dense())
    assert (copy.dtype, copy.layout, copy.requires_grad) == (tensor.dtype, tensor.layout, tensor.requires_grad)
    if tensor.layout is torch.strided:
        assert (copy.stride(), copy.storage_offset()) == (tensor.stride(), tensor.storage_offset())
        assert not tensor.numel() or copy.data_ptr() != tensor.data_ptr()


@pytest.mark.parametrize("layout", [one for one in LAYOUTS if LAYOUTS[one]().numel()])
def test_copy_has_the_same_bytes_and_takes_other_values(layout):
    tensor = LAYOUTS[layout]()
    copy, other = tree.copy((tensor,)), tree.copy((tensor,))
    assert tree.same_bytes((tensor,), copy)
    assert (copy[0].is_neg(), copy[0].is_conj()) == (tensor.is_neg(), tensor.is_conj())
    if layout not in ("sparse", "expanded"):
        with torch.no_grad():
            other[0].add_(1)
        tree.write(copy, other)
        assert torch.equal(copy[0], tensor + 1)


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", ["sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc"])
def test_sparse_tensors_take_values_with_another_number_of_elements(layout):
    blocks = {"blocksize": (2, 2)} if "_bs" in layout else {}
    many, few = (
        torch.eye(6).tril(below).add(torch.eye(6).roll(shift, 0)).to_sparse(layout=getattr(torch, layout), **blocks)
        for below, shift in ((0, 3), (0, 0))
    )
    assert many._nnz() != few._nnz()
    buffer = many.clone()
    for values in (few, many, many):
        tree.write((buffer,), (values,))
        assert torch.equal(buffer.to_dense(), values.to_dense())


def test_copy_far_into_other_memory_takes_no_more_than_its_own_span():
    copy = tree.copy(torch.arange(5000.0)[4097:4100])
    assert copy.storage_offset() == 4097 % 128
    assert copy.untyped_storage().nbytes() < 1024


def test_what_is_no_tensor_stays_as_it_is():
    Pair = namedtuple("Pair", "left right")
    inputs = (torch.ones(2), [3, None, "gelu"], {"weights": Pair(torch.zeros(2), 0.5)})
    copy = tree.copy(inputs)
    assert copy[1] == [3, None, "gelu"]
    assert type(copy[2]["weights"]) is Pair
    assert [tensor.tolist() for tensor in tree.tensors(copy)] == [[1.0, 1.0], [0.0, 0.0]]
    next(tree.tensors(copy)).fill_(7)
    assert inputs[0].tolist() == [1.0, 1.0]


def test_size_among_inputs_stays_one_and_may_have_other_things_in_its_place():
    """Anything but a number in a `torch.Size` raises."""
    inputs = (torch.ones(6), torch.Size([2, 3]))
    copy = tree.copy(inputs)
    assert copy[1] == (2, 3)
    assert type(copy[1]) is torch.Size
    assert tree.same(inputs, copy)
    assert not tree.same(inputs, (inputs[0], torch.Size([3, 2])))
    assert structure.mapped(inputs, lambda _: None) == (None, (None, None))


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"sparse"}))
def test_values_are_written_whatever_the_layout(layout):
    """PyTorch itself refuses to write to a tensor that overlaps itself, or to one that needs a gradient."""
    tensor = LAYOUTS[layout]()
    values = tree.copy(tensor).detach().mul(2) if layout != "expanded" else torch.full((4,), 5.0).expand(3, 4)
    tree.write((tensor,), (values,))
    assert torch.equal(tensor, values)


def test_values_laid_out_otherwise_are_written_too():
    tensor, values = torch.zeros(3, 4), torch.arange(12.0).reshape(4, 3).t()
    tree.write(tensor, values)
    assert torch.equal(tensor, values)


def test_trees_that_differ_are_not_written():
    with pytest.raises(ValueError, match="shorter"):
        tree.write((torch.zeros(1), torch.zeros(1)), (torch.zeros(1),))


@pytest.mark.parametrize("from_conjugate", [False, True])
@pytest.mark.parametrize("to_conjugate", [False, True])
def test_values_are_written_and_not_only_their_bytes(from_conjugate, to_conjugate):
    value, target = torch.tensor([1 + 2j, 3 - 4j]), torch.zeros(2, dtype=torch.complex64)
    value, target = value.conj() if from_conjugate else value, target.conj() if to_conjugate else target
    tree.write((target,), (value,))
    assert torch.equal(target.resolve_conj(), value.resolve_conj())


def test_values_of_another_type_are_converted():
    target = torch.zeros(3)
    tree.write((target,), (torch.tensor([1, 2, 3]),))
    assert target.tolist() == [1.0, 2.0, 3.0]


def test_writing_on_the_host_wakes_no_worker_of_pytorch():
    """Its workers spin when they have worked, and take a core from the kernel that is timed next.

    Told by their CPU time, in a process whose workers do nothing else: values of 4 MiB are written a hundred times.
    """
    code = """
import os, torch
from pytest_kgate.problems.trees import tree
torch.set_num_threads(2)
target, value = torch.zeros(1 << 20), torch.ones(1 << 20)
(target + value).sum()  # the workers are there now
def workers():
    ticks = {}
    for thread in os.listdir("/proc/self/task"):
        if int(thread) != os.getpid():
            with open(f"/proc/self/task/{thread}/schedstat") as file:
                ticks[thread] = int(file.read().split()[0])  # nanoseconds that it spent on a core
    return ticks
import time
time.sleep(0.3)
before = workers()
for _ in range(100):
    tree.write((target,), (value,))
time.sleep(0.05)
after = workers()
assert before, "no worker to look at"
assert target.min() == 1
print(max(after[thread] - before[thread] for thread in before))
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(found.stdout) * 1e-9 < 5e-3


def test_what_is_not_on_a_device_is_kept_from_another_tree():
    there = torch.device("meta")
    drawn = (torch.empty(2, device=there), [0.5, torch.tensor(1.0)], {"mode": "a"})
    others = (torch.empty(2, device=there), [0.7, torch.tensor(9.0)], {"mode": "b"})
    kept = tree.outside(drawn, there)
    assert kept[0] is None
    mixed = tree.with_outside(others, kept, there)
    assert mixed[0] is others[0]
    assert (mixed[1][0], float(mixed[1][1]), mixed[2]) == (0.5, 1.0, {"mode": "a"})
