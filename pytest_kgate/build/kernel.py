"""A built attention kernel as a Python callable: the candidate of a race."""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal
from typing import overload

from pytest_kgate.build import includes
from pytest_kgate.build import library
from pytest_kgate.build import vendor_libraries
from pytest_kgate.build.arguments import Checker
from pytest_kgate.build.compiler import ninja
from pytest_kgate.build.compiler.confined import Confined
from pytest_kgate.build.compiler.confined import may_not_read
from pytest_kgate.build.compiler.ninja import BuildResult
from pytest_kgate.build.compiler.recipe import Recipe
from pytest_kgate.build.compiler.recipe import recipe
from pytest_kgate.build.registry import Source
from pytest_kgate.build.registry import check_knobs
from pytest_kgate.build.registry import find_source
from pytest_kgate.errors import BuildError
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import UsageError
from pytest_kgate.system.pytorch import require_torch

if TYPE_CHECKING:
    from torch import Tensor

_UNKNOWN = -1
"""In place of the number of an element type that no kernel takes."""


class Kernel:
    """`kernel(q, k, v)`: softmax(scale * q k^T) v, and more where asked, by one build of one source."""

    name: str
    """For tables: `wmma(BLOCK_M=64)`."""

    implementation: str | None
    """None for a user's own file."""

    knobs: dict[str, int]
    """Those that were asked for; the others have the source's defaults."""

    device_kind: str
    """`cuda` or `host`: where its tensors must be."""

    build: BuildResult

    source: Path
    """The file that it was built from."""

    libraries: tuple[str, ...]
    """Libraries whose kernels it says that it calls, by the names in vendor_libraries.py."""

    def __init__(self, source: Source, knobs: dict[str, int], name: str, build: BuildResult) -> None:
        require_torch()
        import torch

        self.name = self.__name__ = name
        self.implementation = source.implementation
        self.source = source.path
        self.knobs = knobs
        self.device_kind = source.device_kind
        self.build = build
        self.libraries = source.libraries
        self._library = library.open_library(build.path, name)
        self._sdpa = self._library.sdpa
        self._workspace_bytes = self._library.workspace_bytes if self._library.has_workspace else None
        self._torch = torch
        self._on_cuda = source.device_kind == "cuda"
        self._device_type = "cuda" if self._on_cuda else "cpu"
        # The numbers of kgate::Dtype in csrc/sdpa.h. 8 bits are never plain: they have scales, and another output.
        self._dtypes = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
        self._all_dtypes = {**self._dtypes, torch.float8_e4m3fn: 3}
        self._checker = Checker(name, self._device_type, tuple(self._all_dtypes))

    def __repr__(self) -> str:
        return f"<Kernel {self.name} on {self.device_kind}, {self.build.arch}>"

    # Type checkers need all parameters once more for each value of `return_lse`, by which the answer's type differs.
    @overload
    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None = None,
        q_scale: Tensor | None = None,
        k_scale: Tensor | None = None,
        v_scale: Tensor | None = None,
        *,
        is_causal: bool = False,
        scale: float | None = None,
        window: int | None = None,
        softcap: float | None = None,
        return_lse: Literal[False] = False,
        out: Tensor | None = None,
    ) -> Tensor: ...

    @overload
    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None = None,
        q_scale: Tensor | None = None,
        k_scale: Tensor | None = None,
        v_scale: Tensor | None = None,
        *,
        is_causal: bool = False,
        scale: float | None = None,
        window: int | None = None,
        softcap: float | None = None,
        return_lse: Literal[True],
        out: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]: ...

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None = None,
        q_scale: Tensor | None = None,
        k_scale: Tensor | None = None,
        v_scale: Tensor | None = None,
        *,
        is_causal: bool = False,
        scale: float | None = None,
        window: int | None = None,
        softcap: float | None = None,
        return_lse: bool = False,
        out: Any = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attention of `(batch, heads, seqlen, head_dim)` tensors, enqueued on the current stream.

        `k` and `v` are `(batch, kv_heads, kv_seqlen, head_dim)`, where kv_heads divides heads, and `bias`, added to
        the scores, is `(batch, heads, seqlen, kv_seqlen)`, of which the first three may be 1. The last dimension must
        be contiguous. The last query stands at the last key; csrc/sdpa.h says in full what is computed. `scale` is
        1/sqrt(head_dim) by default, `window` is in keys.

        `q`, `k` and `v` of float8_e4m3fn, whose answer is bfloat16, are multiplied by `q_scale`, `k_scale`, `v_scale`:
        float32 tensors of a number for each head, or of one. `out` is written to and returned; a new tensor without it.
        With `return_lse` it is a pair, whose second part is the natural logarithm of each row's sum, `(batch, heads,
        seqlen)` in float32. Gradients are not tracked. Raises `UsageError` for arguments that no kernel takes,
        `CandidateError` for those that this one refuses, with its own message, or has not declared.
        """
        torch = self._torch
        lse: Tensor | None = None
        beyond: library.Beyond | None = None
        try:
            o = torch.empty_like(q) if out is None else out
            shape, device, dtype = q.shape, q.device, q.dtype
            q_stride, k_stride, v_stride, o_stride = q.stride(), k.stride(), v.stride(), o.stride()
            number = self._dtypes.get(dtype, _UNKNOWN)
            plain = (
                shape == k.shape == v.shape == o.shape
                and len(shape) == 4
                and device == k.device == v.device == o.device
                and device.type == self._device_type
                and dtype == k.dtype == v.dtype == o.dtype
                and number != _UNKNOWN
                and (q_stride[3] == k_stride[3] == v_stride[3] == o_stride[3] == 1 or shape[3] == 1)
                and bias is None
                and window is None
                and softcap is None
                and q_scale is k_scale is v_scale is None
                and not return_lse
            )
        except (AttributeError, TypeError, IndexError):
            plain = False
        if not plain:
            scales = self._checker.scales(q, k, v, (q_scale, k_scale, v_scale))
            o, lse, beyond = self._checker.outputs_and_beyond(q, k, v, bias, window, softcap, return_lse, out, scales)
            shape, device, number = q.shape, q.device, self._all_dtypes[q.dtype]
            q_stride, k_stride, v_stride, o_stride = q.stride(), k.stride(), v.stride(), o.stride()
        if scale is None:
            scale = 1.0 / math.sqrt(shape[3] or 1)  # what is empty is refused below
        space, size = 0, 0
        if self._workspace_bytes is not None:
            size = self._workspace_bytes(shape, is_causal, number, beyond)
            # From the caching allocator, on the stream of the call: it is not given to others before that call is
            # over, and within a graph it is part of the graph's own memory.
            workspace = torch.empty(size, dtype=torch.uint8, device=device)
            space = workspace.data_ptr()
        on_cuda = self._on_cuda
        # What `torch.cuda.current_stream(device).cuda_stream` is, without making a Stream object at each call.
        stream = torch._C._cuda_getCurrentRawStream(device.index) if on_cuda else 0
        # fmt: off
        call = (
            q.data_ptr(), k.data_ptr(), v.data_ptr(), o.data_ptr(), shape, q_stride, k_stride, v_stride, o_stride,
            scale, is_causal, number, stream, space, size, beyond,
        )
        # fmt: on
        if on_cuda and torch.cuda.current_device() != device.index:
            with torch.cuda.device(device):
                code = self._sdpa(*call)
        else:
            code = self._sdpa(*call)
        if code:
            raise self._failure(code)
        return o if lse is None else (o, lse)

    def _failure(self, code: int) -> Exception:
        binding = library.binding()
        if code == binding.OUTPUT_OVERLAPS_INPUT:
            return UsageError(
                f"{self.name}: out overlaps the memory of q, k or v, of the bias, or of its other part.",
                "Pass an output of its own, or none.",
            )
        if code == binding.OUTPUT_OVERLAPS_ITSELF:
            return UsageError(f"{self.name}: rows of out overlap each other in memory.", "Pass torch.empty_like(q).")
        if code == binding.EMPTY_OR_TOO_LARGE:
            return UsageError(
                f"{self.name}: the inputs are empty, or an extent does not fit 31 bits.", "Check their shape."
            )
        if code == binding.GROUPS_DO_NOT_FOLD:
            return UsageError(
                f"{self.name} takes grouped heads as more batches, and in these tensors no one stride leads from group "
                f"to group through all batches.",
                "Pass tensors that are contiguous as (batch, heads, seqlen, head_dim), or one batch at a time.",
            )
        if code >= binding.NOT_DECLARED:
            missing = ", ".join(binding.feature_names(code - binding.NOT_DECLARED))
            return CandidateError(
                f"{self.name} can't be asked for: {missing}. It has not declared that it computes this.",
                "Choose a kernel that does, or handle it and return it from kgate_sdpa_features (csrc/sdpa.h).",
            )
        text = self._library.message().strip() or "it gave no message (kgate_message)."
        return CandidateError(f"{self.name} refused the call or failed (code {code}): {text}", "")


def load_kernel(
    name_or_path: str | PathLike[str],
    knobs: Mapping[str, int] | None = None,
    *,
    arch: str | None = None,
    debug: bool = False,
) -> Kernel:
    """A shipped implementation, or a user's own `.cu` or `.cpp` file, built (once, cached) and loaded.

    `arch` is for CUDA, None the current device's; `debug` turns on the kernel's own device asserts.
    Loading needs no GPU. Raises `UsageError` for an unknown name, file or knob, `ToolchainMissing`, `LibraryMissing`,
    `BuildError` with the compiler's output.
    """
    return Kernel(*build_kernel(name_or_path, knobs or {}, arch=arch, debug=debug))


def build_kernel(
    name_or_path: str | PathLike[str],
    knobs: Mapping[str, int],
    *,
    arch: str | None,
    debug: bool,
    confined: Confined | None = None,
) -> tuple[Source, dict[str, int], str, BuildResult]:
    """What `load_kernel` makes a kernel of: source, knobs, name and build. Its library is not opened.

    With `confined`, a file that is no shipped implementation is not trusted, and compiled so.
    """
    source = find_source(name_or_path, trusted=confined is None)
    confined = None if source.implementation else confined
    checked = check_knobs(source, knobs)
    how = recipe(source, checked, arch=arch, debug=debug, confined=confined)
    if confined is not None:
        for name in includes.own_files(source.path, how.include)[1]:
            raise may_not_read(how.title, name)
    vendor_libraries.need(source.libraries, source.name)
    return source, checked, how.title, ninja.checked(how, _built([how])[0])


def prepare(
    wanted: Iterable[tuple[str | PathLike[str], Mapping[str, int]]],
    *,
    arch: str | None = None,
    debug: bool = False,
) -> list[BuildResult | BuildError]:
    """Build many kernels at once on all cores, so that each `load_kernel` afterwards finds its library.

    A source that does not compile has its error in its place. Raises as `load_kernel` does for all else.
    """
    recipes = []
    for name_or_path, knobs in wanted:
        source = find_source(name_or_path)
        recipes.append(recipe(source, check_knobs(source, knobs), arch=arch, debug=debug))
    return _built(recipes)


def _built(recipes: list[Recipe]) -> list[BuildResult | BuildError]:
    # The very first build compiles the binding beside the kernels instead of after them.
    return ninja.build_many([*recipes, *library.pending()])[: len(recipes)]
