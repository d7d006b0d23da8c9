// What the two hybrids share, whose own kernel does one product on tensor cores: how a block's tile is split between
// warps, the ring of tiles of K or V, and launching. The source that includes it has declared BLOCK_M, BLOCK_N,
// NUM_WARPS, STAGES and KEPT_KEYS.
#pragma once

#include "cuda/knobs.cuh"
#include "cuda/launch.cuh"
#include "cuda/mma_sync.cuh"
#include "cuda/tile_walk.cuh"
#include "gemm/gemm_rung.cuh"

namespace kgate {
namespace {

constexpr int kThreads = NUM_WARPS * 32;
constexpr int kRowGroups = BLOCK_M / 16;  // of 16 rows: a warp's
constexpr int kKeyGroups = NUM_WARPS / (kRowGroups > 0 ? kRowGroups : 1);
constexpr bool kWarpsFit = BLOCK_M % 16 == 0 && kRowGroups * kKeyGroups == NUM_WARPS;

static_assert(NUM_WARPS >= 1 && NUM_WARPS <= 32, "NUM_WARPS must be 1 to 32: a block holds at most 1024 threads.");
static_assert(BLOCK_M >= 16 && BLOCK_M % 16 == 0, "BLOCK_M must be a multiple of 16, the rows of an mma tile.");
static_assert(kRowGroups * kKeyGroups == NUM_WARPS,
              "NUM_WARPS must be a multiple of BLOCK_M / 16: each warp takes 16 rows.");
static_assert(STAGES >= 2 && STAGES <= 8, "STAGES must be 2 to 8.");
static_assert(BLOCK_N >= 0 && BLOCK_N % 16 == 0, "BLOCK_N must be 0 or a multiple of 16, the keys of an mma tile.");
static_assert(KEPT_KEYS >= 0 && (!kWarpsFit || KEPT_KEYS <= 256 * kKeyGroups),
              "KEPT_KEYS / (16 * NUM_WARPS / BLOCK_M), the kept keys per warp, must be 0 to 256: half as many "
              "registers a lane hold their logits.");

// Keys of a tile. Of a small head 128 take no more room than 64 of a large one, and are half as many barriers.
constexpr int tile_keys(int head_dim) {
    if (BLOCK_N > 0) return BLOCK_N;
    return head_dim <= 64 && kKeyGroups > 1 ? 128 : 64;
}

// Whether a warp's share of a tile has a size that `most` keys a warp allow; also true where the warps themselves do
// not fit, which has been told already.
constexpr bool keys_fit(int most) {
    if (!kWarpsFit) return true;
    for (const int keys : {tile_keys(64), tile_keys(128)}) {
        const int share = keys / kKeyGroups;
        if (share * kKeyGroups != keys || share % 16 != 0 || share < 16 || share > most) return false;
    }
    return true;
}

template <int D>
struct Ring {                                   // of tiles in shared memory
    static constexpr int kKeys = tile_keys(D);  // of a tile: rows of K or V
    static constexpr int kWarpKeys = kKeys / max_of(1, kKeyGroups);
    static constexpr int kKeptTiles = KEPT_KEYS / kKeys;  // of a row whose logits are kept
    static constexpr int kStride = D + PAD;
    static constexpr int kTile = kKeys * kStride;  // elements
    static constexpr int kStages = max_of(2, min_of(STAGES, 40 * 1024 / (kTile * 2)));
    static constexpr int kRingBytes = kStages * kTile * 2;
};

struct TileArgs {
    SdpaArgsV1 sdpa;
    LogitChunk chunk;
    int64_t pairs, sums;  // as in Workspace
};

// A block for every BLOCK_M rows of the chunk: of the kernel that keeps the logits of whole rows, if it can.
template <typename Layout, auto Keeping, auto Sweeping>
int launch_tiles(const SdpaArgsV1& args, const Workspace& workspace, const LogitChunk& chunk, void* stream) {
    const TileArgs all = {args, chunk, workspace.pairs, workspace.sums};
    const int64_t blocks = static_cast<int64_t>(ceil_div(chunk.rows, BLOCK_M)) * slices_of(chunk);
    constexpr int kBytes = Layout::kBytes;
    return chunk.keys <= Layout::kKeptTiles * Layout::kKeys ? launch<Keeping>(all, blocks, kThreads, kBytes, stream)
                                                            : launch<Sweeping>(all, blocks, kThreads, kBytes, stream);
}

}  // namespace
}  // namespace kgate
