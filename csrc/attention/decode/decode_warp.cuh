// A warp's walk over tiles of keys that it copies for itself, for 16 query rows of any heads that share K and V.
#pragma once

#include "cuda/exp2.cuh"
#include "cuda/mma_sync.cuh"

namespace kgate {
namespace {

// A row's base is raised only when a logit is above it by more than this, in the log2 domain (mma_tile.cuh).
constexpr float kDecodeGrowth = 8.0f;

// The 16 rows of a warp: those that share K and V of one head are numbered head by head.
struct DecodeRows {
    int visible[2];  // keys that rows lane / 4 and lane / 4 + 8 see
    int plain;       // keys that all of them see
};

// What a warp has made of the keys so far, by tiles of Keys keys from a ring (decode_ring.cuh).
template <typename T, int D, int Keys, typename Ring, bool Fast>
struct DecodeWarp {
    unsigned q[D / 16][4];
    float output[D / 8][4];
    float base[2];  // what is subtracted from scaled logits, of rows lane / 4 and lane / 4 + 8; at first -inf
    float row_sum[2];

    __device__ DecodeWarp() : base{-INFINITY, -INFINITY}, row_sum{0.0f, 0.0f} {
#pragma unroll
        for (int d = 0; d < D / 8; ++d) output[d][0] = output[d][1] = output[d][2] = output[d][3] = 0.0f;
    }

    // `rows` are where rows lane / 4 and lane / 4 + 8 start, null for one that does not exist; `flip` is 0x80008000 to
    // negate them.
    __device__ void load_q(const T* const (&rows)[2], unsigned flip) {
#pragma unroll
        for (int d = 0; d < D / 16; ++d) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const T* const row = rows[i % 2];
                const int column = d * 16 + i / 2 * 8 + threadIdx.x % 4 * 2;
                q[d][i] = row == nullptr ? 0 : *reinterpret_cast<const unsigned*>(row + column) ^ flip;
            }
        }
    }

    // The tile at `keys` and `values` in shared memory, of the keys from `key` on.
    __device__ void turn(unsigned keys, unsigned values, int key, const DecodeRows& rows, float scale) {
        const int lane = threadIdx.x % 32;
        float logits[Keys / 8][4] = {};
        const unsigned k = keys + (lane / 16 * 8 + lane % 8) * Ring::kStride;
#pragma unroll
        for (int d = 0; d < D / 16; ++d) {
#pragma unroll
            for (int j = 0; j < Keys / 16; ++j) {
                unsigned b[4];
                load_matrices(b, Ring::place(k + j * 16 * Ring::kStride, lane % 8, 2 * d, lane / 8 % 2));
                multiply_add<T>(logits[2 * j], q[d], b[0], b[1]);
                multiply_add<T>(logits[2 * j + 1], q[d], b[2], b[3]);
            }
        }
        if (key + Keys > rows.plain) {
#pragma unroll
            for (int n = 0; n < Keys / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    if (key + n * 8 + lane % 4 * 2 + i % 2 >= rows.visible[i / 2]) logits[n][i] = -INFINITY;
                }
            }
        }
        raise(logits, scale);
        unsigned weights[Keys / 16][4];
#pragma unroll
        for (int n = 0; n < Keys / 8; ++n) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const float lowered = -finite_max(base[h]);
                const float a = exp2_of<Fast>(fmaf(logits[n][2 * h], scale, lowered));
                const float b = exp2_of<Fast>(fmaf(logits[n][2 * h + 1], scale, lowered));
                row_sum[h] += a + b;
                weights[n / 2][n % 2 * 2 + h] = pack<T>(a, b);
            }
        }
        const unsigned v = values + lane % 16 * Ring::kStride;
#pragma unroll
        for (int j = 0; j < Keys / 16; ++j) {
#pragma unroll
            for (int d = 0; d < D / 16; ++d) {
                unsigned b[4];
                load_matrices_transposed(b, Ring::place(v + j * 16 * Ring::kStride, lane % 8, 2 * d, lane / 16));
                multiply_add<T>(output[2 * d], weights[j], b[0], b[1]);
                multiply_add<T>(output[2 * d + 1], weights[j], b[2], b[3]);
            }
        }
    }

    // Raises the bases where a logit asks for it, and rescales what there is.
    __device__ void raise(const float (&logits)[Keys / 8][4], float scale) {
        float top[2] = {-INFINITY, -INFINITY};
#pragma unroll
        for (int n = 0; n < Keys / 8; ++n) {
            top[0] = fmaxf(top[0], fmaxf(logits[n][0], logits[n][1]));
            top[1] = fmaxf(top[1], fmaxf(logits[n][2], logits[n][3]));
        }
        const bool above = top[0] * scale > base[0] + kDecodeGrowth || top[1] * scale > base[1] + kDecodeGrowth;
        if (!__any_sync(0xffffffff, above)) return;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const float raised = fmaxf(base[h], quad_max(top[h]) * scale);
            const float shrink = exp2_of<Fast>(base[h] - finite_max(raised));
            base[h] = raised;
            row_sum[h] *= shrink;
#pragma unroll
            for (int d = 0; d < D / 8; ++d) {
                output[d][2 * h] *= shrink;
                output[d][2 * h + 1] *= shrink;
            }
        }
    }

    // Tiles `first`, `first + step`, ... of the keys before `end`; the ring's slots have the first of them.
    template <int Stages>
    __device__ void run(Ring& ring, int first, int step, int end, const DecodeRows& rows, float scale) {
        for (int key = first; key < end; key += step) {
            ring.wait();
            turn(ring.keys(ring.slot), ring.values(ring.slot), key, rows, scale);
            ring.next(key + Stages * step);
        }
        row_sum[0] = quad_sum(row_sum[0]);
        row_sum[1] = quad_sum(row_sum[1]);
    }
};

}  // namespace
}  // namespace kgate
