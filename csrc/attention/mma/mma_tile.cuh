// What mma and latency share: one warp's partial result, of its rows over its keys, by the instructions of
// mma_sync.cuh. What is done to logits alone is in logit_tile.cuh, a block's loop over the keys in key_loop.cuh, the
// merging of partial results in merge.cuh.
//
// A warp takes 16 or 32 query rows and a stretch of keys. Logits, probabilities and output stay in registers, in the
// layout of the instruction's accumulator: of each 16x8 tile a lane holds row lane / 4, columns 2 * (lane % 4) and the
// next, and the same columns of row lane / 4 + 8. The four lanes of a quad share a row, so that two shuffles reduce it,
// and a pair of accumulator tiles of P is, packed to 16 bits, just the left operand of the product with V.
#pragma once

#include <limits>
#include <type_traits>

#include "attention/mma/logit_tile.cuh"
#include "cuda/conversions.cuh"
#include "cuda/debug_assert.cuh"
#include "cuda/exp2.cuh"
#include "cuda/mma_sync.cuh"

namespace kgate {
namespace {

// The logits' scale in the log2 domain. It is made positive, with the logits negated instead, so that the greatest
// unscaled logit is the greatest scaled one; and never 0, because 0 * -inf, a masked logit, is NaN.
struct Scale {
    float log2;  // > 0
    bool negate;
    __device__ explicit Scale(float scale)
        : log2(fmaxf(fabsf(scale) * kLog2E, std::numeric_limits<float>::min())), negate(scale < 0.0f) {}
};

// A row is rescaled only when its maximum has grown by more than this, in the log2 domain, since it was last taken:
// until then probabilities may exceed 1, by up to 256 times, of which neither 16-bit format nor the fp32 sums take
// notice. On random inputs the first tile settles nearly every row.
constexpr float kGrowth = 8.0f;

// The same number, of which the compiler doesn't know how it came to be: it then keeps it in a register instead of
// computing it again and again.
__device__ inline unsigned opaque(unsigned x) { return __shfl_sync(0xffffffff, x, threadIdx.x % 32); }

template <typename T, int D, int RowTiles, int Keys, int Stride, bool Fast>
struct WarpPartial : LogitTile<RowTiles, Keys> {
    static constexpr int kRows = 16 * RowTiles;
    static constexpr int kRowTiles = RowTiles;
    static constexpr int kSteps = D / 16;
    static constexpr int kColumns = D / 8;
    // Beyond this Q would push the output out of the register file: it is read from shared memory for every tile of
    // keys.
    static constexpr bool kKeepQ = RowTiles * kSteps * 4 <= 40;
    using typename LogitTile<RowTiles, Keys>::Logits;
    using LogitTile<RowTiles, Keys>::clear;

    unsigned q[kKeepQ ? RowTiles : 1][kKeepQ ? kSteps : 1][4];
    unsigned q_address;
    float scale;
    float output[RowTiles][kColumns][4];
    float base[RowTiles][2];  // what is subtracted from scaled logits; of rows lane / 4 and lane / 4 + 8
    // An unscaled logit above it makes the base too small; -inf before the first that is visible.
    float limit[RowTiles][2];
    float row_max[RowTiles][2];  // of the unscaled logits, once settled; -inf for a row that has seen no key
    // A column of the output like the others, of a V that is all ones: rows as in the output.
    float row_sum[RowTiles][4];

    // Lane l names row l % 16, columns 8 * (l / 16) and on: of Q, the left operand, and of V, transposed while it is
    // loaded.
    static __device__ unsigned row_offset() {
        const int lane = threadIdx.x % 32;
        return (lane % 16 * Stride + lane / 16 * 8) * 2;
    }
    // K as it lies is the right operand: keys 0-7 and columns 0-7, keys 0-7 and columns 8-15, keys 8-15 and columns
    // 0-7, ...
    static __device__ unsigned key_offset() {
        const int lane = threadIdx.x % 32;
        return ((lane / 16 * 8 + lane % 8) * Stride + lane / 8 % 2 * 8) * 2;
    }

