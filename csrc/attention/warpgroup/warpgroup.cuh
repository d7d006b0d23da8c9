// A warpgroup's walk over the keys of 64 query rows, on wgmma, for head dimensions that are whole panels of 64 columns.
#pragma once

#include "attention/warpgroup/warpgroup_partial.cuh"
#include "cuda/mbarrier.cuh"
#include "cuda/tile_walk.cuh"
#include "cuda/tma.cuh"
#include "cuda/wgmma.cuh"

namespace kgate {
namespace {

// The logits' scale in the log2 domain, made positive, with the logits negated instead; and never 0: 0 * -inf is NaN.
struct LogScale {
    float log2;  // > 0
    int negate;
};

// Boxes of BoxKeys keys, Boxes of which are a window: its logits are all there before the first becomes a weight, so
// that a row has one maximum a window, and nothing is rescaled where a block has no more keys than that. While logits
// become weights, the tensor cores multiply the weights before them with V.
template <typename T, int D, int BoxKeys, int Boxes, bool Fast>
struct WarpgroupLoop {
    static constexpr int kRows = 64;
    static constexpr int kThreads = 128;
    static constexpr int kWindow = BoxKeys * Boxes;
    static constexpr int kPanels = D / kPanelColumns;
    static constexpr int kBoxBytes = BoxKeys * D * 2;
    static constexpr unsigned kPanelBytes = kWindow * kPanelRow;
    static constexpr int kK = kRows * D * 2;  // offsets in shared memory: behind Q
    static constexpr int kV = kK + kWindow * D * 2;
    // One for each box of K, the first of which also counts Q; then of V.
    static constexpr int kBarriers = kV + kWindow * D * 2;
    static constexpr int kBytes = kBarriers + 2 * Boxes * 8;
    using Partial = WarpgroupPartial<T, D, Fast>;

    // Keys of a window that are worked on, where `left` are.
    static __device__ int take(int left) { return left > 128 ? kWindow : left > 64 ? 128 : 64; }
    static_assert(kWindow == 128 || kWindow == 256, "a window must be 128 or 256 keys.");

    unsigned shared;
    const CUtensorMap& q_map;
    const CUtensorMap& k_map;
    const CUtensorMap& v_map;
    const Tile& tile;
    LogScale scale;
    bool causal;
    int begin;
    int end;

    // At the start, by one thread, ahead of load_keys and of load_values; mbarrier_fence is the caller's.
    __device__ void prepare_keys() const { prepare(kBarriers); }
    __device__ void prepare_values() const { prepare(kBarriers + Boxes * 8); }
    __device__ void prepare(int barriers) const {
#pragma unroll
        for (int i = 0; i < Boxes; ++i) mbarrier_init(shared + barriers + i * 8);
    }

    // By one thread: the boxes of the window at `base`.
    __device__ void load(const CUtensorMap& map, int base, unsigned offset, unsigned barrier, bool with_q) const {
        const int count = max_of(take(end - base) / BoxKeys, 1);
#pragma unroll
        for (int i = 0; i < Boxes; ++i) {
            if (i >= count) break;
            mbarrier_expect(barrier + i * 8, kBoxBytes + (with_q && i == 0 ? kRows * D * 2 : 0));
#pragma unroll
            for (int p = 0; p < kPanels; ++p) {
                if (with_q && i == 0)
                    copy_box(shared + p * kRows * kPanelRow, q_map, p * kPanelColumns, tile.first_row, tile, barrier);
                copy_box(shared + offset + p * kPanelBytes + i * BoxKeys * kPanelRow, map, p * kPanelColumns,
                         base + i * BoxKeys, tile, barrier + i * 8);
            }
        }
    }
    __device__ void load_keys(int base, bool with_q) const { load(k_map, base, kK, shared + kBarriers, with_q); }
    __device__ void load_values(int base) const { load(v_map, base, kV, shared + kBarriers + Boxes * 8, false); }

    // So that the greatest logit is the greatest scaled one.
    __device__ void negate_q() const {
#pragma unroll 1
        for (int i = threadIdx.x; i < kRows * D / 2; i += kThreads) {
            asm volatile("{\n.reg .b32 x;\nld.shared.b32 x, [%0];\nxor.b32 x, x, 0x80008000;\nst.shared.b32 [%0], x;\n}"
                         :
                         : "r"(shared + i * 4)
                         : "memory");
        }
        asm volatile("fence.proxy.async.shared::cta;" : : : "memory");  // wgmma reads it
        __syncthreads();
    }

