"""Solutions of flashinfer-bench's gqa_ragged_prefill_causal_*."""

import math
from itertools import pairwise

import torch


def run(q, k, v, qo_indptr, kv_indptr, sm_scale):
    """Right: heads of a group together, without copies of keys and values for each."""
    return _attention(q, k, v, qo_indptr, kv_indptr, sm_scale, 1)


def one_key_early(q, k, v, qo_indptr, kv_indptr, sm_scale):
    """Wrong: a row does not see its own key, but for the first."""
    return _attention(q, k, v, qo_indptr, kv_indptr, sm_scale, 0)


def half_scale(q, k, v, qo_indptr, kv_indptr, sm_scale):
    """Wrong: half the scale."""
    return _attention(q, k, v, qo_indptr, kv_indptr, sm_scale / 2, 1)


def _attention(q, k, v, qo_indptr, kv_indptr, sm_scale, own):
    total, heads, dim = q.shape
    kv_heads = k.shape[1]
    output = torch.zeros_like(q)
    lse = torch.full((total, heads), -math.inf, dtype=torch.float32, device=q.device)
    starts, keys = qo_indptr.tolist(), kv_indptr.tolist()
    for (q0, q1), (k0, k1) in zip(pairwise(starts), pairwise(keys), strict=True):
        rows, columns = q1 - q0, k1 - k0
        if not rows or not columns:
            continue
        inner = q[q0:q1].float().view(rows, kv_heads, -1, dim).permute(1, 2, 0, 3).reshape(kv_heads, -1, dim)
        logits = torch.bmm(inner, k[k0:k1].float().permute(1, 2, 0)).mul_(sm_scale).view(heads, rows, columns)
        last = torch.arange(rows, device=q.device)[:, None] + own + columns - rows
        logits.masked_fill_(torch.arange(columns, device=q.device)[None] >= last.clamp_(min=1), -math.inf)
        sums = logits.logsumexp(-1, keepdim=True)
        lse[q0:q1] = (sums.squeeze(-1) / math.log(2)).t()
        weights = logits.sub_(sums).exp_().view(kv_heads, -1, columns)
        output[q0:q1] = torch.bmm(weights, v[k0:k1].float().permute(1, 0, 2)).view(heads, rows, dim).transpose(0, 1)
    return output, lse