    // `q_rows`: address of the warp's first row of Q in shared memory.
    __device__ WarpPartial(unsigned q_rows, const Scale& by) : q_address(q_rows + row_offset()), scale(by.log2) {
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
            if constexpr (kKeepQ) {
#pragma unroll
                for (int d = 0; d < kSteps; ++d) load_q(q[m][d], m, d);
            }
#pragma unroll
            for (int d = 0; d < kColumns; ++d) {
                output[m][d][0] = output[m][d][1] = output[m][d][2] = output[m][d][3] = 0.0f;
            }
            base[m][0] = base[m][1] = 0.0f;
            limit[m][0] = limit[m][1] = -INFINITY;
            row_sum[m][0] = row_sum[m][1] = row_sum[m][2] = row_sum[m][3] = 0.0f;
        }
    }

    __device__ void load_q(unsigned (&fragment)[4], int m, int d) const {
        load_matrices(fragment, q_address + (m * 16 * Stride + d * 16) * 2);
    }

    // Adds columns 16 d to 16 d + 15 of Q and K to the unscaled logits of all rows and the Keys keys at `k_address`.
    __device__ void multiply_keys(Logits& logits, unsigned k_address, int d) const {
        unsigned left[RowTiles][4];
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
            if constexpr (kKeepQ) {
#pragma unroll
                for (int i = 0; i < 4; ++i) left[m][i] = q[m][d][i];
            } else {
                load_q(left[m], m, d);
            }
        }
#pragma unroll
        for (int j = 0; j < Keys / 16; ++j) {
            unsigned right[4];
            load_matrices(right, k_address + (j * 16 * Stride + d * 16) * 2);
#pragma unroll
            for (int m = 0; m < RowTiles; ++m) {
                multiply_add<T>(logits[m][2 * j], left[m], right[0], right[1]);
                multiply_add<T>(logits[m][2 * j + 1], left[m], right[2], right[3]);
            }
        }
    }

    // Unscaled logits of the Keys keys at `k_rows` in shared memory.
    __device__ void multiply_keys(Logits& logits, unsigned k_rows) const {
        clear(logits);
#pragma unroll
        for (int d = 0; d < kSteps; ++d) multiply_keys(logits, k_rows, d);
    }

    // kGrowth, unscaled; finite: added to -inf, it must not make NaN.
    __device__ float growth() const { return fminf(__fdividef(kGrowth, scale), 1e38f); }

    // At the end.
    __device__ void settle() {
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
            row_max[m][0] = limit[m][0] - growth();
            row_max[m][1] = limit[m][1] - growth();
        }
    }

    // Raises the bases of the rows where a logit, of any lane of the quad, is above the limit, and rescales what there
    // is.
    template <bool First>
    __device__ void raise(const float (&greatest)[RowTiles][2]) {
        if constexpr (!First) {
            bool grown = false;
#pragma unroll
            for (int m = 0; m < RowTiles; ++m) grown |= greatest[m][0] > limit[m][0] || greatest[m][1] > limit[m][1];
            if (!__any_sync(0xffffffff, grown)) return;
        }
        const float growth = this->growth();
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const float top = quad_max(greatest[m][h]);
                if constexpr (First) {
                    base[m][h] = finite_max(top) * scale;
                    limit[m][h] = top + growth;
                } else {
                    const bool higher = top + growth > limit[m][h];
                    const float raised = higher ? finite_max(top) * scale : base[m][h];
                    const float shrink = fminf(exp2_of<Fast>(base[m][h] - raised), 1.0f);  // of 0 if none was seen yet
                    base[m][h] = raised;
                    limit[m][h] = fmaxf(limit[m][h], top + growth);
                    row_sum[m][2 * h] *= shrink;
                    row_sum[m][2 * h + 1] *= shrink;
#pragma unroll
                    for (int d = 0; d < kColumns; ++d) {
                        output[m][d][2 * h] *= shrink;
                        output[m][d][2 * h + 1] *= shrink;
                    }
                }
            }
        }
    }

    using Probabilities = unsigned[RowTiles][Keys / 16][4];  // of 16 keys each: the left operand of a product with V

    // Probabilities of keys 16 j to 16 j + 15.
    __device__ void exponentiate(const Logits& logits, Probabilities& p, int j) {
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {  // rows 0-7 and 8-15 of columns 0-7, then of 8-15
                const float (&pair)[4] = logits[m][2 * j + i / 2];
                const float x = fmaf(pair[i % 2 * 2], scale, -base[m][i % 2]);
                const float y = fmaf(pair[i % 2 * 2 + 1], scale, -base[m][i % 2]);
                const float a = exp2_of<Fast>(x);
                const float b = exp2_of<Fast>(y);
                DEBUG_ASSERT(!(fmaxf(a, b) > exp2f(kGrowth + 1.0f)));
                p[m][j][i] = pack<T>(a, b);
            }
        }
    }

    // Adds the product of the probabilities and the values of keys 16 j to 16 j + 15 of those at `v_rows`.
    __device__ void multiply_values(const Probabilities& p, unsigned v_rows, int j) {
        constexpr unsigned kOnes = std::is_same_v<T, __half> ? 0x3c003c00 : 0x3f803f80;
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
            // The sum is of the rounded probabilities that V is multiplied by: where one key has all the weight,
            // rounding cancels. The tensor cores have room for it, the other pipes have not.
            multiply_add<T>(row_sum[m], p[m][j], kOnes, kOnes);
        }
