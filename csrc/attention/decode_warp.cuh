// A warp's walk over tiles of keys that it copies for itself, for 16 query rows of any heads that share K and V.
#pragma once

#include "cuda/cp_async.cuh"
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

// What a warp has made of the keys so far. Stages tiles of Keys keys are under way at once.
template <typename T, int D, int Keys, int Stages, bool Fast>
struct DecodeWarp {
    static constexpr int kStride = D + 8;  // elements: ldmatrix is free of bank conflicts
    static constexpr int kTileBytes = Keys * kStride * 2;
    static constexpr int kRingBytes = 2 * Stages * kTileBytes;
    static constexpr int kChunks = D / 8;
    static constexpr int kCopies = Keys * kChunks / 32;
    static_assert(Keys % 16 == 0 && Keys * kChunks % 32 == 0, "a tile must be whole copies of a warp.");

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

    // Starts copying rows [first, first + Keys) to `target`; those from `end` on become zeros.
    static __device__ void copy(unsigned target, const T* source, int64_t row_stride, int first, int end) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int i = 0; i < kCopies; ++i) {
            const int chunk = i * 32 + lane;
            const int row = chunk / kChunks;
            const int column = chunk % kChunks * 8;
            const bool valid = first + row < end;
            const T* const from = valid ? source + (first + row) * row_stride + column : source;
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                         :
                         : "r"(target + (row * kStride + column) * 2), "l"(from), "r"(valid ? 16 : 0)
                         : "memory");
        }
    }

    // The tile at `keys` and `values` in shared memory, of the keys from `key` on.
    __device__ void turn(unsigned keys, unsigned values, int key, const DecodeRows& rows, float scale) {
        const int lane = threadIdx.x % 32;
        float logits[Keys / 8][4] = {};
        const unsigned k = keys + ((lane / 16 * 8 + lane % 8) * kStride + lane / 8 % 2 * 8) * 2;
#pragma unroll
        for (int d = 0; d < D / 16; ++d) {
#pragma unroll
            for (int j = 0; j < Keys / 16; ++j) {
                unsigned b[4];
                load_matrices(b, k + (j * 16 * kStride + d * 16) * 2);
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
        const unsigned v = values + ((lane / 8 % 2 * 8 + lane % 8) * kStride + lane / 16 * 8) * 2;
#pragma unroll
        for (int j = 0; j < Keys / 16; ++j) {
#pragma unroll
            for (int d = 0; d < D / 16; ++d) {
                unsigned b[4];
                load_matrices_transposed(b, v + (j * 16 * kStride + d * 16) * 2);
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

    // Tiles `first`, `first + step`, ... of the keys before `end`, through the warp's own ring in shared memory.
    __device__ void run(unsigned ring, const T* k, const T* v, int64_t k_stride, int64_t v_stride, int first, int step,
                        int end, const DecodeRows& rows, float scale) {
        const auto start = [&](int key, int slot) {
            if (key < end) {
                copy(ring + 2 * slot * kTileBytes, k, k_stride, key, end);
                copy(ring + (2 * slot + 1) * kTileBytes, v, v_stride, key, end);
            }
            cp_async_commit();
        };
#pragma unroll
        for (int i = 0; i < Stages - 1; ++i) start(first + i * step, i);
        int slot = 0;
        for (int key = first; key < end; key += step) {
            cp_async_wait<Stages - 2>();
            __syncwarp();  // all lanes' copies are visible, and the slot before has no reader left
            start(key + (Stages - 1) * step, slot == 0 ? Stages - 1 : slot - 1);
            turn(ring + 2 * slot * kTileBytes, ring + (2 * slot + 1) * kTileBytes, key, rows, scale);
            if (++slot == Stages) slot = 0;
        }
        cp_async_wait<0>();
        __syncwarp();
        row_sum[0] = quad_sum(row_sum[0]);
        row_sum[1] = quad_sum(row_sum[1]);
    }
};

}  // namespace
}  // namespace kgate
