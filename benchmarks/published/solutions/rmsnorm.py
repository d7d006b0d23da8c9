"""Solutions of flashinfer-bench's rmsnorm_*: right ones, and wrong ones by what is wrong with them."""

import torch
import torch.nn.functional as F  # noqa: N812, the usual name

EPS = 1e-6


def run(hidden_states, weight):
    """Right: on a GPU PyTorch's fused one; elsewhere the reciprocal of the norm first, and products in place."""
    if hidden_states.is_cuda:
        return F.rms_norm(hidden_states, (hidden_states.shape[-1],), weight, EPS)
    output = torch.empty_like(hidden_states)
    handed_in(hidden_states, weight, output)
    return output


def handed_in(hidden_states, weight, output):
    """Right, in destination-passing style: the last product is written where it belongs."""
    if hidden_states.is_cuda:
        output.copy_(run(hidden_states, weight))
        return
    x = hidden_states.float()
    scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(EPS).rsqrt_()
    torch.mul(x.mul_(scale), weight, out=output)


def last_row_missing(hidden_states, weight, output):
    """Wrong: the last row is left as it was."""
    output[:-1] = run(hidden_states[:-1], weight)


def two_percent(hidden_states, weight):
    """Wrong: 2 % too large."""
    return run(hidden_states, weight * 1.02)
