// A block of warpgroups with two roles, on sm_90a: one thread copies tiles of K and V into a ring, Warpgroups
// warpgroups of 64 query rows each work on them, for as many tiles of query rows as the block is given.
#pragma once

#include "attention/warpgroup.cuh"
#include "cuda/named_barrier.cuh"

namespace kgate {
namespace {

// One tile of query rows: Tile's batch and head are those of q and o, `keys` all that any of its rows attends to.
struct PipelineTile {
    Tile tile;
    int kv_head;
    int blocks;  // of keys, which may be none
};

// A place in a ring of N, and the parity of the phase in which that place is filled.
template <int N>
struct RingPlace {
    int slot = 0;
    unsigned parity = 0;

    __device__ void advance() {
        if (++slot == N) {
            slot = 0;
            parity ^= 1;
        }
    }
};

// A row is rescaled only when its maximum has grown by more than this, in the log2 domain (mma_tile.cuh).
constexpr float kPipelineGrowth = 8.0f;

// Products say how tiles lie and are multiplied. Stages tiles of K and of V in shared memory. With TakeTurns, of the warpgroups one issues products
// while the others are at their exponentials. With Lazy, a warp leaves its maxima and its output alone until one of its
// logits is far above them.
template <typename Products, int Warpgroups, int Stages, bool TakeTurns, bool Lazy, bool Fast>
struct WarpgroupPipeline {
    static constexpr int D = Products::kColumns;
    static constexpr int Keys = Products::kKeys;
    using T = typename Products::Output;
    static constexpr int kRows = 64 * Warpgroups;
    static constexpr int kThreads = 128 * (Warpgroups + 1);
    static constexpr int kQueryBytes = Products::kQueryBytes;
    static constexpr int kOutputPanels = D / kPanelColumns;
    static constexpr unsigned kOutputPanelBytes = 64 * kPanelRow;
    static constexpr int kOutputBytes = 64 * D * 2;  // of a warpgroup

    // Offsets in shared memory. Where there is no room for O, it takes the place of Q.
    static constexpr int kK = Warpgroups * kQueryBytes;
    static constexpr int kV = kK + Stages * Products::kKeyBytes;
    static constexpr int kBehind = kV + Stages * Products::kValueBytes;
    static constexpr int kBarrierBytes = (2 + 4 * Stages) * 8;
    static constexpr bool kOwnOutput = kBehind + Warpgroups * kOutputBytes + kBarrierBytes <= 227 * 1024;
    static_assert(kOwnOutput || kOutputBytes == kQueryBytes, "O must be as large as Q to take its place.");
    static constexpr int kO = kOwnOutput ? kBehind : 0;
    static constexpr int kBarriers = kBehind + (kOwnOutput ? Warpgroups * kOutputBytes : 0);
    static constexpr int kBytes = kBarriers + kBarrierBytes;
    static_assert(kQueryBytes % 1024 == 0 && Products::kKeyBytes % 1024 == 0 && Products::kValueBytes % 1024 == 0,
                  "a tile must be whole groups of eight rows, as its swizzle is.");

    // mbarriers: of Q, then of each slot of K and of V; first that it is full, then that it is empty.
    static constexpr int kFullQ = kBarriers, kEmptyQ = kBarriers + 8;
    static constexpr int kFullK = kBarriers + 16, kEmptyK = kFullK + Stages * 8;
    static constexpr int kFullV = kEmptyK + Stages * 8, kEmptyV = kFullV + Stages * 8;

    // Named barriers: of one warpgroup each; of the turns.
    static constexpr int kOwn = 1, kTurn = 1 + Warpgroups;

    using Partial = WarpgroupPartial<T, D, Fast>;
    using Place = RingPlace<Stages>;

    unsigned shared;