#pragma unroll
        for (int d = 0; d < kSteps; ++d) {
            unsigned right[4];
            load_matrices_transposed(right, v_rows + (j * 16 * Stride + d * 16) * 2);
#pragma unroll
            for (int m = 0; m < RowTiles; ++m) {
                multiply_add<T>(output[m][2 * d], p[m][j], right[0], right[1]);
                multiply_add<T>(output[m][2 * d + 1], p[m][j], right[2], right[3]);
            }
        }
    }

    // Turns the logits `now` into probabilities, adds them up, and adds their product with the Keys values at `v_rows`.
    __device__ void finish(const Logits& now, unsigned v_rows) {
        Probabilities p;
#pragma unroll
        for (int j = 0; j < Keys / 16; ++j) {
            exponentiate(now, p, j);
            multiply_values(p, v_rows, j);
        }
    }

    // The same, and logits `next` of the Keys keys at `k_rows`. All that is one stretch of code without a branch, in
    // which exponentials, Q K^T and P V take turns: neither the tensor cores nor the special-function units wait until
    // the other have done.
    __device__ void advance(const Logits& now, unsigned v_rows, Logits& next, unsigned k_rows) {
        constexpr int kTurns = Keys / 16;
        clear(next);
        Probabilities p;
#pragma unroll
        for (int j = 0; j < kTurns; ++j) {
            exponentiate(now, p, j);
#pragma unroll
            for (int d = j * kSteps / kTurns; d < (j + 1) * kSteps / kTurns; ++d) multiply_keys(next, k_rows, d);
            multiply_values(p, v_rows, j);
        }
    }

    // Stores the output, divided by the rows' sums, to `o`, the warp's first row in global memory, of which `rows`
    // exist; by way of kRows rows of shared memory that no other warp uses, so that 16 bytes are stored at once.
    __device__ void store(unsigned staging, T* o, int64_t row_stride, int rows) const {
        const int lane = threadIdx.x % 32;
        __syncwarp();
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                DEBUG_ASSERT(!(row_sum[m][2 * h] <= 0.0f));
                const float inverse = __fdividef(1.0f, row_sum[m][2 * h]);
                const unsigned target = staging + ((m * 16 + h * 8 + lane / 4) * Stride + lane % 4 * 2) * 2;
#pragma unroll
                for (int d = 0; d < kColumns; ++d) {
                    const unsigned pair = pack<T>(output[m][d][2 * h] * inverse, output[m][d][2 * h + 1] * inverse);
                    asm volatile("st.shared.b32 [%0], %1;" : : "r"(target + d * 16), "r"(pair) : "memory");
                }
            }
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < kRows * kColumns / 32; ++i) {
            const int chunk = i * 32 + lane;
            const int row = chunk / kColumns;
            const int column = chunk % kColumns * 8;
            if (row >= rows) break;
            uint4 eight;
            asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                         : "=r"(eight.x), "=r"(eight.y), "=r"(eight.z), "=r"(eight.w)
                         : "r"(staging + (row * Stride + column) * 2)
                         : "memory");
            *reinterpret_cast<uint4*>(o + row * row_stride + column) = eight;
        }
    }
};

}  // namespace
}  // namespace kgate
