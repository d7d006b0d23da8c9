// A block of warpgroups with two roles, on sm_90a: one thread copies tiles of K and V into a ring (pipeline_ring.cuh),
// Warpgroups warpgroups of 64 query rows each work on them, for as many tiles of query rows as the block is given.
#pragma once

#include "attention/pipeline/pipeline_ring.cuh"
#include "attention/pipeline/pipeline_rows.cuh"
#include "attention/pipeline/promoted_total.cuh"
#include "cuda/named_barrier.cuh"

namespace kgate {
namespace {

// The working role. Products say how tiles are multiplied. With Turns, one warpgroup at a time issues its products,
// while the others are at their exponentials; without, each has its exponentials under its own product with V. With
// Lazy, a warp leaves its maxima and its output alone until one of its logits is far above them.
template <typename Products, int Warpgroups, int Stages, bool Turns, bool Lazy, bool Fast>
struct WarpgroupPipeline {
    using Ring = PipelineRing<Products, Warpgroups, Stages>;
    using Place = typename Ring::Place;
    using T = typename Products::Output;
    static constexpr int D = Products::kColumns;
    static constexpr int Keys = Products::kKeys;
    using Rows = PipelineRows<Products, Turns, Lazy, Fast>;
    using Partial = typename Rows::Partial;
    using Logits = typename Rows::Logits;
    static constexpr int kPromoteTiles = Products::kPromoteTiles;
    static_assert(!Ring::kPromoting || !Turns, "sums are promoted by walk_alone");
    using Weights = unsigned[Products::kWeights][4];

    // Named barriers: of one warpgroup each; of the turns.
    static constexpr int kOwn = 1, kTurn = 1 + Warpgroups;

    Ring ring;

    // By each warp that has read a slot.
    __device__ void release(int barrier) const {
        if (threadIdx.x % 32 == 0) mbarrier_arrive(ring.shared + barrier);
        __syncwarp();
    }

    __device__ void release_keys(Place& k) const {
        release(Ring::kEmptyK + k.slot * 8);
        k.advance();
    }

    __device__ void release_values(Place& v) const {
        release(Ring::kEmptyV + v.slot * 8);
        v.advance();
    }

    __device__ void await_keys(const Place& k) const {
        mbarrier_wait(ring.shared + Ring::kFullK + k.slot * 8, k.parity);
    }
    __device__ void await_values(const Place& v) const {
        mbarrier_wait(ring.shared + Ring::kFullV + v.slot * 8, v.parity);
    }

    __device__ void multiply_keys(Logits& logits, unsigned q, const Place& k) const {
        Products::multiply_keys(logits, q, ring.shared + Ring::kK + k.slot * Products::kKeyBytes);
        wgmma_commit();
    }

    __device__ void multiply_values(Partial& partial, const Weights& weights, const Place& v) const {
        Products::multiply_values(partial.output, weights, ring.shared + Ring::kV + v.slot * Products::kValueBytes);
        wgmma_commit();
    }

    // So that the greatest logit is the greatest scaled one: the warpgroup's own rows of Q.
    __device__ void negate_q(unsigned q, int own) const {
#pragma unroll 1
        for (int i = threadIdx.x % 128; i < Ring::kQueryBytes / 4; i += 128) {
            unsigned word;
            asm volatile("ld.shared.b32 %0, [%1];" : "=r"(word) : "r"(q + i * 4) : "memory");
            asm volatile("st.shared.b32 [%0], %1;" : : "r"(q + i * 4), "r"(Products::negated(word)) : "memory");
        }
        async_fence();
        barrier_sync(own, 128);
    }

    // What a warpgroup works on: where its Q is, which group it is, what it knows of its rows, and its places.
    struct Walk {
        unsigned q;
        int group;
        int blocks;  // of keys
        const Rows& rows;
        Place& k;
        Place& v;
    };

