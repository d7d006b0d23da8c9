// The exponential of a softmax.
#pragma once

#include <cmath>

#ifndef USE_FAST_EXP  // knob: 1 for the hardware's exp2, 0 for exp2f with subnormals
#define USE_FAST_EXP 1
#endif

static_assert(USE_FAST_EXP == 0 || USE_FAST_EXP == 1, "USE_FAST_EXP must be 0 or 1.");

namespace kgate {
namespace {

constexpr float kLog2E = 1.4426950408889634f;  // folded into the scale, so that exp(x) is one exp2

template <bool Fast>
__device__ float exp2_of(float x) {
    if constexpr (Fast) {
        float y;  // 2 ulp, subnormal results become 0: both far below what a 16-bit probability resolves
        asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
        return y;
    } else {
        return exp2f(x);
    }
}

// What to subtract from a row's logits. While every key so far was masked the maximum is -inf, and -inf - -inf is NaN.
__device__ inline float finite_max(float maximum) { return maximum == -INFINITY ? 0.0f : maximum; }

}  // namespace
}  // namespace kgate
