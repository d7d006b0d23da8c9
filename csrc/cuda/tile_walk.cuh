// Which query rows of which head a block works on, and where those start in memory.
#pragma once

#include "cuda/launch.cuh"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#error "These kernels use cp.async: compile for sm_80 or newer."
#endif

namespace kgate {
namespace {

__host__ __device__ constexpr int ceil_div(int a, int b) { return a / b + (a % b != 0); }  // a + b - 1 could overflow
__host__ __device__ constexpr int max_of(int a, int b) { return a > b ? a : b; }
__host__ __device__ constexpr int min_of(int a, int b) { return a < b ? a : b; }

// What a block works on: which head, which query rows, how many keys they may see.
struct Tile {
    int batch, head;
    int first_row;  // of BLOCK_M query rows
    int keys;       // keys [0, keys) are all that any row of the tile attends to
};

// `index`: the block's place in the grid, unless several blocks share a tile.
__device__ inline Tile find_tile(const SdpaArgsV1& args, int block_m, unsigned index = blockIdx.x) {
    const unsigned tiles = ceil_div(args.seqlen, block_m);
    const unsigned slice = index / tiles;  // neighbours in the grid share a head, hence its K and V in L2
    // Not from `slice`: a division that waits for another costs 0.1 us.
    const unsigned batch = index / (tiles * args.heads);
    int tile = index - slice * tiles;
    // A causal tile's work grows with its index: the longest start first, so that none of them is the straggler.
    if (args.causal) tile = static_cast<int>(tiles) - 1 - tile;
    const int first_row = tile * block_m;
    const int keys = args.causal ? min(args.seqlen - first_row, block_m) + first_row : args.seqlen;
    return {static_cast<int>(batch), static_cast<int>(slice - batch * args.heads), first_row, keys};
}

// The strides of batch and head come first.
template <typename T, int N>
__device__ T* head_pointer(T* base, const int64_t (&stride)[N], const Tile& tile) {
    return base + tile.batch * stride[0] + tile.head * stride[1];
}

// While loads are under way: a kernel ends when its stores are through, and the first of them has its page looked up.
__device__ inline void prefetch_output_page(const void* o) { asm volatile("prefetch.global.L2 [%0];" : : "l"(o)); }

}  // namespace
}  // namespace kgate
