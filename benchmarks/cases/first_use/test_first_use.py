"""Honest candidates that are the first in their process to use a part of PyTorch: none may be INVALID, WRONG or ERROR.

    python benchmarks/cases/run.py benchmarks/cases/first_use --alone --out table.txt

What a library sets up at its first call (an order of kernels, handles, workspaces, worker threads, a compiler's child
processes) is then done by the candidate. The references are written out in arithmetic of single elements and work
several times, so that all pass.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pytest_kgate import Problem


def drawn(*shape, low=-1.0, high=1.0):
    def draw(g):
        return (torch.empty(shape, device=g.device).uniform_(low, high, generator=g),)

    return draw


def two(*shapes):
    def draw(g):
        return tuple(torch.empty(one, device=g.device).uniform_(-1, 1, generator=g) for one in shapes)

    return draw


def product(a, b):
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def attention(q, k, v):
    logits = (q[..., :, None, :] * k[..., None, :, :]).sum(-1) / q.shape[-1] ** 0.5
    weights = (logits - logits.amax(-1, keepdim=True)).exp()
    return product(weights / weights.sum(-1, keepdim=True), v)


def fourier(x):
    n = torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)
    turns = torch.outer(n, n) * (2 * torch.pi / len(n))
    return (x[..., None, :] * turns.cos()).sum(-1)


def inverse(a):
    (p, q), (r, s) = a.unbind(-2)[0].unbind(-1), a.unbind(-2)[1].unbind(-1)
    det = p * s - q * r
    return torch.stack([torch.stack([s, -q], -1), torch.stack([-r, p], -1)], -2) / det[..., None, None]


def far_from_singular(g):
    return (torch.empty(4096, 2, 2, device=g.device).uniform_(-1, 1, generator=g) + 3 * torch.eye(2, device=g.device),)


def convolution(x, w):
    return (x.unfold(2, 3, 1).unfold(3, 3, 1)[:, None] * w[None, :, :, None, None]).sum((2, 5, 6))


def running_sum(x):
    return (x[..., None, :] * torch.ones(x.shape[-1], x.shape[-1], device=x.device, dtype=x.dtype).tril()).sum(-1)


def normalized(x):
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()


def positive(x):
    return (x + x.abs()) / 2


def gathered(table, at):
    return ((torch.arange(len(table), device=at.device) == at[:, None])[..., None] * table).sum(1)


def table_and_indices(g):
    table = torch.empty(256, 64, device=g.device).uniform_(-1, 1, generator=g)
    return table, torch.randint(0, 256, (128,), device=g.device, generator=g)


def dense_in_rows(a):
    rows, columns = a.shape
    ends = torch.arange(0, rows * columns + 1, columns, device=a.device)
    return torch.sparse_csr_tensor(ends, torch.arange(columns, device=a.device).repeat(rows), a.flatten(), a.shape)


def steps_and_weights(g):
    """Weights so small that an error dies away from step to step."""
    shapes = ((16, 4, 32), 1.0), ((32, 32), 0.5), ((32, 32), 0.1)
    return tuple(torch.empty(one, device=g.device).uniform_(-size, size, generator=g) for one, size in shapes)


def recurrent(x, w, u):
    h = torch.zeros(x.shape[1], u.shape[0], device=x.device, dtype=x.dtype)
    out = []
    for one in x:
        h = torch.tanh((one[:, None] * w).sum(-1) + (h[:, None] * u).sum(-1))
        out.append(h)
    return torch.stack(out)


def rnn(x, w, u):
    if not rnn.made:
        rnn.made.append(torch.nn.RNN(w.shape[1], w.shape[0], bias=False, device=x.device))
    with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):  # which is too coarse for float32
        rnn.made[0].weight_ih_l0.copy_(w)
        rnn.made[0].weight_hh_l0.copy_(u)
        return rnn.made[0](x)[0]


rnn.made = []

PAIR = two((64, 64), (64, 64))
IMAGES = two((2, 4, 32, 32), (8, 4, 3, 3))
QKV = two(*[(1, 2, 64, 32)] * 3)
CASES = {
    "matmul": (PAIR, product, lambda a, b: a @ b),
    "linear": (PAIR, lambda a, b: product(a, b.mT), F.linear),
    "addmm_relu": (PAIR, lambda a, b: positive(product(a, b) + a), lambda a, b: torch.relu(torch.addmm(a, a, b))),
    "einsum": (PAIR, product, lambda a, b: torch.einsum("ij,jk->ik", a, b)),
    "bmm": (two((8, 32, 32), (8, 32, 32)), product, torch.bmm),
    "sparse": (PAIR, product, lambda a, b: torch.sparse.mm(dense_in_rows(a), b)),
    "attention": (QKV, attention, F.scaled_dot_product_attention),
    "conv2d": (IMAGES, convolution, F.conv2d),
    "unfolded": (IMAGES, convolution, lambda x, w: (w.flatten(1) @ F.unfold(x, 3)).unflatten(-1, (30, 30))),
    "rnn": (steps_and_weights, recurrent, rnn),
    "fft": (drawn(64, 128), fourier, lambda x: torch.fft.fft(x).real),
    "rfft": (drawn(64, 128), lambda x: fourier(x)[..., :65], lambda x: torch.fft.rfft(x).real),
    "inv": (far_from_singular, inverse, lambda a: torch.linalg.inv_ex(a)[0]),
    "solve": (
        far_from_singular,
        inverse,
        lambda a: torch.linalg.solve_ex(a, torch.eye(2, device=a.device).expand_as(a))[0],
    ),
    "cumsum": (drawn(64, 256), running_sum, lambda x: x.cumsum(-1)),
    "layer_norm": (drawn(64, 256), normalized, lambda x: F.layer_norm(x, (256,))),
    "embedding": (table_and_indices, gathered, lambda table, at: F.embedding(at, table)),
    "compiled": (drawn(1 << 16), positive, None),
    "compiled_matmul": (PAIR, product, None),
    "compiled_max_autotune": (PAIR, product, None),
    "compiled_attention": (QKV, attention, None),
    "flex_attention": (QKV, attention, None),
    "scripted": (drawn(1 << 16), positive, None),
    "function_of_autograd": (
        drawn(1 << 12),
        positive,
        lambda x: torch.autograd.functional.vjp(lambda y: y.square() / 2, x, torch.ones_like(x))[1].relu(),
    ),
    "vmapped": (PAIR, product, lambda a, b: torch.vmap(lambda row: row @ b)(a)),
    "multi_stream": (PAIR, product, None),
    "graphed": (drawn(1 << 12), positive, None),
}


def scripted(x):
    return torch.relu(x)


def multi_stream(a, b):
    if not a.is_cuda:
        return a @ b
    side, here = torch.cuda.Stream(), torch.cuda.current_stream()
    side.wait_stream(here)
    with torch.cuda.stream(side):
        out = a @ b
    here.wait_stream(side)
    return out.add(0)


def flex(q, k, v):
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention(q, k, v)


MADE = {
    "compiled": lambda: torch.compile(torch.relu),
    "compiled_matmul": lambda: torch.compile(lambda a, b: a @ b),
    "compiled_max_autotune": lambda: torch.compile(lambda a, b: a @ b, mode="max-autotune-no-cudagraphs"),
    "compiled_attention": lambda: torch.compile(lambda q, k, v: F.scaled_dot_product_attention(q, k, v)),
    "flex_attention": lambda: torch.compile(flex),
    "scripted": lambda: torch.jit.script(scripted),
    "multi_stream": lambda: multi_stream,
    "graphed": lambda: torch.compile(torch.relu, mode="reduce-overhead"),
}


@pytest.mark.perf
@pytest.mark.allclose(2e-3)
@pytest.mark.speedup(2.0)
@pytest.mark.parametrize("name", CASES)
def test_first_use(kbench, name):
    inputs, plain, candidate = CASES[name]

    def several(*args):
        for _ in range(10):
            plain(*args)
        return plain(*args)

    def exact(*args):
        return plain(*(one.double() if one.is_floating_point() else one for one in args))

    kbench(MADE[name]() if candidate is None else candidate, Problem(name, inputs, several, exact))
