"""Submissions for the task grayscale_py."""

import torch
from task import input_t
from task import output_t

try:
    import triton
    import triton.language as tl
except ImportError:  # of PyTorch for the CPU, where nothing here needs it
    triton = None

WEIGHTS = (0.2989, 0.5870, 0.1140)
BLOCK = 1024


def custom_kernel(data: input_t) -> output_t:
    """Right: on a GPU one kernel that reads the image once; elsewhere one product with the weights."""
    image, output = data
    return _weighted(image, output)


def returns_its_own(data: input_t) -> output_t:
    """Right: memory of its own."""
    image, _ = data
    return _weighted(image, torch.empty(image.shape[:2], device=image.device))


def _weighted(image, output):
    if image.is_cuda:
        count = output.numel()
        _kernel[(triton.cdiv(count, BLOCK),)](image, output, count, BLOCK)
        return output
    weights = torch.tensor(WEIGHTS, device=image.device)
    return torch.mv(image.view(-1, 3), weights, out=output.view(-1)).view(output.shape)


if triton is not None:

    @triton.jit
    def _kernel(image, output, count, block: tl.constexpr):
        at = tl.program_id(0) * block + tl.arange(0, block)
        inside = at < count
        red = tl.load(image + 3 * at, inside)
        green = tl.load(image + 3 * at + 1, inside)
        blue = tl.load(image + 3 * at + 2, inside)
        tl.store(output + at, 0.2989 * red + 0.5870 * green + 0.1140 * blue, inside)


def mean(data: input_t) -> output_t:
    """Wrong: the mean of the three."""
    image, output = data
    return output.copy_(image.mean(-1))


def left_unwritten(data: input_t) -> output_t:
    """Wrong: returns the memory that it was handed."""
    return data[1]