    // The logits of the last block of keys become weights, and all others are worked on but for the last product with
    // V, that of block 0. A turn: the product of Q with the next K and that of the weights with V are issued, and then
    // those of the next warpgroup; the new logits become weights under both.
    __device__ void walk_in_turns(Partial& partial, Logits& logits, Weights& weights, const Walk& walk) const {
        const int next_group = walk.group == Warpgroups - 1 ? 0 : walk.group + 1;
        float shrink[2];
        walk.rows.weigh(partial, logits, (walk.blocks - 1) * Keys, shrink);
        Products::pack_weights(weights, logits);
        for (int block = walk.blocks - 2; block >= 0; --block) {
            await_keys(walk.k);
            barrier_sync(kTurn + walk.group, 256);
            pin(logits);
            pin(partial.output);
            wgmma_fence();
            multiply_keys(logits, walk.q, walk.k);
            await_values(walk.v);
            multiply_values(partial, weights, walk.v);
            barrier_arrive(kTurn + next_group, 256);
            wgmma_wait<1>();
            pin(logits);
            release_keys(walk.k);
            if (Ring::kOwnOutput && block == 0) release(Ring::kEmptyQ);
            const bool grown = walk.rows.weigh(partial, logits, block * Keys, shrink);
            wgmma_wait<0>();
            pin(partial.output);
            release_values(walk.v);
            Products::pack_weights(weights, logits);
            if (grown) partial.rescale_output(shrink);
        }
    }

    // The same without turns, where the exponentials run under the warpgroup's own product with V. The loop ends with
    // the exponentials: the assembler moves nothing across its end, and would otherwise wait for that product ahead of
    // what it is to hide. They are packed behind the wait, for the product reads the registers of the weights while it
    // is under way: packed ahead of it, into registers of their own by the source, they came to lie in those.
    __device__ void walk_alone(Partial& partial, Logits& logits, Weights& weights, PromotedTotal& total,
                               const Walk& walk) const {
        float shrink[2];
        bool grown = walk.rows.weigh(partial, logits, (walk.blocks - 1) * Keys, shrink);
        for (int block = walk.blocks - 2;; --block) {
            wgmma_wait<0>();
            pin(partial.output);
            if (block < walk.blocks - 2) {
                release_values(walk.v);
                if constexpr (Ring::kPromoting) {
                    if (__builtin_expect(++total.tiles == kPromoteTiles, 0)) {
                        total.promote(partial.output, kOwn + walk.group);
                    }
                }
            }
            if constexpr (Ring::kPromoting) total.rescale(shrink);
            if (grown) partial.rescale_output(shrink);
            Products::pack_weights(weights, logits);
            if (block < 0) break;
            await_keys(walk.k);
            await_values(walk.v);
            pin(logits);
            pin(partial.output);
            wgmma_fence();
            multiply_keys(logits, walk.q, walk.k);
            multiply_values(partial, weights, walk.v);
            wgmma_wait<1>();
            pin(logits);
            release_keys(walk.k);
            if (Ring::kOwnOutput && block == 0) release(Ring::kEmptyQ);
            grown = walk.rows.weigh(partial, logits, block * Keys, shrink);
        }
    }

