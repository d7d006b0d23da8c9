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

#define KGATE_TILE(c, j) "+f"(c[j][0]), "+f"(c[j][1]), "+f"(c[j][2]), "+f"(c[j][3])
#define KGATE_TILES(c, j) KGATE_TILE(c, j), KGATE_TILE(c, j + 1), KGATE_TILE(c, j + 2), KGATE_TILE(c, j + 3)
#define KGATE_32                                             \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
    "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define KGATE_64                                                        \
    KGATE_32                                                            \
    ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
    "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define KGATE_96                                                        \
    KGATE_64                                                            \
    ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
    "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"

// C += A B^T, where A is 64 rows and B 8 N rows of 32 columns in panels of 128; C = A B^T without Add.
template <bool Add, int N>
__device__ void multiply_panels8(float (&c)[N][4], uint64_t left, uint64_t right) {
    static_assert(N == 16 || N == 24, "128 or 192 rows of B.");
    if constexpr (N == 16) {
        asm volatile(
            "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
            "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {" KGATE_64 "}, %64, %65, p, 1, 1;\n}"
            : KGATE_TILES(c, 0), KGATE_TILES(c, 4), KGATE_TILES(c, 8), KGATE_TILES(c, 12)
            : "l"(left), "l"(right), "n"(Add));
    } else {
        asm volatile(
            "{\n.reg .pred p;\nsetp.ne.b32 p, %98, 0;\n"
            "wgmma.mma_async.sync.aligned.m64n192k32.f32.e4m3.e4m3 {" KGATE_96 "}, %96, %97, p, 1, 1;\n}"
            : KGATE_TILES(c, 0), KGATE_TILES(c, 4), KGATE_TILES(c, 8), KGATE_TILES(c, 12), KGATE_TILES(c, 16),
              KGATE_TILES(c, 20)
            : "l"(left), "l"(right), "n"(Add));
    }
}

// C += A B^T, where A is 64x32 in registers and B 8 N rows of 32 columns in panels of 128.
template <int N>
__device__ void multiply_rows8(float (&c)[N][4], const unsigned (&left)[4], uint64_t right) {
    static_assert(N == 8 || N == 16, "64 or 128 rows of B.");
    if constexpr (N == 8) {
        asm volatile("wgmma.mma_async.sync.aligned.m64n64k32.f32.e4m3.e4m3 {" KGATE_32
                     "}, {%32,%33,%34,%35}, %36, 1, 1, 1;"
                     : KGATE_TILES(c, 0), KGATE_TILES(c, 4)
                     : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "l"(right));
    } else {
        asm volatile("wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {" KGATE_64
                     "}, {%64,%65,%66,%67}, %68, 1, 1, 1;"
                     : KGATE_TILES(c, 0), KGATE_TILES(c, 4), KGATE_TILES(c, 8), KGATE_TILES(c, 12)
                     : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "l"(right));
    }
}

#undef KGATE_TILE
#undef KGATE_TILES
#undef KGATE_32
#undef KGATE_64
#undef KGATE_96

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
            multiply_rows8(output, weights[j],
                           in_half ? move_descriptor(half, j % 4 * 32)
                                   : move_descriptor(whole, j / 4 * D * kPanelRow + j % 4 * 32));
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
