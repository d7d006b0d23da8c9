// Merging what several warps, of one block or of a cluster of blocks, have made of the same rows and different keys.
#pragma once

#include "attention/mma_tile.cuh"
#include "cuda/conversions.cuh"
#include "cuda/exp2.cuh"
#include "cuda/tile_walk.cuh"

namespace kgate {
namespace {

// Relaxed: what a thread wrote before is not made visible by it, and it does not wait for that.
__device__ inline void cluster_arrive() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}

__device__ inline void cluster_wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

__device__ inline unsigned cluster_rank() {
    unsigned rank = 0;
#if __CUDA_ARCH__ >= 900
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
    return rank;
}

// Shares of the same rows over different keys, held by the Groups key groups of each of the Ranks blocks of a cluster, become
// the output. Each share is the owner of some columns: it gets those columns of the other shares through its block's shared
// memory, one tile of 16x8 as 32 times 16 bytes, together with everybody's maxima and sums. All send, then all receive.
template <typename Share, int RowGroups, int Groups, int Ranks>
struct Merge {
    static constexpr int kShares = Groups * Ranks;
    static constexpr int kOwned = ceil_div(Share::kColumns, kShares);  // tiles wide; the last owners may have fewer
    static constexpr int kRows = Share::kRows;
    static constexpr int kTiles = RowGroups * kShares * kRows * 8;  // offset of the tiles: behind (maximum, sum) of each row
    static constexpr int kBarrier = kTiles + RowGroups * Groups * (kShares - 1) * kOwned * Share::kRowTiles * 512;
    static constexpr int kBytes = kBarrier + (Ranks > 1 ? 16 : 0);

    unsigned area;  // address in shared memory, the same in all blocks
    int row_group;
    int group;
    int rank;

    __device__ int share() const { return rank * Groups + group; }

    __device__ unsigned statistics(int of) const { return area + (row_group * kShares + of) * kRows * 8; }

    __device__ unsigned tile(int owner_group, int owner, int sender, int column, int m) const {
        const int slot = sender < owner ? sender : sender - 1;  // an owner sends itself nothing
        const int row_of_slots = (row_group * Groups + owner_group) * (kShares - 1) + slot;
        return area + kTiles + ((row_of_slots * kOwned + column) * Share::kRowTiles + m) * 512 + threadIdx.x % 32 * 16;
    }

    // Between blocks, a store carries its own completion: the receiver's mbarrier counts the bytes that have arrived. A barrier
    // of the cluster would have to wait until the stores are acknowledged.
    static __device__ unsigned in_block(unsigned address, int rank) {
        if constexpr (Ranks > 1) {
            unsigned remote;
            asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
            return remote;
        }
        return address;
    }

    __device__ void store(unsigned address, int rank, const float (&x)[4]) const {
        if constexpr (Ranks > 1) {
            asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, [%5];"
                         ::"r"(in_block(address, rank)), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]),
                         "r"(in_block(area + kBarrier, rank)) : "memory");
        } else {
            asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};"
                         ::"r"(address), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]) : "memory");
        }
    }

    __device__ void store(unsigned address, int rank, float x, float y) const {
        if constexpr (Ranks > 1) {
            asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];"
                         ::"r"(in_block(address, rank)), "f"(x), "f"(y), "r"(in_block(area + kBarrier, rank)) : "memory");
        } else {
            asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(x), "f"(y) : "memory");
        }
    }

    // At the start, by all threads of all blocks: makes the mbarrier ready and says that this block runs. A cluster_wait is due
    // before send.
    __device__ void prepare() const {
        if constexpr (Ranks > 1) {
            if (threadIdx.x == 0) {
                int tiles = 0;
#pragma unroll
                for (int d = 0; d < Share::kColumns; ++d) tiles += d / kOwned / Groups == rank;
                const int bytes = kTiles + RowGroups * (kShares - 1) * tiles * Share::kRowTiles * 512;
                asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(area + kBarrier) : "memory");
                asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(area + kBarrier), "r"(bytes)
                             : "memory");
                asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
            }
            __syncwarp();
            cluster_arrive();
        }
    }

    // Until all that others send to this block is there.
    __device__ void wait() const {
        if constexpr (Ranks > 1) {
            unsigned done = 0;
            while (done == 0) {
                asm volatile("{\n.reg .pred p;\n"
                             "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], 0;\n"
                             "selp.u32 %0, 1, 0, p;\n}" : "=r"(done) : "r"(area + kBarrier) : "memory");
            }
        } else {
            __syncthreads();
        }
    }

    __device__ void send(const Share& mine) const {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int to = 0; to < Ranks; ++to) {
            if (lane % 4 != to % 4) continue;  // a quad's lanes have the same numbers: each tells other blocks
#pragma unroll
            for (int m = 0; m < Share::kRowTiles; ++m) {
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    const unsigned local = statistics(share()) + (m * 16 + h * 8 + lane / 4) * 8;
                    store(local, to, mine.row_max[m][h], mine.row_sum[m][2 * h]);
                }
            }
        }
