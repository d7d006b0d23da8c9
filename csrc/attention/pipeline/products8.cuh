// The two products of attention on wgmma, of 8-bit numbers (e4m3), as a pipeline (warpgroup_pipeline.cuh) asks for
// them.
//
// The instruction takes 8-bit operands only along their rows. So V comes transposed, in each 32 keys in an order by
// which a lane's logits, four of which are one register of the left operand, need not change lanes: place 16 h + 4 q +
// i has key 16 h + 2 q + i for i < 2, and 16 h + 8 + 2 q + i - 2 for the others (key_at).
#pragma once

#include "cuda/launch.cuh"
#include "cuda/tile_walk.cuh"
#include "cuda/tma.cuh"
#include "cuda/wgmma.cuh"

namespace kgate {
namespace {

// Which of 32 keys is at this place of a row of V.
__host__ __device__ constexpr int key_at(int place) {
    const int i = place % 4;
    return place / 16 * 16 + i / 2 * 8 + place % 16 / 4 * 2 + i % 2;
}

// Where 16-byte chunk `chunk` of row `d` is in a tile of V^T, as wgmma reads it: panels of 128 keys, D rows each, and a
// last one of 64 (64-byte rows, 64-byte swizzle) where the keys are an odd number of 64s.
template <int D, int Keys>
__host__ __device__ constexpr unsigned value_offset(int d, int chunk) {
    const int panel = chunk / 8;
    if (panel < Keys / 128) return panel * D * kPanelRow + d * kPanelRow + ((chunk % 8 ^ d % 8) * 16);
    return panel * D * kPanelRow + d * 64 + ((chunk % 4 ^ d / 2 % 4) * 16);
}

// Names the panel of 64 keys at an address: 64-byte swizzle, 512 bytes between groups of eight rows.
__device__ inline uint64_t half_panel_descriptor(unsigned address) {
    return static_cast<uint64_t>(2) << 62 | static_cast<uint64_t>(512 / 16) << 32 | static_cast<uint64_t>(1) << 16 |
           (address & 0x3ffff) / 16;
}

// Rounds four numbers to e4m3, beyond 448 to 448; the first gets the low 8 bits. In one statement, for the second
// conversion to be one instruction with the joining.
__device__ inline unsigned pack_e4m3(float a, float b, float c, float d) {
    unsigned word;
    asm volatile(
        "{\n.reg .b16 low, high;\ncvt.rn.satfinite.e4m3x2.f32 low, %2, %1;\n"
        "cvt.rn.satfinite.e4m3x2.f32 high, %4, %3;\nmov.b32 %0, {low, high};\n}"
        : "=r"(word)
        : "f"(a), "f"(b), "f"(c), "f"(d));
    return word;
}

// Tiles of V, transposed: kv_heads times `count` of a batch.
struct ValueTiles {
    const unsigned char* tiles;
    int kv_heads, count;
};

// Rows of Q and K are 128 bytes, of which D < 128 fills a part.
template <int D, int Keys>
struct Products8 {
    static_assert(Keys % 64 == 0, "keys are panels of 128, and one of 64.");
    static constexpr int kKeys = Keys;
    static constexpr int kColumns = D;
    static constexpr int kQueryBytes = 64 * kPanelRow;  // of a warpgroup
    static constexpr int kKeyBytes = kKeys * kPanelRow;
    static constexpr int kValueBytes = D * kKeys;
    // A row's greatest weight becomes 2 to the power of this, which e4m3 has exactly: it ends at 448, and is exact to
    // 2^-4 of a number down to 2^-6.
    static constexpr float kLogWeight = 8.0f;
    // Accumulators keep 13 bits of a sum of 8-bit products: of thousands of keys whose values do not cancel, a product
    // is then less than what the sum so far is rounded to. So the sum over this many tiles is added to those before it
    // in fp32.
    static constexpr int kPromoteTiles = (PROMOTE_KEYS + Keys - 1) / Keys;
    using Output = __nv_bfloat16;
    static constexpr int kWeights = kKeys / 32;  // times four registers

    static __device__ void copy_queries(unsigned target, const CUtensorMap& map, int row, const Tile& tile,
                                        unsigned barrier) {
        copy_box(target, map, 0, row, tile, barrier);
    }
    static __device__ void copy_keys(unsigned target, const CUtensorMap& map, int key, const Tile& tile,
                                     unsigned barrier) {
        copy_box(target, map, 0, key, tile, barrier);
    }
    static __device__ void await_values() { await_earlier_launch(); }
    static __device__ void copy_values(unsigned target, const ValueTiles& values, int key, const Tile& tile,
                                       unsigned barrier) {
        const int slice = tile.batch * values.kv_heads + tile.head;
        const int64_t index = static_cast<int64_t>(slice) * values.count + key / kKeys;
        copy_bytes(target, values.tiles + index * kValueBytes, kValueBytes, barrier);
    }

    static __device__ void multiply_keys(float (&logits)[kKeys / 8][4], unsigned q, unsigned keys) {
        const uint64_t left = panel_descriptor(q);
        const uint64_t right = panel_descriptor(keys);
#pragma unroll
        for (int d = 0; d < D / 32; ++d) {
            if (d == 0) {
                multiply_panels8<false>(logits, left, right);
            } else {
                multiply_panels8<true>(logits, move_descriptor(left, d * 32), move_descriptor(right, d * 32));
            }
        }
    }

    static __device__ void multiply_values(float (&output)[D / 8][4], const unsigned (&weights)[kWeights][4],
                                           unsigned values) {
        const uint64_t whole = panel_descriptor(values);
        const uint64_t half = half_panel_descriptor(values + kKeys / 128 * D * kPanelRow);
#pragma unroll
        for (int j = 0; j < kWeights; ++j) {
            const bool in_half = j / 4 == kKeys / 128;
            const uint64_t right = in_half ? move_descriptor(half, j % 4 * 32)
                                           : move_descriptor(whole, j / 4 * D * kPanelRow + j % 4 * 32);
            multiply_rows8<true>(output, weights[j], right);
        }
    }

    static __device__ void pack_weights(unsigned (&weights)[kWeights][4], const float (&logits)[kKeys / 8][4]) {
#pragma unroll
        for (int j = 0; j < kWeights; ++j) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {  // rows 0-7 and 8-15 of the first 16 keys, then of the second
                const float (&first)[4] = logits[4 * j + i / 2 * 2];
                const float (&second)[4] = logits[4 * j + i / 2 * 2 + 1];
                weights[j][i] =
                    pack_e4m3(first[i % 2 * 2], first[i % 2 * 2 + 1], second[i % 2 * 2], second[i % 2 * 2 + 1]);
            }
        }
    }

    static __device__ unsigned negated(unsigned word) { return word ^ 0x80808080; }
};

}  // namespace
}  // namespace kgate
