"""Every CUDA kernel on every problem of the grid: `pytest tests/csrc -m grid`, minutes on a GPU.

Side by side: `pytest tests/csrc -m grid -n 4 --dist loadgroup`, which leaves the tests of a size with one process.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from parity import CUDA
from parity import HALVES
from parity import HEAD_DIMS
from parity import LENGTHS
from parity import LONG
from parity import asked
from parity import errors_of
from parity import loaded
from parity import shapes_of
from parity import too_wrong

BATCHES = (1, 4, 8)
HEADS = (8, 16)
SIZES = [
    pytest.param(size, id="x".join(map(str, size)), marks=pytest.mark.xdist_group("x".join(map(str, size))))
    for size in itertools.product(BATCHES, HEADS, HEAD_DIMS, HALVES)
]


@pytest.fixture(scope="module", params=SIZES)
def questions(request):
    """All lengths and both masks of one size, asked of all kernels: exact answers take longer than theirs."""
    batch, heads, head_dim, dtype = request.param
    return list(asked(shapes_of(head_dim, (*LENGTHS, *LONG), sizes=((batch, heads),)), dtype, "cuda"))


@pytest.mark.gpu(alone=False)
@pytest.mark.grid
@pytest.mark.parametrize("impl", CUDA)
def test_cuda_kernel_is_right_on_the_whole_grid(impl, questions, record_property):
    found = errors_of(loaded(impl), questions)
    nearest = max(found, key=lambda shape: found[shape].share)
    record_property("gpu", torch.cuda.get_device_name())  # these for --junit-xml
    record_property("shapes", len(found))
    record_property("nearest to what is allowed", f"{nearest}: {found[nearest]}")
    assert not too_wrong(found)