#pragma unroll
        for (int d = 0; d < Share::kColumns; ++d) {
            const int owner = d / kOwned;
            if (owner == share()) continue;
#pragma unroll
            for (int m = 0; m < Share::kRowTiles; ++m) {
                store(tile(owner % Groups, owner, share(), d % kOwned, m), owner / Groups, mine.output[m][d]);
            }
        }
    }

    // After wait. `o`: the warp's first row in global memory, of which `rows` exist.
    template <typename T, bool Fast>
    __device__ void receive(const Share& mine, T* o, int64_t row_stride, int rows) const {
        const int lane = threadIdx.x % 32;
        float owned[kOwned][Share::kRowTiles][4] = {};
#pragma unroll
        for (int d = 0; d < Share::kColumns; ++d) {  // registers can't be indexed by what is known only at run time
            if (d / kOwned != share()) continue;
#pragma unroll
            for (int m = 0; m < Share::kRowTiles; ++m) {
#pragma unroll
                for (int i = 0; i < 4; ++i) owned[d % kOwned][m][i] = mine.output[m][d][i];
            }
        }
#pragma unroll
        for (int m = 0; m < Share::kRowTiles; ++m) {
            float weight[kShares][2];
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                float maxima[kShares];
                float sums[kShares];
                float maximum = -INFINITY;
#pragma unroll
                for (int p = 0; p < kShares; ++p) {
                    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(maxima[p]), "=f"(sums[p])
                                 : "r"(statistics(p) + (m * 16 + h * 8 + lane / 4) * 8) : "memory");
                    maximum = fmaxf(maximum, maxima[p]);
                }
                const float base = finite_max(maximum);
                float sum = 0.0f;
#pragma unroll
                for (int p = 0; p < kShares; ++p) {
                    weight[p][h] = exp2_of<Fast>((maxima[p] - base) * mine.scale);  // 0 for a share without keys
                    sum += weight[p][h] * sums[p];
                }
                const float inverse = __fdividef(1.0f, sum);
#pragma unroll
                for (int p = 0; p < kShares; ++p) weight[p][h] *= inverse;
            }
#pragma unroll
            for (int j = 0; j < kOwned; ++j) {
                const int d = share() * kOwned + j;
                if (d >= Share::kColumns) break;
                float merged[4] = {};
#pragma unroll
                for (int p = 0; p < kShares; ++p) {
                    float x[4] = {owned[j][m][0], owned[j][m][1], owned[j][m][2], owned[j][m][3]};
                    if (p != share()) {
                        asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(x[0]), "=f"(x[1]), "=f"(x[2]), "=f"(x[3])
                                     : "r"(tile(group, share(), p, j, m)) : "memory");
                    }
#pragma unroll
                    for (int i = 0; i < 4; ++i) merged[i] += weight[p][i / 2] * x[i];
                }
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    const int row = m * 16 + h * 8 + lane / 4;
                    if (row >= rows) continue;
                    *reinterpret_cast<unsigned*>(o + row * row_stride + d * 8 + lane % 4 * 2) =
                        pack<T>(merged[2 * h], merged[2 * h + 1]);
                }
            }
        }
    }
};

}  // namespace
}  // namespace kgate