    // By one thread; __syncthreads is the caller's.
    __device__ void prepare() const {
        mbarrier_init<1>(shared + kFullQ);
        mbarrier_init<kOwnOutput ? 4 * Warpgroups : Warpgroups>(shared + kEmptyQ);
#pragma unroll
        for (int i = 0; i < Stages; ++i) {
            mbarrier_init<1>(shared + kFullK + i * 8);
            mbarrier_init<1>(shared + kFullV + i * 8);
            mbarrier_init<4 * Warpgroups>(shared + kEmptyK + i * 8);
            mbarrier_init<4 * Warpgroups>(shared + kEmptyV + i * 8);
        }
        mbarrier_fence();
    }

    // ------------------------------------------------------------------------------------------------ the copying role

    // Says that `bytes` will come to a slot, once it has no reader left; the barrier that counts them.
    __device__ unsigned claim(const Place& place, int full, int empty, int bytes) const {
        const unsigned barrier = shared + full + place.slot * 8;
        mbarrier_wait(shared + empty + place.slot * 8, place.parity ^ 1);  // at first, nobody has read it
        mbarrier_expect(barrier, bytes);
        return barrier;
    }

    __device__ void copy_keys(const CUtensorMap& map, const PipelineTile& work, int block, Place& place) const {
        const unsigned barrier = claim(place, kFullK, kEmptyK, Products::kKeyBytes);
        const Tile source = {work.tile.batch, work.kv_head, 0, 0};
        Products::copy_keys(shared + kK + place.slot * Products::kKeyBytes, map, block * Keys, source, barrier);
        place.advance();
    }

    __device__ void copy_values(const CUtensorMap& map, const PipelineTile& work, int block, Place& place) const {
        const unsigned barrier = claim(place, kFullV, kEmptyV, Products::kValueBytes);
        const Tile source = {work.tile.batch, work.kv_head, 0, 0};
        Products::copy_values(shared + kV + place.slot * Products::kValueBytes, map, block * Keys, source, barrier);
        place.advance();
    }

    // By one thread. `next_tile(round, work)` says whether there is one more.
    template <typename NextTile>
    __device__ void copy(const CUtensorMap& q_map, const CUtensorMap& k_map, const CUtensorMap& v_map,
                         const NextTile& next_tile) const {
        Place k, v;
        unsigned q_parity = 0;
        PipelineTile work;
        for (int round = 0; next_tile(round, work); ++round) {
            if (work.blocks == 0) continue;
            copy_keys(k_map, work, work.blocks - 1, k);
            mbarrier_wait(shared + kEmptyQ, q_parity ^ 1);
            mbarrier_expect(shared + kFullQ, Warpgroups * kQueryBytes);
#pragma unroll
            for (int i = 0; i < Warpgroups; ++i) {
                Products::copy_queries(shared + i * kQueryBytes, q_map, work.tile.first_row + i * 64, work.tile,
                                       shared + kFullQ);
            }
            q_parity ^= 1;
            for (int block = work.blocks - 2; block >= 0; --block) {
                copy_keys(k_map, work, block, k);
                copy_values(v_map, work, block + 1, v);
            }
            copy_values(v_map, work, 0, v);
        }
    }

    // ------------------------------------------------------------------------------------------------ the working role

    // By each warp that has read a slot.
    __device__ void release(int barrier) const {
        if (threadIdx.x % 32 == 0) mbarrier_arrive(shared + barrier);
        __syncwarp();
    }

    __device__ void multiply_keys(float (&logits)[Keys / 8][4], unsigned q, const Place& place) const {
        Products::multiply_keys(logits, q, shared + kK + place.slot * Products::kKeyBytes);
        wgmma_commit();
    }

    __device__ void multiply_values(Partial& partial, const unsigned (&weights)[Products::kWeights][4],
                                    const Place& place) const {
        Products::multiply_values(partial.output, weights, shared + kV + place.slot * Products::kValueBytes);
        wgmma_commit();
    }

