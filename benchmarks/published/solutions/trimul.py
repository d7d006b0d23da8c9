"""Submissions for the task trimul."""

import torch
import torch.nn.functional as F  # noqa: N812
from task import input_t
from task import output_t


def custom_kernel(data: input_t) -> output_t:
    """Right: the five projections in one product, and the sum over k as products of matrices."""
    return _trimul(data, masked=True, gated=True)


def without_mask(data: input_t) -> output_t:
    """Wrong: the mask is left out."""
    return _trimul(data, masked=False, gated=True)


def without_gate(data: input_t) -> output_t:
    """Wrong: the last gate is left out."""
    return _trimul(data, masked=True, gated=False)


def _trimul(data: input_t, *, masked: bool, gated: bool) -> output_t:
    x, mask, weights, config = data
    batch, n, _, dim = x.shape
    hidden = config["hidden_dim"]
    names = ("left_proj", "right_proj", "left_gate", "right_gate", "out_gate")
    x = F.layer_norm(x, (dim,), weights["norm.weight"], weights["norm.bias"])
    projected = F.linear(x, torch.cat([weights[f"{name}.weight"] for name in names]))
    left, right, *gates = projected.split(hidden, -1)
    gates = [gate.sigmoid() for gate in gates]
    left, right = left * gates[0], right * gates[1]
    if masked:
        left, right = left * mask.unsqueeze(-1), right * mask.unsqueeze(-1)
    left, right = (one.permute(0, 3, 1, 2).reshape(batch * hidden, n, n) for one in (left, right))
    out = torch.bmm(left, right.transpose(1, 2)).view(batch, hidden, n, n).permute(0, 2, 3, 1)
    out = F.layer_norm(out, (hidden,), weights["to_out_norm.weight"], weights["to_out_norm.bias"])
    return F.linear(out * gates[2] if gated else out, weights["to_out.weight"])
