// What the CUDA kernels share on the device: the walk over tiles, cp.async, 16-bit conversions, the exponential.
#pragma once

#include <cassert>

#include "cuda/launch.cuh"

// What must hold inside a kernel. Checked on the device in debug builds, kernels("name", debug=True), where a false
// condition ends the launch with its text, line, block and thread; gone from all other builds, without a trace.
#ifdef KGATE_DEBUG
#define DEBUG_ASSERT(condition) assert(condition)
#else
#define DEBUG_ASSERT(condition) ((void)0)
#endif

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#error "These kernels use cp.async: compile for sm_80 or newer."
#endif

namespace kgate {
namespace {

// ------------------------------------------------------------------------------------------------------------ tile walk

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
__device__ inline Tile find_tile(const SdpaArgs& args, int block_m, unsigned index = blockIdx.x) {
    const unsigned tiles = ceil_div(args.seqlen, block_m);
    const unsigned slice = index / tiles;  // neighbours in the grid share a head, hence its K and V in L2
    const unsigned batch = index / (tiles * args.heads);  // not from `slice`: a division that waits for another costs 0.1 us
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
__device__ inline void announce_stores(const void* o) { asm volatile("prefetch.global.L2 [%0];" ::"l"(o)); }

// ------------------------------------------------------------------------------------------------------------ cp.async

// Copies 16 bytes to shared memory, or fills them with zeros without reading `global` when `valid` is false.
__device__ inline void cp_async_16(void* shared, const void* global, bool valid) {
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes) : "memory");
}

// Closes a group of copies. Waits count groups, not copies: commit in every iteration, even when nothing was copied.
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most Pending of this thread's latest groups are under way. Other threads' copies need a barrier too.
template <int Pending>
__device__ inline void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// Starts copying rows [first, first + Rows) of a (rows, D) matrix into shared memory with Stride elements a row. Rows from
// `rows` on become zeros: they belong to the next head, or to nobody. Threads copy, this one as number `thread` of them.
template <typename T, int Rows, int D, int Stride, int Threads>
__device__ void copy_rows_async(T* shared, const T* global, int64_t row_stride, int first, int rows,
                                int thread = threadIdx.x) {
    constexpr int kChunks = D / 8;
#pragma unroll 1  // unrolled, the addresses cost up to 40 registers a thread, and with them a second block on the SM
    for (int i = 0; i < ceil_div(Rows * kChunks, Threads); ++i) {
        const int chunk = i * Threads + thread;
        if (Rows * kChunks % Threads != 0 && chunk >= Rows * kChunks) break;
        const int row = chunk / kChunks;
        const int column = chunk % kChunks * 8;
        const bool valid = first + row < rows;
        const T* source = valid ? global + (first + row) * row_stride + column : global;
        cp_async_16(shared + row * Stride + column, source, valid);
    }
}

// ---------------------------------------------------------------------------------------------------------- conversions

template <typename T>
struct Pair;  // two 16-bit numbers in 32 bits

template <>
struct Pair<__half> {
    using type = __half2;
    static __device__ float2 to_float(type x) { return __half22float2(x); }
    static __device__ type from_float(float a, float b) { return __floats2half2_rn(a, b); }
};

template <>
struct Pair<__nv_bfloat16> {
    using type = __nv_bfloat162;
    static __device__ float2 to_float(type x) { return __bfloat1622float2(x); }
    static __device__ type from_float(float a, float b) { return __floats2bfloat162_rn(a, b); }
};

// Eight consecutive elements, 16-byte aligned, as one 128-bit load or store.
template <typename T>
__device__ void load_8(const T* source, float (&values)[8]) {
    const uint4 raw = *reinterpret_cast<const uint4*>(source);
    const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        typename Pair<T>::type pair;
        memcpy(&pair, &words[i], 4);
        const float2 both = Pair<T>::to_float(pair);
        values[2 * i] = both.x;
        values[2 * i + 1] = both.y;
    }
}

template <typename T>
__device__ void store_8(T* target, const float (&values)[8]) {
    unsigned words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const typename Pair<T>::type pair = Pair<T>::from_float(values[2 * i], values[2 * i + 1]);
        memcpy(&words[i], &pair, 4);
    }
    *reinterpret_cast<uint4*>(target) = make_uint4(words[0], words[1], words[2], words[3]);
}

// -------------------------------------------------------------------------------------------------------------- softmax

constexpr float kLog2E = 1.4426950408889634f;  // folded into the scale, so that exp(x) is one exp2

template <bool Fast>
__device__ float exp2_of(float x) {
    if constexpr (Fast) {
        float y;  // 2 ulp, subnormal results become 0: both far below what a 16-bit probability resolves
        asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
        return y;
    } else {
        return exp2f(x);
    }
}

// What to subtract from a row's logits. While every key so far was masked the maximum is -inf, and -inf - -inf is NaN.
__device__ inline float finite_max(float maximum) { return maximum == -INFINITY ? 0.0f : maximum; }

}  // namespace
}  // namespace kgate
