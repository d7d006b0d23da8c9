// The unscaled logits of a warp's query rows and a stretch of keys, in registers, in the layout that mma_tile.cuh
// describes: what is done to them before they become probabilities.
#pragma once

namespace kgate {
namespace {

template <int RowTiles, int Keys>
struct LogitTile {
    using Logits = float[RowTiles][Keys / 8][4];

    static __device__ void clear(Logits& logits) {
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
#pragma unroll
            for (int n = 0; n < Keys / 8; ++n)
                logits[m][n][0] = logits[m][n][1] = logits[m][n][2] = logits[m][n][3] = 0.0f;
        }
    }

    // Hides keys from `seqlen` on and, if causal, those after a row; `row` and `key` are the first of the warp.
    static __device__ void mask(Logits& logits, int row, int key, int seqlen, bool causal) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const int end = causal ? min(row + m * 16 + h * 8 + lane / 4 + 1, seqlen) : seqlen;
                const int visible = end - key - lane % 4 * 2;  // of this lane's columns
#pragma unroll
                for (int n = 0; n < Keys / 8; ++n) {
                    if (n * 8 >= visible) logits[m][n][2 * h] = -INFINITY;
                    if (n * 8 + 1 >= visible) logits[m][n][2 * h + 1] = -INFINITY;
                }
            }
        }
    }

    // The greatest of the lane's own logits of each row.
    static __device__ void find_greatest(const Logits& logits, float (&greatest)[RowTiles][2]) {
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                float best[Keys / 8];  // as a tree: a chain would take twice as long
#pragma unroll
                for (int n = 0; n < Keys / 8; ++n) best[n] = fmaxf(logits[m][n][2 * h], logits[m][n][2 * h + 1]);
#pragma unroll
                for (int step = 1; step < Keys / 8; step *= 2) {
#pragma unroll
                    for (int n = 0; n + step < Keys / 8; n += 2 * step) best[n] = fmaxf(best[n], best[n + step]);
                }
                greatest[m][h] = best[0];
            }
        }
    }
};

}  // namespace
}  // namespace kgate
