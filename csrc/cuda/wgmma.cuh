// wgmma.mma_async of sm_90a, by its names in PTX: 64 rows by four warps, the right operand always in shared memory.
//
// A warp holds 16 of the 64 rows. What a lane has of the result, of each 16x8 tile, and of a left operand in registers,
// of each 16x16 tile, is what it has of mma.sync's (mma_sync.cuh).
//
// Operands in shared memory are panels of 64 columns: a row is 128 bytes, and its 16-byte chunk c lies at chunk c ^ row
// % 8, which is the 128-byte swizzle. A panel starts on a multiple of 1024 bytes.
#pragma once

#include "cuda/mma_sync.cuh"

namespace kgate {
namespace {

constexpr int kPanelColumns = 64;
constexpr int kPanelRow = 128;  // bytes

// Names a panel at a shared-memory address: 128-byte swizzle, 1024 bytes between groups of eight rows, and `panels`
// bytes to the next 64 columns, where an operand is read across its rows. 16 columns on is an address 32 bytes on, 16
// rows 2048.
__device__ inline uint64_t panel_descriptor(unsigned address, unsigned panels = 16) {
    return static_cast<uint64_t>(1) << 62 | static_cast<uint64_t>(1024 / 16) << 32 |
           static_cast<uint64_t>(panels / 16) << 16 | (address & 0x3ffff) / 16;
}

// The operand that begins `bytes` behind another.
__device__ inline uint64_t move_descriptor(uint64_t descriptor, unsigned bytes) {
    return (descriptor & 0xffffffff00000000) | (static_cast<unsigned>(descriptor) + bytes / 16);
}

// Where 16-byte chunk `chunk` of row `row` is in a panel.
__device__ constexpr unsigned panel_offset(int row, int chunk) {
    return static_cast<unsigned>(row * kPanelRow + ((chunk ^ row % 8) * 16));
}

// Ahead of the first of several products, and whenever other instructions have written registers that they use.
__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" : : : "memory"); }

__device__ inline void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory"); }

// Until at most Pending groups of products are under way.
template <int Pending>
__device__ inline void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" : : "n"(Pending) : "memory");
}

// What the compiler must not move across: registers that products under way read or write.
template <int N>
__device__ inline void pin(float (&c)[N][4]) {
#pragma unroll
    for (int j = 0; j < N; ++j)
        asm volatile("" : "+f"(c[j][0]), "+f"(c[j][1]), "+f"(c[j][2]), "+f"(c[j][3]) : : "memory");
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

#define KGATE_88                                                        \
    KGATE_64                                                            \
    ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
    "%80,%81,%82,%83,%84,%85,%86,%87"
#define KGATE_96 KGATE_88 ",%88,%89,%90,%91,%92,%93,%94,%95"

// C += A B^T, where A is 64 rows and B 8 N rows of 16 columns in panels; C = A B^T without Add.
#define KGATE_WGMMA_SS(n, type, list, a, b, p, ...)                                                                 \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" p ", 0;\nwgmma.mma_async.sync.aligned.m64n" n "k16.f32." type \
                 "." type " {" list "}, %" a ", %" b ", p, 1, 1, 0, 0;\n}"                                          \
                 : __VA_ARGS__                                                                                      \
                 : "l"(left), "l"(right), "n"(Add))

template <typename T, bool Add, int N>
__device__ void multiply_panels(float (&c)[N][4], uint64_t left, uint64_t right) {
    static_assert(N == 8 || N == 16 || N == 22 || N == 24, "64, 128, 176 or 192 rows of B.");
    if constexpr (N == 24 && std::is_same_v<T, __half>) {
        KGATE_WGMMA_SS("192", "f16", KGATE_96, "96", "97", "98", KGATE_TILES(c, 0), KGATE_TILES(c, 4),
                       KGATE_TILES(c, 8), KGATE_TILES(c, 12), KGATE_TILES(c, 16), KGATE_TILES(c, 20));
    } else if constexpr (N == 24) {
        KGATE_WGMMA_SS("192", "bf16", KGATE_96, "96", "97", "98", KGATE_TILES(c, 0), KGATE_TILES(c, 4),
                       KGATE_TILES(c, 8), KGATE_TILES(c, 12), KGATE_TILES(c, 16), KGATE_TILES(c, 20));
    } else if constexpr (N == 22 && std::is_same_v<T, __half>) {
        KGATE_WGMMA_SS("176", "f16", KGATE_88, "88", "89", "90", KGATE_TILES(c, 0), KGATE_TILES(c, 4),
                       KGATE_TILES(c, 8), KGATE_TILES(c, 12), KGATE_TILES(c, 16), KGATE_TILE(c, 20), KGATE_TILE(c, 21));
    } else if constexpr (N == 22) {
        KGATE_WGMMA_SS("176", "bf16", KGATE_88, "88", "89", "90", KGATE_TILES(c, 0), KGATE_TILES(c, 4),
                       KGATE_TILES(c, 8), KGATE_TILES(c, 12), KGATE_TILES(c, 16), KGATE_TILE(c, 20), KGATE_TILE(c, 21));
    } else if constexpr (N == 8 && std::is_same_v<T, __half>) {
        KGATE_WGMMA_SS("64", "f16", KGATE_32, "32", "33", "34", KGATE_TILES(c, 0), KGATE_TILES(c, 4));
    } else if constexpr (N == 8) {
        KGATE_WGMMA_SS("64", "bf16", KGATE_32, "32", "33", "34", KGATE_TILES(c, 0), KGATE_TILES(c, 4));
    } else if constexpr (std::is_same_v<T, __half>) {
        KGATE_WGMMA_SS("128", "f16", KGATE_64, "64", "65", "66", KGATE_TILES(c, 0), KGATE_TILES(c, 4),
                       KGATE_TILES(c, 8), KGATE_TILES(c, 12));
    } else {
        KGATE_WGMMA_SS("128", "bf16", KGATE_64, "64", "65", "66", KGATE_TILES(c, 0), KGATE_TILES(c, 4),
                       KGATE_TILES(c, 8), KGATE_TILES(c, 12));
    }
}

// C += A B, where A is 64x16 in registers and B 16 rows of 8 N columns in panels; C = A B without Add.
#define KGATE_WGMMA_RS(n, type, list, a0, a1, a2, a3, b, p, ...)                                                    \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" p ", 0;\nwgmma.mma_async.sync.aligned.m64n" n "k16.f32." type \
                 "." type " {" list "}, {%" a0 ",%" a1 ",%" a2 ",%" a3 "}, %" b ", p, 1, 1, 1;\n}"                  \
                 : __VA_ARGS__                                                                                      \
                 : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "l"(right), "n"(Add))

