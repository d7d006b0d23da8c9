// How the logits of a tile of keys become weights in a pipeline (warpgroup_pipeline.cuh): masked, held against the
// maxima of the rows so far, exponentiated.
#pragma once

#include "attention/warpgroup/warpgroup_partial.cuh"
#include "cuda/exp2.cuh"

namespace kgate {
namespace {

// A row is rescaled only when its maximum has grown by more than this, in the log2 domain (mma_tile.cuh).
constexpr float kPipelineGrowth = 8.0f;

// What is known of the tile's keys and of the warpgroup's rows while it works. Turns and Lazy are the pipeline's.
template <typename Products, bool Turns, bool Lazy, bool Fast>
struct PipelineRows {
    static constexpr int Keys = Products::kKeys;
    using Partial = WarpgroupPartial<typename Products::Output, Products::kColumns, Fast>;
    using Logits = float[Keys / 8][4];

    int position;   // of the warp's first row among the keys: its last visible one, if causal
    int key_count;  // of all keys
    bool causal;
    float scale;

    // Turns the logits of the keys from `key` on into weights. Whether the output must be multiplied by `shrink`.
    __device__ bool weigh(Partial& partial, Logits& logits, int key, float (&shrink)[2]) const {
        if (__builtin_expect(key + Keys > key_count || (causal && key + Keys - 1 > position), 0)) {
            Partial::mask(logits, position, key, key_count, causal);
        }
        float best[2];
        float base[2];
        if constexpr (Turns) {
            Partial::raise(best, logits, true);
        } else {
            Partial::raise_by_bits(best, logits);
        }
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
        if constexpr (Lazy) partial.add_rounding(best, scale, base, shrink);
        return grown;
    }
};

}  // namespace
}  // namespace kgate
