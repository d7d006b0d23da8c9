// One tile of query rows against all its keys, for one instruction set. host/isas.h includes this file once for each,
// inside a namespace of its own (so there is no include guard), with these macros defined:
//   KGATE_LANES   floats in a vector; 16 is AVX-512, with DQ
//   KGATE_PANEL   vectors of query rows that a product holds in registers
//   KGATE_HALF    how fp16 is converted: 0 by integer code, 1 by F16C, 2 by AVX-512
//   KGATE_TARGET  attribute of every function

// First, for the others are written in its terms.
#include "host/vector.h"

#include "host/products.h"
#include "host/softmax.h"

// ---- one work item: BLOCK_M query rows, from q0 on, of one head ----

template <class T>
KGATE_TARGET void attend(const SdpaArgs& args, int b, int h, int q0, Scratch& scratch) {
    const int head_dim = args.head_dim;
    const int ld = (head_dim + 15) / 16 * 16;
    const int rows = args.seqlen - q0 < BLOCK_M ? args.seqlen - q0 : BLOCK_M;
    const int vectors = (rows + kLanes - 1) / kLanes;
    const int padded = (rows + 15) / 16 * 16;
    const auto head = [&](const void* base, const int64_t* stride, int index) {
        return static_cast<const T*>(base) + b * stride[0] + index * stride[1];
    };
    const int kv_head = h / (args.heads / args.kv_heads);
    const T* q = head(args.q, args.q_stride, h) + q0 * args.q_stride[2];
    const T* k = head(args.k, args.k_stride, kv_head);
    const T* v = head(args.v, args.v_stride, kv_head);
    T* o = const_cast<T*>(head(args.o, args.o_stride, h)) + q0 * args.o_stride[2];

    // Only the scale's sign goes into Q: rounding scale * log2(e) * q would cost half a bit of every logit.
    const float sign = args.scale < 0 ? -1.0f : args.scale == 0 ? 0.0f : 1.0f;
    const float log2_scale = args.scale == 0 ? 1.0f : std::fabs(args.scale) * 1.44269504f;
    float same[kLanes];
    store(same, splat(sign));
    read_rows(q, args.q_stride[2], rows, head_dim, scratch.o, ld);
    for (int i = rows * ld; i < padded * ld; ++i) scratch.o[i] = 0.0f;
    transpose(scratch.o, ld, padded, ld, same, 0, scratch.q, BLOCK_M);

    for (int i = 0; i < ld * BLOCK_M; ++i) scratch.o[i] = 0.0f;
    for (int i = 0; i < BLOCK_M; ++i) scratch.top[i] = -INFINITY, scratch.sum[i] = 0.0f;

    // Row q0 + m stands at the key position `position` + m. It sees the keys up to `after` behind that, and, where
    // there is a window, from window - 1 before it on.
    const int64_t position = q0 + int64_t(args.kv_seqlen) - args.seqlen;
    const int64_t after = args.causal ? 0 : args.window != 0 ? args.window - 1 : args.kv_seqlen + int64_t(args.seqlen);
    const int end = int(position + rows + after < args.kv_seqlen ? position + rows + after : args.kv_seqlen);
    const int64_t oldest = args.window != 0 ? position - args.window + 1 : 0;
    const bool raw = args.softcap == 0 && !args.bias;  // whether the logits only need the scale
    for (int k0 = int(oldest > 0 ? oldest : 0); k0 < end; k0 += BLOCK_N) {
        const int keys = end - k0 < BLOCK_N ? end - k0 : BLOCK_N;
        const T* k_rows = k + k0 * args.k_stride[2];
        const T* v_rows = v + k0 * args.v_stride[2];
        const float* kt = scratch.k;
        const float* vt = scratch.v;
        int64_t k_stride = ld, v_stride = ld;
        if constexpr (std::is_same_v<T, float>) {
            // K's rows are read once a tile, so any stride will do; V's are read again for every 4 columns, and rows 2
            // KB apart (the usual batch x seqlen x head x dim layout) would share a few sets of the first-level cache.
            kt = k_rows, k_stride = args.k_stride[2];
            if (args.v_stride[2] == head_dim) vt = v_rows, v_stride = head_dim;
        } else {
            read_rows(k_rows, args.k_stride[2], keys, head_dim, scratch.k, ld);
        }
        if (vt == scratch.v) read_rows(v_rows, args.v_stride[2], keys, head_dim, scratch.v, ld);

        // In row n of S^T, lane m sees key k0 + n if m >= n - diagonal. Vectors of lanes that see nothing are left out
        // of both products: first(n) is the first one that is not.
        const int diagonal = int(position + after - k0 < BLOCK_N ? position + after - k0 : BLOCK_N);
        const auto first = [=](int n) { return n > diagonal ? (n - diagonal) / kLanes : 0; };
        int n = 0;
        for (; n + kRows <= keys; n += kRows) {
            const int from = first(n) * kLanes;
            logits_row<kRows>(scratch.q + from, kt + n * k_stride, k_stride, head_dim, scratch.p + n * BLOCK_M + from,
                              vectors - first(n));
        }
        for (; n < keys; ++n) {
            const int from = first(n) * kLanes;
            logits_row<1>(scratch.q + from, kt + n * k_stride, k_stride, head_dim, scratch.p + n * BLOCK_M + from,
                          vectors - first(n));
        }
        for (int i = 0; i < vectors; ++i) {
            const int from = i * kLanes;
            const int seen = diagonal + from + kLanes < keys ? diagonal + from + kLanes : keys;
            if (seen <= 0) continue;
            float* const s = scratch.p + from;
            if (!raw) {
                const T* row =
                    args.bias ? head(args.bias, args.bias_stride, h) + (q0 + from) * args.bias_stride[2] + k0 : nullptr;
                finish_logits(s, seen, std::fabs(args.scale), args.softcap, row, args.bias_stride[2], rows - from);
            }
            if (args.window != 0 && oldest + from + kLanes > k0 + 1) leave_window(s, seen, int(oldest + from - k0));
            softmax(s, seen, diagonal + from, raw ? log2_scale : 1.44269504f, scratch.top + from, scratch.sum + from,
                    scratch.o + from, head_dim);
        }
        // Keys in runs that share first(n): one run where the whole tile is seen, kLanes keys a run along the diagonal.
        for (int n = 0, next; n < keys; n = next) {
            next = diagonal + (first(n) + 1) * kLanes;
            next = next < keys ? next : keys;
            const int from = first(n) * kLanes;
            const float* p = scratch.p + n * BLOCK_M + from;
            int d = 0;
            for (; d + kRows <= head_dim; d += kRows)
                values_row<kRows>(p, vt + n * v_stride + d, v_stride, next - n, scratch.o + d * BLOCK_M + from,
                                  vectors - first(n));
            for (; d < head_dim; ++d)
                values_row<1>(p, vt + n * v_stride + d, v_stride, next - n, scratch.o + d * BLOCK_M + from,
                              vectors - first(n));
        }
    }

    if (args.lse) {
        float* lse = args.lse + b * args.lse_stride[0] + h * args.lse_stride[1] + q0 * args.lse_stride[2];
        for (int i = 0; i < rows; ++i)
            lse[i * args.lse_stride[2]] = scratch.top[i] * 0.693147181f + std::log(scratch.sum[i]);
    }
    for (int i = 0; i < padded; ++i) scratch.sum[i] = scratch.sum[i] == 0.0f ? 0.0f : 1.0f / scratch.sum[i];
    transpose(scratch.o, BLOCK_M, ld, padded, scratch.sum, 1, scratch.q, ld);
    write_rows(scratch.q, ld, rows, head_dim, o, args.o_stride[2]);
}

#undef KGATE_FN
#undef KGATE_OUTLINE
#undef KGATE_UNROLL
