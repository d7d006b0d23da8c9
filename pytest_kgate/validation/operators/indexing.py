"""Operators that gather, scatter, route, quantise and pack: integers, fp8 and complex numbers, in and out."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from pytest_kgate.problems.problem import Problem
from pytest_kgate.validation.operators.operator import Operator
from pytest_kgate.validation.operators.operator import integers
from pytest_kgate.validation.operators.operator import normal

_E4M3, _E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
_LARGEST = 448.0
"""Of e4m3."""

Hyper = dict[str, float]


def embedding(large: bool) -> Problem:
    rows, width, tokens = (2**20, 1024, 4096) if large else (300, 32, 40)  # 4 GiB
    return Problem(
        name="embedding of a 4 GiB table",
        inputs=lambda g: (integers(g, rows, tokens), normal(g, rows, width)),
        reference=F.embedding,
        exact=lambda index, table: F.embedding(index, table).double(),
    )


def scatter(large: bool) -> Problem:
    rows, width, count = (1024, 512, 65536) if large else (13, 40, 100)
    return Problem(
        name="scatter with duplicates",
        inputs=lambda g: (normal(g, count, width), integers(g, rows, count), rows),
        reference=lambda x, index, size: x.new_zeros(size, x.shape[1]).index_add_(0, index, x),
        exact=lambda x, index, size: x.double().new_zeros(size, x.shape[1]).index_add_(0, index, x.double()),
    )


def own_scatter(x: Tensor, index: Tensor, size: int) -> Tensor:
    return x.new_zeros(size, x.shape[1]).scatter_add_(0, index[:, None].expand_as(x), x)


def paged_append(large: bool) -> Problem:
    blocks, block, heads, dim, tokens = (4096, 16, 8, 128, 512) if large else (12, 4, 2, 16, 20)

    def draw(g: torch.Generator) -> tuple[Tensor, ...]:
        slots = torch.randperm(blocks * block, generator=g, device=g.device)[:tokens]
        cache = normal(g, blocks, block, heads, dim, dtype=torch.float16)
        return cache, normal(g, tokens, heads, dim, dtype=torch.float16), slots

    def exact(cache: Tensor, keys: Tensor, slots: Tensor) -> Tensor:
        return append_(cache.clone(), keys, slots)

    return Problem(name="paged KV append", inputs=draw, reference=append_, exact=exact, mutates=(0,))


def append_(cache: Tensor, keys: Tensor, slots: Tensor) -> Tensor:
    cache.view(-1, *cache.shape[2:])[slots] = keys
    return cache


def own_append_(cache: Tensor, keys: Tensor, slots: Tensor) -> None:
    block = cache.shape[1]
    cache.index_put_((slots // block, slots % block), keys)


def moe_routing(large: bool) -> Problem:
    tokens, experts = (4096, 64) if large else (60, 8)

    def route(logits: Tensor, k: int) -> dict[str, Tensor]:
        weights, experts_of = torch.topk(torch.softmax(logits, -1), k)
        counts = F.one_hot(experts_of, experts).sum((0, 1))
        return {"weights": weights / weights.sum(-1, keepdim=True), "experts": experts_of, "counts": counts}

    return Problem(
        name="MoE routing",
        inputs=lambda g: (normal(g, tokens, experts), 2),
        reference=route,
        exact=lambda logits, k: route(logits.double(), k),
    )


def own_routing(logits: Tensor, k: int) -> dict[str, Tensor]:
    chosen, experts = torch.topk(logits, k)
    counts = (experts.flatten()[:, None] == torch.arange(logits.shape[-1], device=logits.device)).sum(0)
    return {"weights": torch.softmax(chosen, -1), "experts": experts, "counts": counts}


def rope(large: bool) -> Problem:
    shape = (4, 2048, 8, 64) if large else (2, 11, 3, 16)

    def rotate(x: Tensor, angle: Tensor) -> Tensor:
        return x * torch.polar(torch.ones_like(angle), angle)[:, None]

    return Problem(
        name="complex rope",
        inputs=lambda g: (torch.complex(normal(g, *shape), normal(g, *shape)), normal(g, shape[1], shape[3])),
        reference=rotate,
        exact=lambda x, angle: rotate(x.to(torch.complex128), angle.double()),
    )


def own_rope(x: Tensor, angle: Tensor) -> Tensor:
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    return torch.complex(x.real * cos - x.imag * sin, x.real * sin + x.imag * cos)


def spectrum(large: bool) -> Problem:
    return Problem(
        name="real FFT",
        inputs=lambda g: (normal(g, *((256, 4096) if large else (7, 128))),),
        reference=torch.fft.rfft,
        exact=lambda x: torch.fft.rfft(x.double()),
    )


def fp8_quantise(large: bool) -> Problem:
    def exact(x: Tensor) -> tuple[Tensor, Tensor]:
        scale = x.double().abs().amax(-1, keepdim=True) / _LARGEST
        return x.double() / scale, scale

    shape = (4096, 4096) if large else (37, 96)
    return Problem(
        name="fp8 quantise with scale", inputs=lambda g: (normal(g, *shape),), reference=quantise, exact=exact
    )


def quantise(x: Tensor) -> tuple[Tensor, Tensor]:
    scale = x.abs().amax(-1, keepdim=True) / _LARGEST
    return (x / scale).clamp(-_LARGEST, _LARGEST).to(_E4M3), scale


def fp8_dequantise(large: bool) -> Problem:
    shape = (4096, 4096) if large else (37, 96)
    return Problem(
        name="fp8 e5m2 dequantise",
        inputs=lambda g: (normal(g, *shape).to(_E5M2), normal(g, shape[0], 1).abs()),
        reference=lambda x, scale: (x.float() * scale).half(),
        exact=lambda x, scale: x.double() * scale.double(),
    )


def unpack(large: bool) -> Problem:
    def both(x: Tensor) -> Tensor:
        return torch.stack([x & 15, x >> 4], -1).flatten(-2).to(torch.int8) - 8

    shape = (4096, 2048) if large else (37, 48)
    return Problem(
        name="unpack int4",
        inputs=lambda g: (integers(g, 256, *shape, dtype=torch.uint8),),
        reference=both,
        exact=lambda x: both(x).to(torch.int64),
    )


def histogram(large: bool) -> Problem:
    count = 2**22 if large else 3000
    return Problem(
        name="histogram",
        inputs=lambda g: (integers(g, 256, count, dtype=torch.uint8),),
        reference=counted,
        exact=counted,
    )


def counted(x: Tensor) -> Tensor:
    counts = torch.zeros(256, dtype=torch.int64, device=x.device)
    return counts.index_add_(0, x.int(), torch.ones_like(x, dtype=torch.int64))


def own_histogram(x: Tensor) -> Tensor:
    counts = torch.zeros(256, dtype=torch.int64, device=x.device)
    return counts.scatter_add_(0, x.long(), torch.ones_like(x, dtype=torch.int64))


def adam(large: bool) -> Problem:
    count = 2**22 if large else 3000

    def exact(p: Tensor, grad: Tensor, state: dict[str, Tensor], hyper: Hyper) -> tuple[Tensor, ...]:
        p, state = p.double().clone(), {name: one.double().clone() for name, one in state.items()}
        adam_(p, grad.double(), state, hyper)
        return p, state["mean"], state["square"]

    return Problem(
        name="Adam step",
        inputs=lambda g: (
            normal(g, count),
            normal(g, count),
            {"mean": normal(g, count) * 0.1, "square": normal(g, count).square() * 0.1},
            {"lr": 0.5, "beta1": 0.9, "beta2": 0.99},
        ),
        reference=adam_,
        exact=exact,
        mutates=(0, 2),
    )


def adam_(p: Tensor, grad: Tensor, state: dict[str, Tensor], hyper: Hyper) -> None:
    state["mean"].lerp_(grad, 1 - hyper["beta1"])
    state["square"].mul_(hyper["beta2"]).addcmul_(grad, grad, value=1 - hyper["beta2"])
    p.addcdiv_(state["mean"], state["square"].sqrt().add_(1e-6), value=-hyper["lr"])


OPERATORS = (
    Operator("a large table, int64 indices", embedding, lambda index, table: table[index]),
    Operator("sums at duplicate places", scatter, own_scatter),
    Operator("in place, few places changed", paged_append, own_append_),
    Operator("a dict of floats and integers", moe_routing, own_routing),
    Operator("complex64", rope, own_rope),
    Operator("real in, complex out", spectrum, lambda x: torch.fft.fft(x)[..., : x.shape[-1] // 2 + 1].clone()),
    Operator("fp8 e4m3 out, two outputs", fp8_quantise, lambda x: quantise(x)),
    Operator("fp8 e5m2 in", fp8_dequantise, lambda x, scale: (x.to(torch.float32) * scale).to(torch.float16)),
    Operator("uint8 in, int8 out", unpack, lambda x: torch.stack([x % 16, x // 16], -1).flatten(-2).to(torch.int8) - 8),
    Operator("integer counts", histogram, own_histogram),
    Operator("in place in a dict, numbers in a dict", adam, lambda p, g, s, h: adam_(p, g, s, h)),
)