    // So that the greatest logit is the greatest scaled one: the warpgroup's own rows of Q.
    __device__ void negate_q(unsigned q, int own) const {
#pragma unroll 1
        for (int i = threadIdx.x % 128; i < kQueryBytes / 4; i += 128) {
            unsigned word;
            asm volatile("ld.shared.b32 %0, [%1];" : "=r"(word) : "r"(q + i * 4) : "memory");
            asm volatile("st.shared.b32 [%0], %1;" : : "r"(q + i * 4), "r"(Products::negated(word)) : "memory");
        }
        async_fence();
        barrier_sync(own, 128);
    }

    // What is known of the tile's keys and of the warpgroup's rows while it works.
    struct Rows {
        int position;   // of the warp's first row among the keys: its last visible one, if causal
        int key_count;  // of all keys
        bool causal;
        float scale;

        // Turns the logits of the keys from `key` on into weights. Whether the output must be multiplied by `shrink`.
        __device__ bool weigh(Partial& partial, float (&logits)[Keys / 8][4], int key, float (&shrink)[2]) const {
            if (__builtin_expect(key + Keys > key_count || (causal && key + Keys - 1 > position), 0)) {
                Partial::mask(logits, position, key, key_count, causal);
            }
            float best[2];
            float base[2];
            Partial::raise(best, logits, true);
            const bool grown =
                !Lazy || __any_sync(0xffffffff, best[0] * scale > partial.row_max[0] * scale + kPipelineGrowth ||
                                                    best[1] * scale > partial.row_max[1] * scale + kPipelineGrowth);
            if (grown) {
                partial.settle(best, scale, base, shrink);
            } else {
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    base[h] = finite_max(partial.row_max[h]) * scale;
                    shrink[h] = 1.0f;
                }
            }
            base[0] -= Products::kLogWeight;
            base[1] -= Products::kLogWeight;
            partial.exponentiate(logits, scale, base, shrink);
            return grown;
        }
    };

    // By all threads of warpgroup `group`: the tile's whole attention, with row sums that are whole rows'. The places
    // of K and V move on.
    __device__ void work(Partial& partial, const PipelineTile& work, const Rows& rows, bool negate, int group, Place& k,
                         Place& v, unsigned q_parity) const {
        const unsigned q = shared + group * kQueryBytes;
        const int next_group = group == Warpgroups - 1 ? 0 : group + 1;
        float logits[Keys / 8][4];
        unsigned weights[Products::kWeights][4];
        float shrink[2];
        mbarrier_wait(shared + kFullQ, q_parity);
        if (__builtin_expect(negate, 0)) negate_q(q, kOwn + group);
        mbarrier_wait(shared + kFullK + k.slot * 8, k.parity);
        pin(logits);
        wgmma_fence();
        multiply_keys(logits, q, k);
        partial.clear_output();
        wgmma_wait<0>();
        pin(logits);
        release(kEmptyK + k.slot * 8);
        k.advance();
        if (kOwnOutput && work.blocks == 1) release(kEmptyQ);
        rows.weigh(partial, logits, (work.blocks - 1) * Keys, shrink);
        Products::pack_weights(weights, logits);
        for (int block = work.blocks - 2; block >= 0; --block) {
            mbarrier_wait(shared + kFullK + k.slot * 8, k.parity);
            if constexpr (TakeTurns) barrier_sync(kTurn + group, 256);
            pin(logits);
            pin(partial.output);
            wgmma_fence();
            multiply_keys(logits, q, k);
            mbarrier_wait(shared + kFullV + v.slot * 8, v.parity);
            multiply_values(partial, weights, v);
            if constexpr (TakeTurns) barrier_arrive(kTurn + next_group, 256);
            wgmma_wait<1>();
            pin(logits);
            release(kEmptyK + k.slot * 8);
            k.advance();
            if (kOwnOutput && block == 0) release(kEmptyQ);
            const bool grown = rows.weigh(partial, logits, block * Keys, shrink);
            wgmma_wait<0>();
            pin(partial.output);
            release(kEmptyV + v.slot * 8);
            v.advance();
            Products::pack_weights(weights, logits);
            if (grown) partial.rescale_output(shrink);
        }
        mbarrier_wait(shared + kFullV + v.slot * 8, v.parity);
        pin(partial.output);
        wgmma_fence();
        multiply_values(partial, weights, v);
        partial.finish();
        wgmma_wait<0>();
        pin(partial.output);
        release(kEmptyV + v.slot * 8);
        v.advance();
    }

