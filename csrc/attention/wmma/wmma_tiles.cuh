// The tiles of the wmma kernel: which one a call takes, which ones the knobs may ask for, and how one lies in shared
// memory.
//
// The source that includes this has declared the knobs BLOCK_M, BLOCK_N, NUM_WARPS, NUM_PRODUCER_WARPS and STAGES.
#pragma once

#include "cuda/knobs.cuh"
#include "cuda/launch.cuh"
#include "cuda/tile_walk.cuh"

namespace kgate {

struct TileShape {
    int m;       // query rows of a block
    int n;       // keys of a tile
    int warps;   // that compute
    int stages;  // of K and V
};

enum Grid { Few, Some, Many };  // blocks of 32 rows fill at most one wave; blocks of 64 rows do; more

constexpr bool kGiven = BLOCK_M != 0 || BLOCK_N != 0 || NUM_WARPS != 0;

constexpr int ring_elements(TileShape t, int stride) {  // the last stage, or Q in its place, may be the larger
    return max_of(t.stages * 2 * t.n, (t.stages - 1) * 2 * t.n + t.m) * stride;
}
constexpr int patch_floats(TileShape t) { return 16 * (t.n / (t.warps / (t.m / 16)) + 4); }  // of a warp

// Narrower tiles, and no more warps than have 32 keys each, until a block fits.
constexpr TileShape fitted(TileShape t, int head_dim) {
    while (t.n > 32 && ring_elements(t, head_dim + PAD) * 2 + t.warps * patch_floats(t) * 4 > kMostShared) {
        t.n /= 2;
        while (t.n / (t.warps / (t.m / 16)) < 32) t.warps /= 2;
    }
    return t;
}

// The fewer rows there are, the smaller the blocks that they are cut into, and the more key groups share a block's
// rows. Chosen on an H200 from the sweep in benchmarks/h200/wmma-tiles.json.
constexpr TileShape tile_shape(int head_dim, Grid grid) {
    const int stages = STAGES != 0 ? STAGES : 2;
    if (kGiven)
        return {BLOCK_M != 0 ? BLOCK_M : 64, BLOCK_N != 0 ? BLOCK_N : 64, NUM_WARPS != 0 ? NUM_WARPS : 8, stages};
    // 27 to 43 KB: two or three blocks share the 100 KB of sm_86 and sm_89.
    if (kSmallShared) return {64, 32, 4, stages};
    const bool slim = head_dim <= 64;  // only then do the registers last for 16 warps
    switch (grid) {
        case Few: return fitted({32, 128, 8, STAGES == 0 && slim ? 3 : stages}, head_dim);
        case Some: return fitted({64, 128, slim ? 16 : 8, stages}, head_dim);
        default: return fitted({128, 64, slim ? 16 : 8, stages}, head_dim);
    }
}

// Conditions on a tile, each a sentence that is told once even where several fail.
constexpr bool good_warps(TileShape t) {
    return t.warps >= 1 && NUM_PRODUCER_WARPS >= 0 && t.warps + NUM_PRODUCER_WARPS <= 32;
}
constexpr bool good_rows(TileShape t) { return t.m >= 16 && t.m % 16 == 0; }
constexpr bool good_groups(TileShape t) { return !good_warps(t) || !good_rows(t) || t.warps % (t.m / 16) == 0; }
constexpr bool good_keys(TileShape t) {
    if (!good_warps(t) || !good_rows(t) || !good_groups(t)) return true;
    const int groups = t.warps / (t.m / 16);
    return t.n > 0 && t.n % groups == 0 && t.n / groups % 16 == 0 && t.n / groups >= 32 && t.n / groups <= 128;
}
constexpr TileShape kShape = tile_shape(64, Many);  // the knobs', if any is set
static_assert(good_warps(kShape),
              "NUM_WARPS + NUM_PRODUCER_WARPS must be 1 to 32: a block holds at most 1024 threads.");
static_assert(good_rows(kShape), "BLOCK_M must be a multiple of 16, the rows of a wmma tile.");
static_assert(good_groups(kShape), "NUM_WARPS must be a multiple of BLOCK_M / 16: each warp takes 16 rows.");
static_assert(good_keys(kShape),
              "BLOCK_N / (16 * NUM_WARPS / BLOCK_M), the keys per warp, must be a multiple of 16 from 32 to 128.");
static_assert(STAGES >= 0 && STAGES <= 3, "STAGES must be 1, 2 or 3, or 0 to leave it to the kernel.");

template <int D, int M, int N, int Warps, int Stages>
struct Layout {
    static constexpr int kThreads = (Warps + NUM_PRODUCER_WARPS) * 32;
    static constexpr int kFirstCopier = NUM_PRODUCER_WARPS > 0 ? Warps * 32 : 0;  // threads from this one on copy
    static constexpr int kCopiers = kThreads - kFirstCopier;
    static constexpr int kRowGroups = M / 16;
    static constexpr int kKeyGroups = Warps / kRowGroups;
    static constexpr int kWarpKeys = N / kKeyGroups;
    // Shared memory. Floats of a patch's row: 4 more put the rows that eight lanes touch together on different banks.
    static constexpr int kPatchStride = kWarpKeys + 4;
    static constexpr int kPatch = 16 * kPatchStride;
    static constexpr int kStride = D + PAD;
    static constexpr int kTile = N * kStride;  // elements of one K or V tile
    // Elements before Q, which lies where the last stage will.
    static constexpr int kQ = (Stages - 1) * 2 * kTile;
    static constexpr int kPatches = ring_elements({M, N, Warps, Stages}, kStride) * 2;  // bytes before the patches
    static constexpr int kLoopBytes = kPatches + Warps * kPatch * 4;
    // The epilogue, in place of all that.
    static constexpr int kOutputStride = D + 4;             // floats
    static constexpr int kOutputWarp = 16 * kOutputStride;  // floats
    static constexpr int kMax = Warps * kOutputWarp * 4;    // (Warps, 16) row maxima
    static constexpr int kSum = kMax + Warps * 16 * 4;      // (Warps, 16) row sums
    static constexpr int kBytes = max_of(kLoopBytes, kSum + Warps * 16 * 4);
};

}  // namespace kgate
