// The shared memory of a pipeline's block (warpgroup_pipeline.cuh), and the role that fills it: one thread copies Q,
// and tiles of K and V into a ring.
#pragma once

#include "cuda/debug_assert.cuh"
#include "cuda/mbarrier.cuh"
#include "cuda/tile_walk.cuh"
#include "cuda/tma.cuh"
#include "cuda/wgmma.cuh"

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

// Products say how tiles lie. Warpgroups have 64 rows of Q and of O each; Stages tiles of K and of V are in flight.
template <typename Products, int Warpgroups, int Stages>
struct PipelineRing {
    static constexpr int D = Products::kColumns;
    static constexpr int Keys = Products::kKeys;
    static constexpr int kRows = 64 * Warpgroups;
    static constexpr int kThreads = 128 * (Warpgroups + 1);
    static constexpr int kQueryBytes = Products::kQueryBytes;
    static constexpr int kOutputPanels = D / kPanelColumns;
    static constexpr unsigned kOutputPanelBytes = 64 * kPanelRow;
    static constexpr int kOutputBytes = 64 * D * 2;  // of a warpgroup
    // Where O is, there is in fp32 what has been promoted of it, until O is known.
    static constexpr bool kPromoting = Products::kPromoteTiles > 0;
    static constexpr int kOutputPlace = kPromoting ? 64 * D * 4 : kOutputBytes;

    // Offsets in shared memory. Where there is no room for O, it takes the place of Q.
    static constexpr int kK = Warpgroups * kQueryBytes;
    static constexpr int kV = kK + Stages * Products::kKeyBytes;
    static constexpr int kBehind = kV + Stages * Products::kValueBytes;
    static constexpr int kBarrierBytes = (2 + 4 * Stages) * 8;
    static constexpr bool kOwnOutput = kBehind + Warpgroups * kOutputPlace + kBarrierBytes <= 227 * 1024;
    static_assert(kOwnOutput || kOutputPlace == kQueryBytes, "O must be as large as Q to take its place.");
    static constexpr int kO = kOwnOutput ? kBehind : 0;
    static constexpr int kBarriers = kBehind + (kOwnOutput ? Warpgroups * kOutputPlace : 0);
    static constexpr int kBytes = kBarriers + kBarrierBytes;
    static_assert(kQueryBytes % 1024 == 0 && Products::kKeyBytes % 1024 == 0 && Products::kValueBytes % 1024 == 0,
                  "a tile must be whole groups of eight rows, as its swizzle is.");

    // mbarriers: of Q, then of each slot of K and of V; first that it is full, then that it is empty.
    static constexpr int kFullQ = kBarriers, kEmptyQ = kBarriers + 8;
    static constexpr int kFullK = kBarriers + 16, kEmptyK = kFullK + Stages * 8;
    static constexpr int kFullV = kEmptyK + Stages * 8, kEmptyV = kFullV + Stages * 8;

    using Place = RingPlace<Stages>;

    unsigned shared;

    // By all threads, at first; the maps are those that will be copied by.
    template <typename... Maps>
    __device__ void start(const Maps&... maps) const {
        DEBUG_ASSERT(shared % 1024 == 0);  // panels are swizzled by address
        if (threadIdx.x == 0) {
            (prefetch_map(maps), ...);
            prepare();
        }
        __syncthreads();
    }

    // By one thread.
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

    template <typename Values>
    __device__ void copy_values(const Values& values, const PipelineTile& work, int block, Place& place) const {
        const unsigned barrier = claim(place, kFullV, kEmptyV, Products::kValueBytes);
        const Tile source = {work.tile.batch, work.kv_head, 0, 0};
        Products::copy_values(shared + kV + place.slot * Products::kValueBytes, values, block * Keys, source, barrier);
        place.advance();
    }

    // By one thread. `next_tile(round, work)` says whether there is one more. Where V is, is between the products and
    // their kernel.
    template <typename Values, typename NextTile>
    __device__ void copy(const CUtensorMap& q_map, const CUtensorMap& k_map, const Values& values,
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
            Products::await_values();
            for (int block = work.blocks - 2; block >= 0; --block) {
                copy_keys(k_map, work, block, k);
                copy_values(values, work, block + 1, v);
            }
            copy_values(values, work, 0, v);
        }
    }
};

}  // namespace
}  // namespace kgate
