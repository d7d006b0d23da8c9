"""Solutions of flashinfer-bench's gqa_paged_decode_*_ps1."""

import math

import torch


def run(q, k_cache, v_cache, kv_indptr, kv_indices, sm_scale):
    """Right: heads of a group together, without copies of keys and values for each."""
    batch, heads, dim = q.shape
    kv_heads = k_cache.shape[2]
    output = torch.zeros_like(q)
    lse = torch.full((batch, heads), -math.inf, dtype=torch.float32, device=q.device)
    ends = kv_indptr.tolist()
    for b in range(batch):
        if ends[b] == ends[b + 1]:
            continue
        pages = kv_indices[ends[b] : ends[b + 1]]
        k = k_cache[pages, 0].float().transpose(0, 1)
        v = v_cache[pages, 0].float().transpose(0, 1)
        logits = torch.matmul(q[b].float().reshape(kv_heads, -1, dim), k.transpose(1, 2)).mul_(sm_scale)
        total = logits.logsumexp(-1, keepdim=True)
        lse[b] = total.reshape(heads) / math.log(2)
        output[b] = torch.matmul((logits - total).exp_(), v).reshape(heads, dim)
    return output, lse


def natural_lse(q, k_cache, v_cache, kv_indptr, kv_indices, sm_scale):
    """Wrong: the logarithm to the base e."""
    output, lse = run(q, k_cache, v_cache, kv_indptr, kv_indices, sm_scale)
    return output, lse * math.log(2)


def last_page(q, k_cache, v_cache, kv_indptr, kv_indices, sm_scale):
    """Wrong: the last page is left out."""
    return run(q, k_cache, v_cache, (kv_indptr - 1).clamp_(min=0), kv_indices, sm_scale)
