"""Solutions of flashinfer-bench's gemm_*: C = A B^T in float16."""

import torch


def run(A, B):  # noqa: N803, the definition's names
    """Right: the library's product; on the host in float32, for which processors have instructions."""
    if A.is_cuda:
        return torch.mm(A, B.t())
    return torch.mm(A.float(), B.float().t()).to(A.dtype)


def handed_in(A, B, C):  # noqa: N803
    """Right, in destination-passing style."""
    if A.is_cuda:
        torch.mm(A, B.t(), out=C)
    else:
        C.copy_(run(A, B))


def dropped_tile(A, B):  # noqa: N803
    """Wrong: the last 32 of the inner dimension are left out."""
    return run(A[:, :-32], B[:, :-32])


def last_column(A, B, C):  # noqa: N803
    """Wrong: the last column is never written."""
    C[:, :-1] = run(A, B[:-1])
