// The two products of attention on wgmma, of 16-bit numbers, as a pipeline (warpgroup_pipeline.cuh) asks for them.
#pragma once

#include "cuda/conversions.cuh"
#include "cuda/tile_walk.cuh"
#include "cuda/tma.cuh"
#include "cuda/wgmma.cuh"

namespace kgate {
namespace {

// How tiles lie in shared memory, and what is done with them: everything is panels of 64 columns (wgmma.cuh).
template <typename T, int D, int Keys>
struct Products16 {
    static constexpr int kKeys = Keys;
    static constexpr int kColumns = D;
    static constexpr int kPanels = D / kPanelColumns;
    static constexpr int kQueryBytes = 64 * D * 2;  // of a warpgroup
    static constexpr int kKeyBytes = Keys * D * 2;
    static constexpr int kValueBytes = Keys * D * 2;
    static constexpr float kLogWeight = 0.0f;  // a weight of 1 is stored as 2 to the power of this
    static constexpr int kPromoteTiles = 0;    // accumulators keep all 32 bits
    using Output = T;
    static constexpr int kWeights = Keys / 16;  // times four registers

    static __device__ void copy_queries(unsigned target, const CUtensorMap& map, int row, const Tile& tile,
                                        unsigned barrier) {
#pragma unroll
        for (int p = 0; p < kPanels; ++p)
            copy_box(target + p * 64 * kPanelRow, map, p * kPanelColumns, row, tile, barrier);
    }

    static __device__ void copy_keys(unsigned target, const CUtensorMap& map, int key, const Tile& tile,
                                     unsigned barrier) {
#pragma unroll
        for (int p = 0; p < kPanels; ++p)
            copy_box(target + p * Keys * kPanelRow, map, p * kPanelColumns, key, tile, barrier);
    }
    static __device__ void await_values() {}
    static __device__ void copy_values(unsigned target, const CUtensorMap& map, int key, const Tile& tile,
                                       unsigned barrier) {
        copy_keys(target, map, key, tile, barrier);
    }

    static __device__ void multiply_keys(float (&logits)[Keys / 8][4], unsigned q, unsigned keys) {
#pragma unroll
        for (int d = 0; d < D / 16; ++d) {
            const uint64_t left = panel_descriptor(q + d / 4 * 64 * kPanelRow + d % 4 * 32);
            const uint64_t right = panel_descriptor(keys + d / 4 * Keys * kPanelRow + d % 4 * 32);
            if (d == 0) {
                multiply_panels<T, false>(logits, left, right);
            } else {
                multiply_panels<T, true>(logits, left, right);
            }
        }
    }

    static __device__ void multiply_values(float (&output)[D / 8][4], const unsigned (&weights)[kWeights][4],
                                           unsigned values) {
#pragma unroll
        for (int j = 0; j < kWeights; ++j) {
            multiply_rows<T, true>(output, weights[j], panel_descriptor(values + j * 16 * kPanelRow, Keys * kPanelRow));
        }
    }

    static __device__ void pack_weights(unsigned (&weights)[kWeights][4], const float (&logits)[Keys / 8][4]) {
#pragma unroll
        for (int j = 0; j < kWeights; ++j) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {  // rows 0-7 and 8-15 of columns 0-7, then of 8-15
                const float (&four)[4] = logits[2 * j + i / 2];
                weights[j][i] = pack<T>(four[i % 2 * 2], four[i % 2 * 2 + 1]);
            }
        }
    }

    // By one thread for each word of a warpgroup's Q.
    static __device__ unsigned negated(unsigned word) { return word ^ 0x80008000; }
};

}  // namespace
}  // namespace kgate