    template <int N>
    __device__ void multiply_keys(float (&logits)[N][4], unsigned k) const {
        pin(logits);
        wgmma_fence();
#pragma unroll
        for (int d = 0; d < D / 16; ++d) {
            const uint64_t left = panel_descriptor(shared + d / 4 * kRows * kPanelRow + d % 4 * 32);
            const uint64_t right = panel_descriptor(k + d / 4 * kPanelBytes + d % 4 * 32);
            if (d == 0) {
                multiply_panels<T, false>(logits, left, right);
            } else {
                multiply_panels<T, true>(logits, left, right);
            }
        }
        wgmma_commit();
    }

    // The window at `base`, of Keys keys; Only where the block has no others. `weighed` is called when the maxima and
    // sums are known.
    template <int Keys, bool Only, typename Weighed>
    __device__ void window(Partial& partial, int base, unsigned parity, const Weighed& weighed) const {
        constexpr int kPart = min_of(Keys, 128);
        constexpr int kParts = Keys / kPart;
        const bool first = Only || base == begin;
        const bool last = Only || base + kWindow >= end;
        const int first_row = tile.first_row + static_cast<int>(threadIdx.x) / 32 * 16;  // of the warp
        float logits[kParts][kPart / 8][4];
#pragma unroll
        for (int p = 0; p < kParts; ++p) {
#pragma unroll
            for (int key = 0; key < kPart; key += BoxKeys) {
                mbarrier_wait(shared + kBarriers + (p * kPart + key) / BoxKeys * 8, parity);
            }
            if (p == 0 && __builtin_expect(scale.negate && first, 0)) negate_q();
            multiply_keys(logits[p], shared + kK + p * kPart * kPanelRow);
        }
        if (first && threadIdx.x == 0) load_values(base);
        __syncwarp();
        float best[2];
#pragma unroll
        for (int p = 0; p < kParts; ++p) {
            if (p == 0) wgmma_wait<kParts - 1>();
            if (p == 1) wgmma_wait<0>();
            pin(logits[p]);
            const int key = base + p * kPart;
            if (__builtin_expect(key + kPart > end || (causal && key + kPart - 1 > first_row), 0)) {
                Partial::mask(logits[p], first_row, key, end, causal);
            }
            Partial::raise(best, logits[p], p == 0);
        }
        if (__builtin_expect(!last, 0)) {
            __syncthreads();  // no warp reads this window's keys any more
            if (threadIdx.x == 0) load_keys(base + kWindow, false);
            __syncwarp();
        }
        float lowered[2];
        float shrink[2];
        partial.settle(best, scale.log2, lowered, shrink);
        if (__builtin_expect(!first, 0)) partial.rescale(shrink);
#pragma unroll
        for (int group = 0; group < Keys / 64; ++group) {
            unsigned weights[4][4];
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const int n = group * 8 + 2 * j;
                partial.weigh(logits[n / (kPart / 8)][n % (kPart / 8)], logits[n / (kPart / 8)][n % (kPart / 8) + 1],
                              scale.log2, lowered, weights[j]);
            }
#pragma unroll
            for (int key = group * 64; key < group * 64 + 64; key += BoxKeys) {
                if (key % BoxKeys == 0) mbarrier_wait(shared + kBarriers + (Boxes + key / BoxKeys) * 8, parity);
            }
            pin(partial.output);
            wgmma_fence();
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                const unsigned rows = shared + kV + (group * 64 + j * 16) * kPanelRow;
                if (Only && group + j == 0) {
                    multiply_rows<T, false>(partial.output, weights[j], panel_descriptor(rows, kPanelBytes));
                } else {
                    multiply_rows<T, true>(partial.output, weights[j], panel_descriptor(rows, kPanelBytes));
                }
            }
            wgmma_commit();
        }
        if (last) weighed();
        wgmma_wait<0>();
        pin(partial.output);
        if (__builtin_expect(!last, 0)) {
            __syncthreads();  // nor its values
            if (threadIdx.x == 0) load_values(base + kWindow);
            __syncwarp();
        }
    }

    // After load_keys of the first window.
    template <typename Weighed>
    __device__ void run(Partial& partial, const Weighed& weighed) const {
        if (__builtin_expect(end - begin <= kWindow && take(end - begin) == kWindow, 1)) {
            window<kWindow, true>(partial, begin, 0, weighed);
            return;
        }
        partial.clear_output();
        unsigned parity = 0;
        for (int base = begin; base < end; base += kWindow) {
            const int left = end - base;
            if (left > 128) {
                window<kWindow, false>(partial, base, parity, weighed);
            } else if (left > 64) {
                window<128, false>(partial, base, parity, weighed);
            } else {
                window<64, false>(partial, base, parity, weighed);
            }
            parity ^= 1;
        }
        if (begin >= end) weighed();
    }
};

}  // namespace
}  // namespace kgate
