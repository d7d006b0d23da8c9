"""Submissions for the task grayscale_py."""

import functools

import torch
from task import input_t
from task import output_t

WEIGHTS = (0.2989, 0.5870, 0.1140)


def custom_kernel(data: input_t) -> output_t:
    """Right: one product with the weights, into the output that is handed in; on a GPU by one compiled kernel."""
    image, output = data
    if image.is_cuda:
        return output.copy_(_compiled()(image))
    weights = torch.tensor(WEIGHTS, device=image.device)
    return torch.mv(image.view(-1, 3), weights, out=output.view(-1)).view(output.shape)


def returns_its_own(data: input_t) -> output_t:
    """Right: memory of its own."""
    image, _ = data
    if image.is_cuda:
        return _compiled()(image)
    return torch.mv(image.view(-1, 3), torch.tensor(WEIGHTS, device=image.device)).view(image.shape[:2])


@functools.cache
def _compiled():
    return torch.compile(_weighted)


def _weighted(image):
    red, green, blue = image.unbind(-1)
    return red * WEIGHTS[0] + green * WEIGHTS[1] + blue * WEIGHTS[2]


def mean(data: input_t) -> output_t:
    """Wrong: the mean of the three."""
    image, output = data
    return output.copy_(image.mean(-1))


def left_unwritten(data: input_t) -> output_t:
    """Wrong: returns the memory that it was handed."""
    return data[1]
