// A warp's ring of K and V tiles in shared memory: how they come there, and where a row of them then is.
//
// A ring is a warp's own: its lanes copy, wait and read, and no other warp takes part. Tiles come by cp.async, 16 bytes
// a lane (every architecture), or by the tensor memory accelerator (sm_90): whole rows, or panels of 128 bytes of them;
// with Stream they are the first to leave L2, for each is read once.
#pragma once

#include "cuda/cp_async.cuh"
#include "cuda/tma.cuh"

namespace kgate {
namespace {

enum DecodeCopy { ByChunk = 0, ByRow = 1, ByPanel = 2 };

// Where a ring's keys and values are; maps for the accelerator only.
struct DecodeSource {
    const void *k, *v;           // of the batch and the head
    int64_t k_stride, v_stride;  // of a row
    const CUtensorMap *k_map, *v_map;
    Tile tile;  // batch and head of the maps
    int end;    // keys from here on are not copied
};

template <int D, int Keys, int Stages, DecodeCopy Copy, bool Stream>
struct DecodeRing {
    static_assert(Keys % 16 == 0, "a tile must be whole matrices.");
    static_assert(Copy != ByRow || D % 64 == 0, "a row must be whole lines.");
    static constexpr bool kSwizzled = Copy != ByChunk;
    static constexpr int kPanels = (D + 63) / 64;
    // Bytes of a row. By chunk and by panel ldmatrix is free of bank conflicts; by row it meets two at D = 128.
    static constexpr int kStride = Copy == ByChunk ? (D + 8) * 2 : Copy == ByRow ? kPanels * 128 : 128;
    static constexpr int kNextPanel = Copy == ByRow ? 128 : Keys * 128;
    static constexpr int kTileBytes = Keys * (kSwizzled ? kPanels * 128 : kStride);
    static constexpr int kBytes = 2 * Stages * kTileBytes;
    static constexpr int kChunks = D / 8;  // of a row, 16 bytes each

    unsigned tiles, barriers;  // addresses in shared memory
    const DecodeSource& of;
    int slot;         // whose turn it is
    unsigned parity;  // of its barrier

    __device__ DecodeRing(unsigned tiles, unsigned barriers, const DecodeSource& of)
        : tiles(tiles), barriers(barriers), of(of), slot(0), parity(0) {
        if constexpr (kSwizzled) {
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

    // A row of a tile, and the 16 bytes of it that `chunk`, an even constant, and `odd`, 0 or 1, name: chunk + odd. The
    // accelerator swaps the chunks of each line of 128 bytes by the line's number.
    static __device__ unsigned place(unsigned row, int row_in_8, int chunk, int odd) {
        if constexpr (!kSwizzled) {
            return row + (chunk + odd) * 16;
        } else {
            const int line = Copy == ByRow ? row_in_8 * kPanels % 8 : row_in_8;
            const int panel = Copy == ByRow ? chunk / 8 : 0;
            return row + chunk / 8 * kNextPanel + (((odd ^ line) * 16) ^ ((chunk % 8 ^ panel) * 16));
        }
    }

    // Copies the tile of keys [key, key + Keys) to `slot`, which nobody reads any more; keys that do not exist become
    // zeros.
    __device__ void start(int key, int slot) const {
        if constexpr (kSwizzled) {
            if (key < of.end && threadIdx.x % 32 == 0) {
                const unsigned barrier = barriers + slot * 8;
                mbarrier_expect(barrier, 2 * kTileBytes);
                copy_tile(keys(slot), *of.k_map, key, barrier);
                copy_tile(values(slot), *of.v_map, key, barrier);
            }
        } else {
            if (key < of.end) {
                copy_chunks(keys(slot), of.k, of.k_stride, key);
                copy_chunks(values(slot), of.v, of.v_stride, key);
            }
            cp_async_commit();
        }
    }

    __device__ void copy_tile(unsigned target, const CUtensorMap& map, int key, unsigned barrier) const {
        if constexpr (Copy == ByRow) {
            if constexpr (Stream) {
                copy_rows(target, map, key, of.tile, barrier, evict_first());
            } else {
                copy_rows(target, map, key, of.tile, barrier);
            }
        } else {
#pragma unroll
            for (int p = 0; p < kPanels; ++p) {
                if constexpr (Stream) {
                    copy_box(target + p * kNextPanel, map, p * 64, key, of.tile, barrier, evict_first());
                } else {
                    copy_box(target + p * kNextPanel, map, p * 64, key, of.tile, barrier);
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
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                         :
                         : "r"(target + row * kStride + column * 16), "l"(from), "r"(valid ? 16 : 0)
                         : "memory");
        }
    }

    // Until the tile of the slot whose turn it is lies there, for all lanes.
    __device__ void wait() const {
        if constexpr (kSwizzled) {
            mbarrier_wait(barriers + slot * 8, parity);
        } else {
            cp_async_wait<Stages - 1>();
            __syncwarp();
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
