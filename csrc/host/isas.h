// A tile compiled for each instruction set, the memory that it works in, and which of the sets this processor has. The
// source that includes this has declared the knobs BLOCK_M and BLOCK_N.
#pragma once

#include "sdpa.h"

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "host/elements.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace kgate {
namespace {

constexpr int kMaxHeadDim = 128;

// What one thread works in. Matrices are dense: Q^T, O^T and S^T (later P^T) have rows of BLOCK_M, K and V of head_dim
// rounded up to 16. o also holds Q on its way in, q also O on its way out.
struct Scratch {
    alignas(64) float q[kMaxHeadDim * BLOCK_M];
    alignas(64) float o[kMaxHeadDim * BLOCK_M];
    alignas(64) float p[BLOCK_N * BLOCK_M];
    alignas(64) float k[BLOCK_N * kMaxHeadDim];
    alignas(64) float v[BLOCK_N * kMaxHeadDim];
    alignas(64) float top[BLOCK_M];
    alignas(64) float sum[BLOCK_M];
};

namespace portable {
#define KGATE_LANES 4
#define KGATE_PANEL 2
#define KGATE_HALF 0
#define KGATE_TARGET
#include "host/tile.h"
#undef KGATE_LANES
#undef KGATE_PANEL
#undef KGATE_HALF
#undef KGATE_TARGET
}  // namespace portable

#if defined(__x86_64__)
namespace avx2 {
#define KGATE_LANES 8
#define KGATE_PANEL 3
#define KGATE_HALF 1
#define KGATE_TARGET __attribute__((target("avx2,fma,f16c")))
#include "host/tile.h"
#undef KGATE_LANES
#undef KGATE_PANEL
#undef KGATE_HALF
#undef KGATE_TARGET
}  // namespace avx2

namespace avx512 {
#define KGATE_LANES 16
#define KGATE_PANEL 4
#define KGATE_HALF 2
#define KGATE_TARGET __attribute__((target("avx512f,avx512dq,avx2,fma,f16c")))
#include "host/tile.h"
#undef KGATE_LANES
#undef KGATE_PANEL
#undef KGATE_HALF
#undef KGATE_TARGET
}  // namespace avx512
#endif

using Attend = void (*)(const SdpaArgs& args, int batch, int head, int first_row, Scratch& scratch);

struct Isa {
    const char* name;
    bool available;
    Attend attend[3];  // by Dtype
};

// Best first. The last one is always available.
const Isa* isas() {
#if defined(__x86_64__)
    unsigned a, b, c = 0, d;
    const bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
    const bool has_avx2 = f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    static const Isa table[] = {
        {"avx512",
         has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"),
         {avx512::attend<float>, avx512::attend<Half>, avx512::attend<BFloat>}},
        {"avx2", has_avx2, {avx2::attend<float>, avx2::attend<Half>, avx2::attend<BFloat>}},
        {"portable", true, {portable::attend<float>, portable::attend<Half>, portable::attend<BFloat>}},
    };
#else
    static const Isa table[] = {
        {"portable", true, {portable::attend<float>, portable::attend<Half>, portable::attend<BFloat>}},
    };
#endif
    return table;
}

}  // namespace
}  // namespace kgate