template <typename T, bool Add, int N>
__device__ void multiply_rows(float (&c)[N][4], const unsigned (&left)[4], uint64_t right) {
    static_assert(N == 8 || N == 16, "64 or 128 columns of B.");
    if constexpr (N == 8 && std::is_same_v<T, __half>) {
        KGATE_WGMMA_RS("64", "f16", KGATE_32, "32", "33", "34", "35", "36", "37", KGATE_TILES(c, 0), KGATE_TILES(c, 4));
    } else if constexpr (N == 8) {
        KGATE_WGMMA_RS("64", "bf16", KGATE_32, "32", "33", "34", "35", "36", "37", KGATE_TILES(c, 0),
                       KGATE_TILES(c, 4));
    } else if constexpr (std::is_same_v<T, __half>) {
        KGATE_WGMMA_RS("128", "f16", KGATE_64, "64", "65", "66", "67", "68", "69", KGATE_TILES(c, 0), KGATE_TILES(c, 4),
                       KGATE_TILES(c, 8), KGATE_TILES(c, 12));
    } else {
        KGATE_WGMMA_RS("128", "bf16", KGATE_64, "64", "65", "66", "67", "68", "69", KGATE_TILES(c, 0),
                       KGATE_TILES(c, 4), KGATE_TILES(c, 8), KGATE_TILES(c, 12));
    }
}

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

// C += A B^T, where A is 64x32 in registers and B 8 N rows of 32 columns in panels of 128; C = A B^T without Add.
template <bool Add, int N>
__device__ void multiply_rows8(float (&c)[N][4], const unsigned (&left)[4], uint64_t right) {
    static_assert(N == 8 || N == 16, "64 or 128 rows of B.");
    if constexpr (N == 8) {
        asm volatile(
            "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
            "wgmma.mma_async.sync.aligned.m64n64k32.f32.e4m3.e4m3 {" KGATE_32 "}, {%32,%33,%34,%35}, %36, p, 1, 1;\n}"
            : KGATE_TILES(c, 0), KGATE_TILES(c, 4)
            : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "l"(right), "n"(Add));
    } else {
        asm volatile(
            "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
            "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {" KGATE_64 "}, {%64,%65,%66,%67}, %68, p, 1, 1;\n}"
            : KGATE_TILES(c, 0), KGATE_TILES(c, 4), KGATE_TILES(c, 8), KGATE_TILES(c, 12)
            : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "l"(right), "n"(Add));
    }
}

#undef KGATE_WGMMA_SS
#undef KGATE_WGMMA_RS
#undef KGATE_TILE
#undef KGATE_TILES
#undef KGATE_32
#undef KGATE_64
#undef KGATE_88
#undef KGATE_96

}  // namespace
}  // namespace kgate
