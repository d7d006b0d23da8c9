// A warp's ring of K and V tiles in shared memory: how they come there, and where a row of them then is.
//
// A ring is a warp's own: its lanes copy, wait and read, and no other warp takes part. Tiles come by cp.async, 16 bytes
// a lane (every architecture), by a bulk copy a row, or whole, by the tensor memory accelerator (sm_90).
#pragma once

#include "cuda/cp_async.cuh"
#include "cuda/tma.cuh"

namespace kgate {
namespace {

enum DecodeCopy { ByChunk = 0, ByRow = 1, ByTile = 2 };

// Where a ring's keys and values are; maps only ByTile.
struct DecodeSource {
    const void *k, *v;           // of the batch and the head
    int64_t k_stride, v_stride;  // of a row
    const CUtensorMap *k_map, *v_map;
    Tile tile;  // batch and head of the maps
    int end;    // keys from here on are not copied
};

// How L2 should keep what is read once.
template <bool EvictFirst>
__device__ inline uint64_t decode_policy() {
    uint64_t policy = 0;
    if constexpr (EvictFirst) {
        asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    }
    return policy;
}

template <int D, int Keys, int Stages, DecodeCopy Copy, bool EvictFirst, int Prefetch>
struct DecodeRing {
    static constexpr bool kSwizzled = Copy == ByTile;
    static constexpr int kPanels = (D + 63) / 64;
    static constexpr int kStride = kSwizzled ? 128 : (D + 8) * 2;  // bytes: ldmatrix is free of bank conflicts
    static constexpr int kTileBytes = Keys * (kSwizzled ? kPanels * 128 : kStride);
    static constexpr int kBytes = 2 * Stages * kTileBytes;
    static constexpr int kChunks = D / 8;  // of a row, 16 bytes each
    static_assert(Keys % 16 == 0, "a tile must be whole matrices.");

    unsigned tiles, barriers;  // addresses in shared memory
    const DecodeSource& of;
    uint64_t policy;
    int slot;         // whose turn it is
    unsigned parity;  // of its barrier

    __device__ DecodeRing(unsigned tiles, unsigned barriers, const DecodeSource& of)
        : tiles(tiles), barriers(barriers), of(of), policy(decode_policy<EvictFirst>()), slot(0), parity(0) {
        if constexpr (Copy != ByChunk) {
            if (threadIdx.x % 32 == 0) {
#pragma unroll
                for (int i = 0; i < Stages; ++i) mbarrier_init(barriers + i * 8);
                mbarrier_fence();
            }
            __syncwarp();
        }
    }

    __device__ unsigned keys(int slot) const { return tiles + 2 * slot * kTileBytes; }
    __device__ unsigned values(int slot) const { return keys(slot) + kTileBytes; }

    // A row of a tile, and the 16 bytes of it that `chunk`, a constant, and `odd`, 0 or 1, name: chunk + odd.
    static __device__ unsigned place(unsigned row, int row_in_8, int chunk, int odd) {
        if constexpr (kSwizzled) {
            return row + chunk / 8 * Keys * 128 + (((odd ^ row_in_8) * 16) ^ (chunk % 8 * 16));
        } else {
            return row + (chunk + odd) * 16;
        }
    }

    // Copies the tile of keys [key, key + Keys) to `slot`, which nobody reads any more; keys that do not exist become
    // zeros.
    __device__ void start(int key, int slot) const {
        if constexpr (Copy == ByTile) {
            if (key < of.end && threadIdx.x % 32 == 0) {
                const unsigned barrier = barriers + slot * 8;
                mbarrier_expect(barrier, 2 * kTileBytes);
#pragma unroll
                for (int p = 0; p < kPanels; ++p) {
                    copy_box<EvictFirst>(keys(slot) + p * Keys * 128, *of.k_map, p * 64, key, of.tile, barrier, policy);
                }
#pragma unroll
                for (int p = 0; p < kPanels; ++p) {
                    copy_box<EvictFirst>(values(slot) + p * Keys * 128, *of.v_map, p * 64, key, of.tile, barrier,
                                         policy);
                }
            }
        } else if constexpr (Copy == ByRow) {
            start_rows(key, slot);
        } else {
            if (key < of.end) {
                copy_chunks(keys(slot), of.k, of.k_stride, key);
                copy_chunks(values(slot), of.v, of.v_stride, key);
            }
            cp_async_commit();
        }
    }