    // Divides the output by the row sums, multiplies it by `factor` and stores it; rows that do not exist are left out.
    __device__ void store(Partial& partial, const CUtensorMap& o_map, const Tile& tile, int group,
                          float factor) const {
        const int lane = threadIdx.x % 32;
        const int row = threadIdx.x / 32 % 4 * 16 + lane / 4;
        const bool leader = threadIdx.x % 128 == 0;
        const unsigned o = shared + kO + group * kOutputBytes;
        if (kOwnOutput && leader) store_wait_read();  // of the tile before
        barrier_sync(kOwn + group, 128);              // or: all warps have read their Q
        float inverse[2];
#pragma unroll
        for (int h = 0; h < 2; ++h) inverse[h] = partial.row_sum[h] > 0.0f ? factor / partial.row_sum[h] : 0.0f;
#pragma unroll
        for (int d = 0; d < D / 8; ++d) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const unsigned word =
                    pack<T>(partial.output[d][2 * h] * inverse[h], partial.output[d][2 * h + 1] * inverse[h]);
                const unsigned address =
                    o + d / 8 * kOutputPanelBytes + panel_offset(row + 8 * h, d % 8) + lane % 4 * 4;
                asm volatile("st.shared.b32 [%0], %1;" : : "r"(address), "r"(word) : "memory");
            }
        }
        async_fence();
        barrier_sync(kOwn + group, 128);
        if (leader) {
#pragma unroll
            for (int p = 0; p < kOutputPanels; ++p) {
                store_box(o_map, p * kPanelColumns, tile.first_row + group * 64, tile, o + p * kOutputPanelBytes);
            }
            store_commit();
        }
        __syncwarp();
    }

    // By all threads of warpgroup `group` with the tiles that `copy` copies for. `scale_of(work)` gives a tile's scale of
    // logits; `done(work, partial)` is called with its maxima and sums, and gives the factor of its output. `causal` and
    // `offset`, the position of query 0 among the keys, are of all.
    template <typename NextTile, typename ScaleOf, typename Done>
    __device__ void work_all(const CUtensorMap& o_map, int group, bool negate, bool causal, int offset, int key_count,
                             const NextTile& next_tile, const ScaleOf& scale_of, const Done& done) const {
        Place k, v;
        unsigned q_parity = 0;
        PipelineTile tile;
        if (TakeTurns && group == Warpgroups - 1) barrier_arrive(kTurn, 256);  // the first turn is the first group's
        for (int round = 0; next_tile(round, tile); ++round) {
            Partial partial;
            if (tile.blocks > 0) {
                const int warp_row = tile.tile.first_row + group * 64 + static_cast<int>(threadIdx.x) / 32 % 4 * 16;
                const Rows rows = {warp_row + offset, key_count, causal, scale_of(tile)};
                work(partial, tile, rows, negate, group, k, v, q_parity);
                q_parity ^= 1;
            } else {
                partial.clear_output();
            }
            store(partial, o_map, tile.tile, group, done(tile, partial));
            if (!kOwnOutput && tile.blocks > 0 && threadIdx.x % 128 == 0) {
                store_wait_read();
                mbarrier_arrive(shared + kEmptyQ);
            }
            __syncwarp();
        }
        if (threadIdx.x % 128 == 0) store_wait_read();
    }
};

}  // namespace
}  // namespace kgate
