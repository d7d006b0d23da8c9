// Merging what the warps of a block, and the blocks of a cluster, have made of the same 16 rows and different keys.
#pragma once

#include "cuda/cluster.cuh"
#include "cuda/exp2.cuh"
#include "cuda/tile_walk.cuh"

namespace kgate {
namespace {

constexpr int kDecodeRows = 16;
constexpr int kMostSplits = 16;  // blocks of a cluster

// Merges `Count` partial results: `statistic(i)` is base and sum of row's i-th, `output(i)` a pair of its columns.
// Gives base and sum as well. One that has seen no key has no base, and no weight.
template <bool Fast, int Count, typename Statistic, typename Output>
__device__ float2 merge_pair(float2& total, const Statistic& statistic, const Output& output) {
    float greatest = -INFINITY;
#pragma unroll
    for (int i = 0; i < Count; ++i) greatest = fmaxf(greatest, statistic(i).x);
    float2 pair = {0.0f, 0.0f};
    total = {greatest, 0.0f};
#pragma unroll
    for (int i = 0; i < Count; ++i) {
        const float2 one = statistic(i);
        const float weight = exp2_of<Fast>(one.x - finite_max(greatest));
        const float2 columns = output(i);
        total.y += weight * one.y;
        pair.x += weight * columns.x;
        pair.y += weight * columns.y;
    }
    return pair;
}

// Pairs of columns are numbered row by row. Each block of a cluster makes a part of the pairs from what all of them
// send to it. A warp's partial result takes the place of its ring, which has RingBytes.
template <int D, int Warps, int RingBytes, bool Fast>
struct DecodeMerge {
    static constexpr int kStride = D + 8;               // floats: stores of pairs meet no bank conflict
    static constexpr int kOfWarps = Warps * RingBytes;  // base and sum of each row, of each warp,
    static constexpr int kOfBlocks = kOfWarps + Warps * kDecodeRows * 8;  // and of each block
    static constexpr int kReceived = kOfBlocks + kMostSplits * kDecodeRows * 8;
    static constexpr int kBytes = kReceived + (kDecodeRows * D / 2 + kMostSplits) * 8;

    unsigned char* shared;
    unsigned address;  // of `shared`
    int rows;          // that exist, at most 16

    __device__ int pairs() const { return rows * (D / 2); }

    // Each warp, whose ring nobody uses any more.
    template <typename Partial>
    __device__ void put(const Partial& partial, int warp) const {
        static_assert(kDecodeRows * kStride * 4 <= RingBytes, "a partial result must fit in its warp's ring.");
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int row = lane / 4 + 8 * h;
            if (row >= rows) break;
            float* const target = reinterpret_cast<float*>(shared + warp * RingBytes) + row * kStride + lane % 4 * 2;
#pragma unroll
            for (int d = 0; d < D / 8; ++d) {
                *reinterpret_cast<float2*>(target + d * 8) =
                    make_float2(partial.output[d][2 * h], partial.output[d][2 * h + 1]);
            }
            const float sum = partial.row_sum[h];
            if (lane % 4 == 0) {
                reinterpret_cast<float2*>(shared + kOfWarps)[warp * kDecodeRows + row] =
                    make_float2(sum > 0.0f ? partial.base[h] : -INFINITY, sum);
            }
        }
    }

    // Pair `i` of all warps of the block, and base and sum of its row, behind a barrier.
    __device__ float2 of_block(int i, float2& total) const {
        const int row = i / (D / 2);
        const float2* const statistics = reinterpret_cast<const float2*>(shared + kOfWarps);
        const unsigned char* const from = shared + (row * kStride + i % (D / 2) * 2) * 4;
        return merge_pair<Fast, Warps>(
            total, [&](int w) { return statistics[w * kDecodeRows + row]; },
            [&](int w) { return *reinterpret_cast<const float2*>(from + w * RingBytes); });
    }

    // To all blocks of the cluster, which run, what this one has of their pairs.
    template <int Splits>
    __device__ void send(int rank) const {
        const int part = ceil_div(pairs(), Splits);
        const unsigned received = address + kReceived + rank * part * 8;
        const unsigned statistic = address + kOfBlocks + rank * kDecodeRows * 8;
        for (int i = threadIdx.x; i < pairs(); i += Warps * 32) {
            float2 total;
            const float2 pair = of_block(i, total);
            const int to = i / part;
            store_remote(address_in_block(received + (i - to * part) * 8, to), pair);
            if (i % (D / 2) == 0) {
#pragma unroll
                for (int s = 0; s < Splits; ++s) store_remote(address_in_block(statistic + i / (D / 2) * 8, s), total);
            }
        }
    }

    // Calls store(i, pair, total) for this block's part of the pairs, behind a barrier of the cluster.
    template <int Splits, typename Store>
    __device__ void receive(int rank, const Store& store) const {
        const int part = ceil_div(pairs(), Splits);
        const float2* const statistics = reinterpret_cast<const float2*>(shared + kOfBlocks);
        const float2* const received = reinterpret_cast<const float2*>(shared + kReceived);
        for (int i = threadIdx.x; i < min(part, pairs() - rank * part); i += Warps * 32) {
            const int place = rank * part + i;
            float2 total;
            const float2 pair = merge_pair<Fast, Splits>(
                total, [&](int s) { return statistics[s * kDecodeRows + place / (D / 2)]; },
                [&](int s) { return received[s * part + i]; });
            store(place, pair, total);
        }
    }
};

}  // namespace
}  // namespace kgate
