// The rows of a chunk's logits become exp(x - max) in 16 bits, in their place, and its sum: a softmax that is divided
// later.
//
// One warp owns a row: its maximum, its sum, and the only copy of its logits. Up to 2048 keys stay in registers between
// the reduction and the writing, four neighbours a lane for each step of 128 keys; longer rows are read twice. What is
// written starts where the logits of the row start: everything that it overwrites has been read by then.
#pragma once

#include <type_traits>

#include "cuda/conversions.cuh"
#include "cuda/debug_assert.cuh"
#include "cuda/exp2.cuh"
#include "cuda/launch.cuh"
#include "gemm/logit_chunks.cuh"

namespace kgate {
namespace {

struct SoftmaxArgs {
    LogitChunk chunk;
    int32_t causal;
    void* logits;  // (slices, rows, ld) of Logits, in units of log2(e); on return T, row by row from the same places
    const void* corrections;  // to be added to the logits; read only where Terms is 2
    float* sums;              // (slices, rows), of what is written
};

// Four neighbours, of which the first `there` have been written; what is behind those stays as it was.
template <typename Logits>
__device__ void load_4(const void* base, int64_t index, int there, float (&x)[4]) {
    if (there < 4) {
        const Logits* const own = static_cast<const Logits*>(base) + index;
#pragma unroll
        for (int i = 0; i < 3; ++i) {
            if (i < there) x[i] = static_cast<float>(own[i]);
        }
        return;
    }
    if constexpr (std::is_same_v<Logits, float>) {
        const float4 four = *reinterpret_cast<const float4*>(static_cast<const float*>(base) + index);
        x[0] = four.x, x[1] = four.y, x[2] = four.z, x[3] = four.w;
    } else {
        const uint2 raw = *reinterpret_cast<const uint2*>(static_cast<const Logits*>(base) + index);
        typename Pair<Logits>::type pairs[2];
        memcpy(pairs, &raw, 8);
        const float2 low = Pair<Logits>::to_float(pairs[0]), high = Pair<Logits>::to_float(pairs[1]);
        x[0] = low.x, x[1] = low.y, x[2] = high.x, x[3] = high.y;
    }
}

template <typename T, typename Logits, int Terms, int Steps, int Warps, bool Fast>
__global__ void __launch_bounds__(Warps * 32) row_softmax(const __grid_constant__ SoftmaxArgs args) {
    const LogitChunk& chunk = args.chunk;
    const int lane = threadIdx.x % 32;
    const int64_t row = static_cast<int64_t>(blockIdx.x) * Warps + threadIdx.x / 32;
    if (row >= static_cast<int64_t>(slices_of(chunk)) * chunk.rows) return;
    const int keys = args.causal ? chunk.row + static_cast<int>(row % chunk.rows) + 1 : chunk.keys;
    T* const p = static_cast<T*>(args.logits) + row * chunk.ld * (sizeof(Logits) / sizeof(T));

    float x[Steps][4];
    const auto load = [&](int first) {
        float more[Terms == 2 ? Steps : 1][4];
#pragma unroll
        for (int c = 0; c < Steps; ++c) {  // nothing but loads: all are under way before the first is waited for
            const int key = first + (c * 32 + lane) * 4;
            if (key < keys) {  // what lies behind the chunk's last key nobody has written
                load_4<Logits>(args.logits, row * chunk.ld + key, chunk.keys - key, x[c]);
                if constexpr (Terms == 2)
                    load_4<Logits>(args.corrections, row * chunk.ld + key, chunk.keys - key, more[c]);
            }
        }
#pragma unroll
        for (int c = 0; c < Steps; ++c) {
            const int key = first + (c * 32 + lane) * 4;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                if constexpr (Terms == 2) x[c][i] += more[c][i];
                x[c][i] = key + i < keys ? x[c][i] : -INFINITY;
            }
        }
    };
    constexpr int kTile = Steps * 128;

    float maximum = -INFINITY;
#pragma unroll 1
    for (int first = 0; first < keys; first += kTile) {
        load(first);
        float higher = maximum;
#pragma unroll
        for (int c = 0; c < Steps; ++c) {
            higher = fmaxf(fmaxf(fmaxf(higher, x[c][0]), fmaxf(x[c][1], x[c][2])), x[c][3]);
        }
#pragma unroll
        for (int other = 16; other > 0; other /= 2) higher = fmaxf(higher, __shfl_xor_sync(0xffffffff, higher, other));
        maximum = higher;
    }
    DEBUG_ASSERT(maximum > -INFINITY);  // every row sees a key

    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};  // four, so that an addition need not wait for the one before
#pragma unroll 1
    for (int first = 0; first < chunk.ld; first += kTile) {
        if (first > 0 || keys > kTile) load(first);  // else they are still here
#pragma unroll
        for (int c = 0; c < Steps; ++c) {
#pragma unroll
            for (int i = 0; i < 4; ++i) x[c][i] = exp2_of<Fast>(x[c][i] - maximum);
        }
        __syncwarp();  // what is overwritten now has been read by all lanes
#pragma unroll
        for (int c = 0; c < Steps; ++c) {
            const int key = first + (c * 32 + lane) * 4;
            if (key < chunk.ld) {
                typename Pair<T>::type pairs[2];
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    pairs[i] = Pair<T>::from_float(x[c][2 * i], x[c][2 * i + 1]);
                    const float2 rounded = Pair<T>::to_float(pairs[i]);
                    sums[2 * i] += rounded.x;
                    sums[2 * i + 1] += rounded.y;
                }
                uint2 raw;
                memcpy(&raw, pairs, 8);
                *reinterpret_cast<uint2*>(p + key) = raw;
            }
        }
        __syncwarp();
    }
    float sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
#pragma unroll
    for (int other = 16; other > 0; other /= 2) sum += __shfl_xor_sync(0xffffffff, sum, other);
    DEBUG_ASSERT(sum > 0.99f && sum < keys * 1.01f + 1.0f);  // the largest of at most `keys` terms is 1
    if (lane == 0) args.sums[row] = sum;
}

template <typename T, typename Logits, int Terms, int Steps, int Warps, bool Fast>
int launch_row_softmax(const SoftmaxArgs& args, void* stream) {
    const int64_t rows = static_cast<int64_t>(slices_of(args.chunk)) * args.chunk.rows;
    constexpr auto kKernel = row_softmax<T, Logits, Terms, Steps, Warps, Fast>;
    return launch<kKernel>(args, (rows + Warps - 1) / Warps, Warps * 32, 0, stream);
}

// Enqueues it with as many registers as the rows ask for.
template <typename T, typename Logits, int Terms, int Warps, bool Fast>
int softmax_rows(const SoftmaxArgs& args, void* stream) {
    if (args.chunk.keys <= 256) return launch_row_softmax<T, Logits, Terms, 2, Warps, Fast>(args, stream);
    if (args.chunk.keys <= 512) return launch_row_softmax<T, Logits, Terms, 4, Warps, Fast>(args, stream);
    if (args.chunk.keys <= 1024) return launch_row_softmax<T, Logits, Terms, 8, Warps, Fast>(args, stream);
    return launch_row_softmax<T, Logits, Terms, 16, Warps, Fast>(args, stream);
}

}  // namespace
}  // namespace kgate
