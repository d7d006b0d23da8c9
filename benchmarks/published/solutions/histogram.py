"""Submissions for the task histogram_py."""

import torch
from task import input_t
from task import output_t


def custom_kernel(data: input_t) -> output_t:
    """Right: the library's, without the settings that the reference makes and takes back."""
    values, output = data
    return output.copy_(torch.bincount(values, minlength=256))


def first_half(data: input_t) -> output_t:
    """Wrong: counts the first half, twice."""
    values, output = data
    return output.copy_(torch.bincount(values[: values.numel() // 2], minlength=256) * 2)


def one_short(data: input_t) -> output_t:
    """Wrong: the last value is not counted."""
    values, output = data
    return output.copy_(torch.bincount(values[:-1], minlength=256))
