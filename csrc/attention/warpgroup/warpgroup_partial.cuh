// What a warpgroup has made of the keys of 64 query rows so far, where logits are results of wgmma.
#pragma once

#include "cuda/conversions.cuh"
#include "cuda/exp2.cuh"
#include "cuda/mma_sync.cuh"
#include "cuda/wgmma.cuh"

namespace kgate {
namespace {

// What the four warps, 16 rows each, have made of the keys so far.
template <typename T, int D, bool Fast>
struct WarpgroupPartial {
    static constexpr int kColumns = D / 8;

    float output[kColumns][4];
    float row_max[2];   // of the unscaled logits; of rows lane / 4 and lane / 4 + 8
    float row_sum[2];   // of this lane's columns only, until finish; of weights before they are rounded
    float rounding[2];  // of this lane's columns only, until finish: to be added for the output (add_rounding)

    // `output` stays open: the first product may write it.
    __device__ WarpgroupPartial() : row_max{-INFINITY, -INFINITY}, row_sum{0.0f, 0.0f}, rounding{0.0f, 0.0f} {}

    __device__ void clear_output() {
#pragma unroll
        for (int d = 0; d < kColumns; ++d) output[d][0] = output[d][1] = output[d][2] = output[d][3] = 0.0f;
    }

    // Hides keys from `end` on, and under the causal mask those behind the row, where keys begin at `key`, rows at
    // `first_row`.
    template <int N>
    static __device__ void mask(float (&logits)[N][4], int first_row, int key, int end, bool causal) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int row = first_row + h * 8 + lane / 4;
            const int visible = (causal ? min(end, row + 1) : end) - key - lane % 4 * 2;
#pragma unroll
            for (int n = 0; n < N; ++n) {
                if (n * 8 >= visible) logits[n][2 * h] = -INFINITY;
                if (n * 8 + 1 >= visible) logits[n][2 * h + 1] = -INFINITY;
            }
        }
    }

    // Raises `best`, which nothing was in before if `first`, to the greatest of this lane's logits in each of its rows.
    template <int N>
    static __device__ void raise(float (&best)[2], const float (&logits)[N][4], bool first) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            float greatest[4];  // four, because each fmaxf waits for the last
#pragma unroll
            for (int n = 0; n < N; ++n) {
                const float pair = fmaxf(logits[n][2 * h], logits[n][2 * h + 1]);
                greatest[n % 4] = n < 4 ? pair : fmaxf(greatest[n % 4], pair);
            }
            const float all = fmaxf(fmaxf(greatest[0], greatest[1]), fmaxf(greatest[2], greatest[3]));
            best[h] = first ? all : fmaxf(best[h], all);
        }
    }

    // The same of logits that nothing was in before, by maxima of three: bits of floats compare as integers where one
    // is not negative. A warp that has a row without any such compares as floats.
    template <int N>
    static __device__ void raise_by_bits(float (&best)[2], const float (&logits)[N][4]) {
        int greatest[2];
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            int parts[2];  // two, because each maximum waits for the last
#pragma unroll
            for (int n = 0; n < N; ++n) {
                const int a = __float_as_int(logits[n][2 * h]);
                const int b = __float_as_int(logits[n][2 * h + 1]);
                parts[n % 2] = n < 2 ? max(a, b) : __vimax3_s32(parts[n % 2], a, b);
            }
            greatest[h] = max(parts[0], parts[1]);
        }
        best[0] = __int_as_float(greatest[0]);
        best[1] = __int_as_float(greatest[1]);
        if (__builtin_expect(__any_sync(0xffffffff, min(greatest[0], greatest[1]) < 0), 0)) raise(best, logits, true);
    }

    // Takes `best` as the rows' new maxima. What the logits are to be lowered by, and the output so far multiplied by.
    __device__ void settle(const float (&best)[2], float scale, float (&base)[2], float (&shrink)[2]) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const float raised = fmaxf(row_max[h], quad_max(best[h]));
            base[h] = finite_max(raised) * scale;
            shrink[h] = exp2_of<Fast>(fmaf(row_max[h], scale, -base[h]));
            row_max[h] = raised;
        }
    }

    __device__ void rescale_output(const float (&shrink)[2]) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
#pragma unroll
            for (int d = 0; d < kColumns; ++d) {
                output[d][2 * h] *= shrink[h];
                output[d][2 * h + 1] *= shrink[h];
            }
        }
    }

    __device__ void rescale(const float (&shrink)[2]) {
        row_sum[0] *= shrink[0];
        row_sum[1] *= shrink[1];
        rescale_output(shrink);
    }

    // What rounding will add to the greatest weight of each row of this lane, `best` being its logit. Of weights that
    // may exceed 1 the greatest is no power of two: where one key has all the weight, its rounding must be in the sum.
    __device__ void add_rounding(const float (&best)[2], float scale, const float (&base)[2],
                                 const float (&shrink)[2]) {
        float greatest[2];
#pragma unroll
        for (int h = 0; h < 2; ++h) greatest[h] = exp2_of<Fast>(fmaf(best[h], scale, -base[h]));
        const float2 rounded = Pair<T>::to_float(Pair<T>::from_float(greatest[0], greatest[1]));
        rounding[0] = rounding[0] * shrink[0] + (rounded.x - greatest[0]);
        rounding[1] = rounding[1] * shrink[1] + (rounded.y - greatest[1]);
    }

    // Turns logits into weights where they are, while products under way may still use the weights before them. Sums so
    // far are made smaller, and those of the weights before they are rounded are added.
    template <int N>
    __device__ void exponentiate(float (&logits)[N][4], float scale, const float (&base)[2], const float (&shrink)[2]) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            float sum[2] = {row_sum[h] * shrink[h], 0.0f};  // two, because each addition waits for the last
#pragma unroll
            for (int n = 0; n < N; ++n) {
#pragma unroll
                for (int i = 2 * h; i < 2 * h + 2; ++i) {
                    logits[n][i] = exp2_of<Fast>(fmaf(logits[n][i], scale, -base[h]));
                    sum[i % 2] += logits[n][i];
                }
            }
            row_sum[h] = sum[0] + sum[1];
        }
    }

    // Turns the logits of two neighbouring tiles into weights, a left operand of the product with V.
    __device__ void weigh(const float (&left)[4], const float (&right)[4], float scale, const float (&base)[2],
                          unsigned (&weights)[4]) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {  // rows 0-7 and 8-15 of columns 0-7, then of 8-15
            const float (&four)[4] = i < 2 ? left : right;
            const float a = exp2_of<Fast>(fmaf(four[i % 2 * 2], scale, -base[i % 2]));
            const float b = exp2_of<Fast>(fmaf(four[i % 2 * 2 + 1], scale, -base[i % 2]));
            row_sum[i % 2] += a + b;
            weights[i] = pack<T>(a, b);
        }
    }

    __device__ void finish() {
        row_sum[0] = quad_sum(row_sum[0]);
        row_sum[1] = quad_sum(row_sum[1]);
    }
};

}  // namespace
}  // namespace kgate
