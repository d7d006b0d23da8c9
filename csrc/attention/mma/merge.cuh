// Merging what several warps, of one block or of a cluster of blocks, have made of the same rows and different keys.
#pragma once

#include "attention/mma/mma_tile.cuh"
#include "cuda/cluster.cuh"
#include "cuda/conversions.cuh"
#include "cuda/exp2.cuh"
#include "cuda/mbarrier.cuh"
#include "cuda/tile_walk.cuh"

namespace kgate {
namespace {

// Partial results of the same rows over different keys, held by the Groups key groups of each of the Ranks blocks of a
// cluster, become the output. Each holder owns some columns: it gets those columns of the other partial results through
// its block's shared memory, one tile of 16x8 as 32 times 16 bytes, together with everybody's maxima and sums. All
// send, then all receive.
template <typename Partial, int RowGroups, int Groups, int Ranks>
struct Merge {
    static constexpr int kPartials = Groups * Ranks;
    static constexpr int kOwned = ceil_div(Partial::kColumns, kPartials);  // tiles wide; the last owners may have fewer
    static constexpr int kRows = Partial::kRows;
    // Offset of the tiles: behind (maximum, sum) of each row.
    static constexpr int kTiles = RowGroups * kPartials * kRows * 8;
    static constexpr int kBarrier = kTiles + RowGroups * Groups * (kPartials - 1) * kOwned * Partial::kRowTiles * 512;
    static constexpr int kBytes = kBarrier + (Ranks > 1 ? 16 : 0);

    unsigned area;  // address in shared memory, the same in all blocks
    int row_group;
    int group;
    int rank;

    __device__ int own_index() const { return rank * Groups + group; }

    __device__ unsigned statistics(int of) const { return area + (row_group * kPartials + of) * kRows * 8; }

    __device__ unsigned tile(int owner_group, int owner, int sender, int column, int m) const {
        const int slot = sender < owner ? sender : sender - 1;  // an owner sends itself nothing
        const int row_of_slots = (row_group * Groups + owner_group) * (kPartials - 1) + slot;
        return area + kTiles + ((row_of_slots * kOwned + column) * Partial::kRowTiles + m) * 512 +
               threadIdx.x % 32 * 16;
    }

    // Between blocks, a store carries its own completion: the receiver's mbarrier counts the bytes that have arrived. A
    // barrier of the cluster would have to wait until the stores are acknowledged.
    __device__ void store(unsigned address, int rank, const float (&x)[4]) const {
        if constexpr (Ranks > 1) {
            asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, [%5];"
                         :
                         : "r"(address_in_block(address, rank)), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]),
                           "r"(address_in_block(area + kBarrier, rank))
                         : "memory");
        } else {
            asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};"
                         :
                         : "r"(address), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3])
                         : "memory");
        }
    }

    __device__ void store(unsigned address, int rank, float x, float y) const {
        if constexpr (Ranks > 1) {
            asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];"
                         :
                         : "r"(address_in_block(address, rank)), "f"(x), "f"(y),
                           "r"(address_in_block(area + kBarrier, rank))
                         : "memory");
        } else {
            asm volatile("st.shared.v2.f32 [%0], {%1, %2};" : : "r"(address), "f"(x), "f"(y) : "memory");
        }
    }

    // At the start, by all threads of all blocks: makes the mbarrier ready and says that this block runs. A
    // cluster_wait is due before send.
    __device__ void prepare() const {
        if constexpr (Ranks > 1) {
            if (threadIdx.x == 0) {
                int tiles = 0;
#pragma unroll
                for (int d = 0; d < Partial::kColumns; ++d) tiles += d / kOwned / Groups == rank;
                const int bytes = kTiles + RowGroups * (kPartials - 1) * tiles * Partial::kRowTiles * 512;
                mbarrier_init(area + kBarrier);
                mbarrier_expect(area + kBarrier, bytes);
                mbarrier_fence();
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
                asm volatile(
                    "{\n.reg .pred p;\n"
                    "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], 0;\n"
                    "selp.u32 %0, 1, 0, p;\n}"
                    : "=r"(done)
                    : "r"(area + kBarrier)
                    : "memory");
            }
        } else {
            __syncthreads();
        }
    }

    __device__ void send(const Partial& mine) const {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int to = 0; to < Ranks; ++to) {
            if (lane % 4 != to % 4) continue;  // a quad's lanes have the same numbers: each tells other blocks
#pragma unroll
            for (int m = 0; m < Partial::kRowTiles; ++m) {
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    const unsigned local = statistics(own_index()) + (m * 16 + h * 8 + lane / 4) * 8;
                    store(local, to, mine.row_max[m][h], mine.row_sum[m][2 * h]);
                }
            }
        }
#pragma unroll
        for (int d = 0; d < Partial::kColumns; ++d) {
            const int owner = d / kOwned;
            if (owner == own_index()) continue;
#pragma unroll
            for (int m = 0; m < Partial::kRowTiles; ++m) {
                store(tile(owner % Groups, owner, own_index(), d % kOwned, m), owner / Groups, mine.output[m][d]);
            }
        }
    }

    // After wait. `o`: the warp's first row in global memory, of which `rows` exist.
    template <typename T, bool Fast>
    __device__ void receive(const Partial& mine, T* o, int64_t row_stride, int rows) const {
        const int lane = threadIdx.x % 32;
        float owned[kOwned][Partial::kRowTiles][4] = {};
#pragma unroll
        for (int d = 0; d < Partial::kColumns; ++d) {  // registers can't be indexed by what is known only at run time
            if (d / kOwned != own_index()) continue;
#pragma unroll
            for (int m = 0; m < Partial::kRowTiles; ++m) {
#pragma unroll
                for (int i = 0; i < 4; ++i) owned[d % kOwned][m][i] = mine.output[m][d][i];
            }
        }
#pragma unroll
        for (int m = 0; m < Partial::kRowTiles; ++m) {
            float weight[kPartials][2];
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                float maxima[kPartials];
                float sums[kPartials];
                float maximum = -INFINITY;
#pragma unroll
                for (int p = 0; p < kPartials; ++p) {
                    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];"
                                 : "=f"(maxima[p]), "=f"(sums[p])
                                 : "r"(statistics(p) + (m * 16 + h * 8 + lane / 4) * 8)
                                 : "memory");
                    maximum = fmaxf(maximum, maxima[p]);
                }
                const float base = finite_max(maximum);
                float sum = 0.0f;
#pragma unroll
                for (int p = 0; p < kPartials; ++p) {
                    weight[p][h] = exp2_of<Fast>((maxima[p] - base) * mine.scale);  // 0 where there were no keys
                    sum += weight[p][h] * sums[p];
                }
                const float inverse = __fdividef(1.0f, sum);
#pragma unroll
                for (int p = 0; p < kPartials; ++p) weight[p][h] *= inverse;
            }
#pragma unroll
            for (int j = 0; j < kOwned; ++j) {
                const int d = own_index() * kOwned + j;
                if (d >= Partial::kColumns) break;
                float merged[4] = {};
#pragma unroll
                for (int p = 0; p < kPartials; ++p) {
                    float x[4] = {owned[j][m][0], owned[j][m][1], owned[j][m][2], owned[j][m][3]};
                    if (p != own_index()) {
                        asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                                     : "=f"(x[0]), "=f"(x[1]), "=f"(x[2]), "=f"(x[3])
                                     : "r"(tile(group, own_index(), p, j, m))
                                     : "memory");
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
