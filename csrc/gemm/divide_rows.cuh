// The last step of attention by whole matrices: what a library's product of exponentials and V returned, divided by the
// rows' sums and rounded once.
#pragma once

#include <cstring>
#include <type_traits>

#include "cuda/conversions.cuh"
#include "cuda/debug_assert.cuh"
#include "cuda/launch.cuh"
#include "cuda/tile_walk.cuh"
#include "gemm/logit_chunks.cuh"

namespace kgate {
namespace {

struct DivideArgs {
    SdpaArgsV1 sdpa;
    LogitChunk chunk;
    const void* outputs;      // (slices, rows, head_dim) of Element
    const void* corrections;  // to be added to them; read only where Terms is 2
    const float* sums;        // (slices, rows)
    float scale;              // of the quotient
};

constexpr int kDivideThreads = 256;

template <typename Element>
__device__ void load_outputs(const void* base, int64_t index, float (&values)[8]) {
    const Element* const source = static_cast<const Element*>(base) + index;
    if constexpr (std::is_same_v<Element, float>) {
        memcpy(values, __builtin_assume_aligned(source, 16), 32);
    } else {
        load_8(source, values);
    }
}

// O = scale * (outputs + corrections) / sums, eight columns a thread.
template <typename T, typename Element, int Terms, int D>
__global__ void __launch_bounds__(kDivideThreads) divide_rows(const __grid_constant__ DivideArgs all) {
    const SdpaArgsV1& args = all.sdpa;
    const LogitChunk& chunk = all.chunk;
    constexpr int kEights = D / 8;
    const int blocks = ceil_div(chunk.rows * kEights, kDivideThreads);  // of a slice
    const int slice = blockIdx.x / blocks;
    const int eight = blockIdx.x % blocks * kDivideThreads + threadIdx.x;
    const int row = eight / kEights;  // within the chunk
    const int column = eight % kEights * 8;
    if (row >= chunk.rows) return;

    const int64_t line = static_cast<int64_t>(slice) * chunk.rows + row;
    float values[8], more[Terms == 2 ? 8 : 1];
    load_outputs<Element>(all.outputs, line * D + column, values);
    if constexpr (Terms == 2) load_outputs<Element>(all.corrections, line * D + column, more);
    const float sum = all.sums[line];
    DEBUG_ASSERT(sum > 0.99f && sum < chunk.keys * 1.01f + 1.0f);  // the largest of at most `keys` terms is 1
    const float factor = all.scale / sum;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        if constexpr (Terms == 2) values[i] += more[i];
        values[i] *= factor;
    }
    T* const o = chunk_pointer(static_cast<T*>(args.o), args.o_stride, chunk, slice);
    store_8(o + (chunk.row + row) * args.o_stride[2] + column, values);
}

template <typename T, typename Element, int Terms, int D>
int launch_divide_rows(const DivideArgs& args, void* stream) {
    const int64_t blocks =
        static_cast<int64_t>(ceil_div(args.chunk.rows * (D / 8), kDivideThreads)) * slices_of(args.chunk);
    return launch<divide_rows<T, Element, Terms, D>>(args, blocks, kDivideThreads, 0, stream);
}

}  // namespace
}  // namespace kgate
