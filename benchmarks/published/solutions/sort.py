"""Submissions for the task sort_py."""

import torch
from task import input_t
from task import output_t


def custom_kernel(data: input_t) -> output_t:
    """Right: on the host NumPy's sort, which has vector instructions; no indices, which the reference makes as well."""
    values, output = data
    if values.is_cuda:
        return torch.sort(values, out=(output, torch.empty_like(values, dtype=torch.int64))).values
    output.copy_(values).numpy().sort()
    return output


def in_blocks(data: input_t) -> output_t:
    """Wrong: the two halves are sorted, and not merged."""
    values, output = data
    half = values.numel() // 2
    output[:half] = values[:half].sort().values
    output[half:] = values[half:].sort().values
    return output
