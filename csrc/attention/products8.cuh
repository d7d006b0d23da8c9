// The two products of attention on wgmma, of 8-bit numbers (e4m3), as a pipeline (warpgroup_pipeline.cuh) asks for them.
//
// The instruction takes 8-bit operands only along their rows. So V comes transposed, 128 keys a row, and in each 32 of
// them in an order by which a lane's logits, four of which are one register of the left operand, need not change lanes:
// place 16 h + 4 q + i has key 16 h + 2 q + i for i < 2, and 16 h + 8 + 2 q + i - 2 for the others (key_at).
#pragma once

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

// Rounds two numbers to e4m3, beyond 448 to 448; `low` gets the low 8 bits.
__device__ inline unsigned pack_e4m3(float low, float high) {
    unsigned short pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
    return pair;
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

// C += A B^T, where A is 64 rows and B 128 rows of 32 columns in panels of 128; C = A B^T without Add.
template <bool Add>
__device__ void multiply_panels8(float (&c)[16][4], uint64_t left, uint64_t right) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {" KGATE_64 "}, %64, %65, p, 1, 1;\n}"
        : KGATE_TILES(c, 0), KGATE_TILES(c, 4), KGATE_TILES(c, 8), KGATE_TILES(c, 12)
        : "l"(left), "l"(right), "n"(Add));
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

// Rows of Q and K are 128 bytes, of which D < 128 fills a part; a tile of V^T is D rows of 128 keys.
template <int D>
struct Products8 {
    static constexpr int kKeys = 128;
    static constexpr int kColumns = D;
    static constexpr int kQueryBytes = 64 * kPanelRow;  // of a warpgroup
    static constexpr int kKeyBytes = kKeys * kPanelRow;
    static constexpr int kValueBytes = D * kPanelRow;
    // e4m3 ends at 448 and is exact to 2^-4 of a number down to 2^-6: the greatest weight becomes 256.
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
    static __device__ void copy_values(unsigned target, const CUtensorMap& map, int key, const Tile& tile,
                                       unsigned barrier) {
        copy_box(target, map, key, 0, tile, barrier);
    }

    static __device__ void multiply_keys(float (&logits)[kKeys / 8][4], unsigned q, unsigned keys) {
#pragma unroll
        for (int d = 0; d < D / 32; ++d) {
            if (d == 0) {
                multiply_panels8<false>(logits, panel_descriptor(q), panel_descriptor(keys));
            } else {
                multiply_panels8<true>(logits, panel_descriptor(q + d * 32), panel_descriptor(keys + d * 32));
            }
        }
    }

    static __device__ void multiply_values(float (&output)[D / 8][4], const unsigned (&weights)[kWeights][4],
                                           unsigned values) {
#pragma unroll
        for (int j = 0; j < kWeights; ++j) multiply_rows8(output, weights[j], panel_descriptor(values + j * 32));
    }

    static __device__ void pack_weights(unsigned (&weights)[kWeights][4], const float (&logits)[kKeys / 8][4]) {
#pragma unroll
        for (int j = 0; j < kWeights; ++j) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {  // rows 0-7 and 8-15 of the first 16 keys, then of the second
                const float (&first)[4] = logits[4 * j + i / 2 * 2];
                const float (&second)[4] = logits[4 * j + i / 2 * 2 + 1];
                weights[j][i] = pack_e4m3(first[i % 2 * 2], first[i % 2 * 2 + 1]) |
                                pack_e4m3(second[i % 2 * 2], second[i % 2 * 2 + 1]) << 16;
            }
        }
    }

    static __device__ unsigned negated(unsigned word) { return word ^ 0x80808080; }
};

}  // namespace
}  // namespace kgate