    // By all threads of warpgroup `group`: the tile's whole attention, with row sums that are whole rows'. The places
    // of K and V move on.
    __device__ void work(Partial& partial, const PipelineTile& work, const Rows& rows, bool negate, int group, Place& k,
                         Place& v, unsigned q_parity) const {
        const Walk walk = {ring.shared + group * Ring::kQueryBytes, group, work.blocks, rows, k, v};
        Logits logits;
        Weights weights;
        mbarrier_wait(ring.shared + Ring::kFullQ, q_parity);
        if (__builtin_expect(negate, 0)) negate_q(walk.q, kOwn + group);
        await_keys(k);
        pin(logits);
        wgmma_fence();
        multiply_keys(logits, walk.q, k);
        partial.clear_output();
        PromotedTotal total = {ring.shared + Ring::kO + group * Ring::kOutputPlace};
        wgmma_wait<0>();
        pin(logits);
        release_keys(k);
        if (Ring::kOwnOutput && work.blocks == 1) release(Ring::kEmptyQ);
        if constexpr (Turns) {
            walk_in_turns(partial, logits, weights, walk);
        } else {
            walk_alone(partial, logits, weights, total, walk);
        }
        await_values(v);
        pin(partial.output);
        wgmma_fence();
        multiply_values(partial, weights, v);
        partial.finish();
        if constexpr (Lazy) {
            partial.rounding[0] = quad_sum(partial.rounding[0]);
            partial.rounding[1] = quad_sum(partial.rounding[1]);
        }
        wgmma_wait<0>();
        pin(partial.output);
        release_values(v);
        if constexpr (Ring::kPromoting) total.add_to(partial.output);
    }

    // Divides the output by the row sums, multiplies it by `factor` and stores it; rows that do not exist are left out.
    __device__ void store(Partial& partial, const CUtensorMap& o_map, const Tile& tile, int group, float factor) const {
        const int lane = threadIdx.x % 32;
        const int row = threadIdx.x / 32 % 4 * 16 + lane / 4;
        const bool leader = threadIdx.x % 128 == 0;
        const unsigned o = ring.shared + Ring::kO + group * Ring::kOutputPlace;
        if (Ring::kOwnOutput && leader) store_wait_read();  // of the tile before
        barrier_sync(kOwn + group, 128);                    // or: all warps have read their Q
        float inverse[2];
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const float sum = partial.row_sum[h] + partial.rounding[h];
            inverse[h] = sum > 0.0f ? factor / sum : 0.0f;
        }
#pragma unroll
        for (int d = 0; d < D / 8; ++d) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const unsigned word =
                    pack<T>(partial.output[d][2 * h] * inverse[h], partial.output[d][2 * h + 1] * inverse[h]);
                const unsigned address =
                    o + d / 8 * Ring::kOutputPanelBytes + panel_offset(row + 8 * h, d % 8) + lane % 4 * 4;
                asm volatile("st.shared.b32 [%0], %1;" : : "r"(address), "r"(word) : "memory");
            }
        }
        async_fence();
        barrier_sync(kOwn + group, 128);
        if (leader) {
#pragma unroll
            for (int p = 0; p < Ring::kOutputPanels; ++p) {
                store_box(o_map, p * kPanelColumns, tile.first_row + group * 64, tile, o + p * Ring::kOutputPanelBytes);
            }
            store_commit();
        }
        __syncwarp();
    }

    // By all threads of warpgroup `group` with the tiles that are copied. `scale_of(work)` gives a tile's scale of
    // logits; `done(work, maxima, sums)` is called with its maxima and sums, and gives
    // the factor of its output. `causal` and `offset`, the position of query 0 among the keys, are of all.
    template <typename NextTile, typename ScaleOf, typename Done>
    __device__ void work_all(const CUtensorMap& o_map, int group, bool negate, bool causal, int offset, int key_count,
                             const NextTile& next_tile, const ScaleOf& scale_of, const Done& done) const {
        Place k, v;
        unsigned q_parity = 0;
        PipelineTile tile;
        if (Turns && group == Warpgroups - 1) barrier_arrive(kTurn, 256);  // the first turn is the first group's
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
            store(partial, o_map, tile.tile, group, done(tile, partial.row_max, partial.row_sum));
            if (!Ring::kOwnOutput && tile.blocks > 0 && threadIdx.x % 128 == 0) {
                store_wait_read();
                mbarrier_arrive(ring.shared + Ring::kEmptyQ);
            }
            __syncwarp();
        }
        if (threadIdx.x % 128 == 0) store_wait_read();
    }
};

}  // namespace
}  // namespace kgate
