// Merging what the blocks of a cluster, of four warps each, have made of the same 64 rows and different keys.
#pragma once

#include "cuda/cluster.cuh"
#include "cuda/conversions.cuh"
#include "cuda/debug_assert.cuh"
#include "cuda/exp2.cuh"
#include "cuda/mbarrier.cuh"
#include "cuda/mma_sync.cuh"
#include "cuda/tma.cuh"

namespace kgate {
namespace {

// Each block owns Columns / Ranks tiles of eight columns, and is sent the others' part of those. A store between blocks
// carries its own completion: the receiver's mbarrier counts the bytes, where a barrier of the cluster would wait for
// acknowledgements first. Maxima and sums have an mbarrier of their own, because they can be sent, and worked on, while
// the output is not ready.
//
// There is no branch on the rank: what runs is one stretch of code, which the instruction cache fetches ahead.
template <typename T, int Columns, int Ranks, bool Fast>
struct ClusterMerge {
    static constexpr int kOwned = Columns / Ranks;
    static constexpr int kOthers = Ranks - 1;
    static constexpr int kTiles = 16 + kOthers * 64 * 8;  // offset: behind the barriers, and (maximum, sum) of each row
    static constexpr int kBytes = Ranks > 1 ? kTiles + kOthers * 4 * kOwned * 512 : 0;
    static_assert(Columns % Ranks == 0, "each block owns as many columns.");

    unsigned area;  // address in shared memory, the same in all blocks
    int rank;

    __device__ unsigned row_statistics(int other) const {
        return area + 16 + (other * 64 + threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4) * 8;
    }
    __device__ unsigned tile(int other, int column) const {
        return area + kTiles + ((other * 4 + threadIdx.x / 32) * kOwned + column) * 512 + threadIdx.x % 32 * 16;
    }

    // At the start, by one thread; mbarrier_fence, and a barrier of the cluster before the first send, are the
    // caller's.
    __device__ void prepare() const {
        if constexpr (Ranks > 1) {
            mbarrier_init(area);
            mbarrier_init(area + 8);
            mbarrier_expect(area, kOthers * 64 * 8);
            mbarrier_expect(area + 8, kOthers * 4 * kOwned * 512);
        }
    }

    // Of the lane's two rows.
    __device__ void send_statistics(const float (&maximum)[2], const float (&sum)[2]) const {
#pragma unroll
        for (int other = 0; other < kOthers; ++other) {
            if (threadIdx.x % 4 != other % 4) continue;  // the four lanes of a row know the same
            const unsigned target = address_in_block(row_statistics(other), rank ^ (other + 1));
            const unsigned barrier = address_in_block(area, rank ^ (other + 1));
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];"
                             :
                             : "r"(target + h * 64), "f"(maximum[h]), "f"(sum[h]), "r"(barrier)
                             : "memory");
            }
        }
    }

    // Element i of the column that is the block's own `j`th.
    static __device__ float pick(const float (&output)[Columns][4], int block, int j, int i) {
        float x = output[j][i];
#pragma unroll
        for (int r = 1; r < Ranks; ++r) x = block == r ? output[r * kOwned + j][i] : x;
        return x;
    }

    __device__ void send_output(const float (&output)[Columns][4]) const {
#pragma unroll
        for (int other = 0; other < kOthers; ++other) {
            const int block = rank ^ (other + 1);
            const unsigned target = address_in_block(tile(other, 0), block);
            const unsigned barrier = address_in_block(area + 8, block);
#pragma unroll
            for (int j = 0; j < kOwned; ++j) {
                asm volatile(
                    "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, [%5];"
                    :
                    : "r"(target + j * 512), "f"(pick(output, block, j, 0)), "f"(pick(output, block, j, 1)),
                      "f"(pick(output, block, j, 2)), "f"(pick(output, block, j, 3)), "r"(barrier)
                    : "memory");
            }
        }
    }

    // Stores the owned columns to `o`, the warp's first row in global memory, of which `rows` exist.
    __device__ void receive(const float (&output)[Columns][4], const float (&maximum)[2], const float (&sum)[2],
                            float scale, T* o, int64_t row_stride, int rows) const {
        const int lane = threadIdx.x % 32;
        float weight[Ranks][2];  // of this block, then of the others
        if constexpr (Ranks > 1) mbarrier_wait<true>(area, 0);
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            float maxima[Ranks] = {maximum[h]};
            float sums[Ranks] = {sum[h]};
            float greatest = maximum[h];
#pragma unroll
            for (int other = 0; other < kOthers; ++other) {
                asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];"
                             : "=f"(maxima[other + 1]), "=f"(sums[other + 1])
                             : "r"(row_statistics(other) + h * 64)
                             : "memory");
                greatest = fmaxf(greatest, maxima[other + 1]);
            }
            const float base = finite_max(greatest);
            float total = 0.0f;
#pragma unroll
            for (int p = 0; p < Ranks; ++p) {
                weight[p][h] = exp2_of<Fast>((maxima[p] - base) * scale);  // 0 for a block without keys
                total += weight[p][h] * sums[p];
            }
            DEBUG_ASSERT(!(total <= 0.0f));
            float inverse;  // of 1 or more: the greatest logit alone weighs 1
            asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(total));
#pragma unroll
            for (int p = 0; p < Ranks; ++p) weight[p][h] *= inverse;
        }
        float merged[kOwned][4];
#pragma unroll
        for (int j = 0; j < kOwned; ++j) {
#pragma unroll
            for (int i = 0; i < 4; ++i) merged[j][i] = weight[0][i / 2] * pick(output, rank, j, i);
        }
        if constexpr (Ranks > 1) mbarrier_wait<true>(area + 8, 0);
        T* const target = o + lane / 4 * row_stride + rank * kOwned * 8 + lane % 4 * 2;
#pragma unroll
        for (int j = 0; j < kOwned; ++j) {
#pragma unroll
            for (int other = 0; other < kOthers; ++other) {
                float x[4];
                asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                             : "=f"(x[0]), "=f"(x[1]), "=f"(x[2]), "=f"(x[3])
                             : "r"(tile(other, j))
                             : "memory");
#pragma unroll
                for (int i = 0; i < 4; ++i) merged[j][i] += weight[other + 1][i / 2] * x[i];
            }
        }
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            if (lane / 4 + h * 8 >= rows) continue;
#pragma unroll
            for (int j = 0; j < kOwned; ++j) {
                *reinterpret_cast<unsigned*>(target + h * 8 * row_stride + j * 8) =
                    pack<T>(merged[j][2 * h], merged[j][2 * h + 1]);
            }
        }
    }
};

}  // namespace
}  // namespace kgate
