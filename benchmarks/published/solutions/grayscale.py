"""Submissions for the task grayscale_py."""

import torch
from task import input_t
from task import output_t

WEIGHTS = (0.2989, 0.5870, 0.1140)


def custom_kernel(data: input_t) -> output_t:
    """Right: one product with the weights, into the output that is handed in."""
    image, output = data
    weights = torch.tensor(WEIGHTS, device=image.device)
    return torch.mv(image.view(-1, 3), weights, out=output.view(-1)).view(output.shape)


def returns_its_own(data: input_t) -> output_t:
    """Right: memory of its own."""
    image, _ = data
    return torch.mv(image.view(-1, 3), torch.tensor(WEIGHTS, device=image.device)).view(image.shape[:2])


def mean(data: input_t) -> output_t:
    """Wrong: the mean of the three."""
    image, output = data
    return output.copy_(image.mean(-1))


def left_unwritten(data: input_t) -> output_t:
    """Wrong: returns the memory that it was handed."""
    return data[1]