    // Has L2 fetch the tile of keys [key, key + Keys). Nothing is read by it: keys may still be written meanwhile.
    __device__ void prefetch(int key) const {
        if constexpr (Copy == ByTile) {
            if (key >= of.end || threadIdx.x % 32 != 0) return;
#pragma unroll
            for (int p = 0; p < kPanels; ++p) prefetch_box(*of.k_map, p * 64, key, of.tile);
#pragma unroll
            for (int p = 0; p < kPanels; ++p) prefetch_box(*of.v_map, p * 64, key, of.tile);
        }
    }

    __device__ void start_rows(int key, int slot) const {
        if (key >= of.end) return;
        const int lane = threadIdx.x % 32;
        const unsigned barrier = barriers + slot * 8;
        const int rows = min(Keys, of.end - key);
        if (lane == 0) mbarrier_expect(barrier, 2 * rows * D * 2);
        __syncwarp();
#pragma unroll
        for (int i = 0; i < 2 * Keys / 32; ++i) {
            const int row = (i * 32 + lane) % Keys;
            const bool value = i * 32 + lane >= Keys;
            const unsigned target = (value ? values(slot) : keys(slot)) + row * kStride;
            const int64_t offset = (key + row) * (value ? of.v_stride : of.k_stride) * 2;
            if (row < rows) {
                copy_bulk<EvictFirst>(target, static_cast<const char*>(value ? of.v : of.k) + offset, D * 2, barrier,
                                      policy);
            } else {  // a weight of zero times what is no number would be none
                for (int c = 0; c < kChunks; ++c) {
                    asm volatile("st.shared.v4.b32 [%0], {%1, %1, %1, %1};"
                                 :
                                 : "r"(target + c * 16), "r"(0)
                                 : "memory");
                }
            }
        }
    }

    __device__ void copy_chunks(unsigned target, const void* source, int64_t row_stride, int key) const {
        static_assert(Keys * kChunks % 32 == 0, "a tile must be whole copies of a warp.");
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int i = 0; i < Keys * kChunks / 32; ++i) {
            const int chunk = i * 32 + lane;
            const int row = chunk / kChunks;
            const int column = chunk % kChunks;
            const bool valid = key + row < of.end;
            const char* const bytes = static_cast<const char*>(source);
            const char* const from = valid ? bytes + (key + row) * row_stride * 2 + column * 16 : bytes;
            const unsigned to = target + row * kStride + column * 16;
            const int size = valid ? 16 : 0;
            if constexpr (EvictFirst && Prefetch == 256) {
                asm volatile("cp.async.cg.shared.global.L2::cache_hint.L2::256B [%0], [%1], 16, %2, %3;"
                             :
                             : "r"(to), "l"(from), "r"(size), "l"(policy)
                             : "memory");
            } else if constexpr (EvictFirst) {
                asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2, %3;"
                             :
                             : "r"(to), "l"(from), "r"(size), "l"(policy)
                             : "memory");
            } else if constexpr (Prefetch == 256) {
                asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;"
                             :
                             : "r"(to), "l"(from), "r"(size)
                             : "memory");
            } else if constexpr (Prefetch == 128) {
                asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;"
                             :
                             : "r"(to), "l"(from), "r"(size)
                             : "memory");
            } else {
                asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                             :
                             : "r"(to), "l"(from), "r"(size)
                             : "memory");
            }
        }
    }

    // Until the tile of the slot whose turn it is lies there, for all lanes.
    __device__ void wait() const {
        if constexpr (Copy == ByChunk) {
            cp_async_wait<Stages - 1>();
            __syncwarp();
        } else {
            mbarrier_wait(barriers + slot * 8, parity);
            if constexpr (Copy == ByRow) __syncwarp();  // zeros that other lanes wrote
        }
    }

    // After a turn: the slot gets the tile from `key` on, and the next one has its turn.
    __device__ void next(int key) {
        __syncwarp();  // the slot has no reader left
        start(key, slot);
        if (++slot == Stages) {
            slot = 0;
            parity ^= 1;
        }
    }
};

}  // namespace
}  // namespace kgate
