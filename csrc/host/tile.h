// One tile of query rows against all its keys, for one instruction set. host/host.cpp includes this file once for each,
// inside a namespace of its own (so there is no include guard), with these macros defined:
//   KGATE_LANES   floats in a vector; 16 is AVX-512, with DQ
//   KGATE_PANEL   vectors of query rows that a product holds in registers
//   KGATE_HALF    how fp16 is converted: 0 by integer code, 1 by F16C, 2 by AVX-512
//   KGATE_TARGET  attribute of every function

#include "host/vector.h"

constexpr int kPanel = KGATE_PANEL;
constexpr int kRows = 4;  // keys (or columns of V) that a product holds in registers, times kPanel vectors each

// ---- the exponential ----

// 2^x for x <= 8 or so, relative error below 2e-7; 0 for -inf, and for x <= -127 at the latest, NaN for NaN.
KGATE_FN Vec power_of_two(Vec x) {
#if KGATE_LANES == 16
    // x = n + f by VREDUCEPS and y * 2^n by VSCALEFPS. What would be subnormal is 0: products of it would be slow.
    const Vec f = (Vec)_mm512_reduce_ps((__m512)x, 0);
    const __mmask16 normal = _mm512_cmp_ps_mask((__m512)x, (__m512)splat(-126.0f), _CMP_NLE_UQ);
#else
    // Adding 1.5 * 2^23 + 127 rounds x to an integer n and leaves n + 127, the exponent field of 2^n, in the low bits
    // of the sum: a shift makes 2^n of it (and 0 of n = -127). Multiplying, rather than adding exponents as integers,
    // keeps a NaN a NaN.
    const Vec floor = splat(-127.0f);
    x = floor > x ? floor : x;  // in this order, for a NaN to pass
    const Vec shifted = x + 12583039.0f;
    const Vec f = x - (shifted - 12583039.0f);
#endif
    Vec y = f * kExp2[6] + kExp2[5];
    y = y * f + kExp2[4];
    y = y * f + kExp2[3];
    y = y * f + kExp2[2];
    y = y * f + kExp2[1];
    y = y * f + kExp2[0];
#if KGATE_LANES == 16
    return (Vec)_mm512_maskz_scalef_ps(normal, (__m512)y, (__m512)(x - f));
#else
    return y * (Vec)((Int)shifted << 23);
#endif
}

// ---- the two products, in registers: R rows times W vectors of query rows ----

// S^T[n][m] = sum over d of K[n][d] Q^T[d][m], for R keys n. Every step of d: W loads, R broadcasts, R * W
// multiply-adds.
template <int R, int W>
KGATE_OUTLINE void logits(const float* q, const float* k, int64_t k_stride, int head_dim, float* s) {
    Vec sum[R][W];
    KGATE_UNROLL
    for (int r = 0; r < R; ++r) KGATE_UNROLL
    for (int w = 0; w < W; ++w) sum[r][w] = Vec{};
    for (int d = 0; d < head_dim; ++d) {
        Vec x[W];
        KGATE_UNROLL
        for (int w = 0; w < W; ++w) x[w] = load(q + d * BLOCK_M + w * kLanes);
        KGATE_UNROLL
        for (int r = 0; r < R; ++r) KGATE_UNROLL
        for (int w = 0; w < W; ++w) sum[r][w] = x[w] * k[r * k_stride + d] + sum[r][w];
    }
    KGATE_UNROLL
    for (int r = 0; r < R; ++r) KGATE_UNROLL
    for (int w = 0; w < W; ++w) store(s + r * BLOCK_M + w * kLanes, sum[r][w]);
}

// O^T[d][m] += sum over n of V[n][d] P^T[n][m], for R columns d.
template <int R, int W>
KGATE_OUTLINE void values(const float* p, const float* v, int64_t v_stride, int keys, float* o) {
    Vec sum[R][W];
    KGATE_UNROLL
    for (int r = 0; r < R; ++r) KGATE_UNROLL
    for (int w = 0; w < W; ++w) sum[r][w] = load(o + r * BLOCK_M + w * kLanes);
    for (int n = 0; n < keys; ++n, p += BLOCK_M, v += v_stride) {
        Vec x[W];
        KGATE_UNROLL
        for (int w = 0; w < W; ++w) x[w] = load(p + w * kLanes);
        KGATE_UNROLL
        for (int r = 0; r < R; ++r) KGATE_UNROLL
        for (int w = 0; w < W; ++w) sum[r][w] = x[w] * v[r] + sum[r][w];
    }
    KGATE_UNROLL
    for (int r = 0; r < R; ++r) KGATE_UNROLL
    for (int w = 0; w < W; ++w) store(o + r * BLOCK_M + w * kLanes, sum[r][w]);
}

// The same over any number of vectors: as many full panels as fit, then one of what is left.
template <int R, int W = kPanel>
KGATE_FN void logits_row(const float* q, const float* k, int64_t k_stride, int head_dim, float* s, int vectors) {
    for (; vectors >= W; vectors -= W, q += W * kLanes, s += W * kLanes) logits<R, W>(q, k, k_stride, head_dim, s);
    if constexpr (W > 1)
        if (vectors > 0) logits_row<R, W - 1>(q, k, k_stride, head_dim, s, vectors);
}
template <int R, int W = kPanel>
KGATE_FN void values_row(const float* p, const float* v, int64_t v_stride, int keys, float* o, int vectors) {
    for (; vectors >= W; vectors -= W, p += W * kLanes, o += W * kLanes) values<R, W>(p, v, v_stride, keys, o);
    if constexpr (W > 1)
        if (vectors > 0) values_row<R, W - 1>(p, v, v_stride, keys, o, vectors);
}

// ---- the softmax of one vector of query rows over the keys of a tile ----

// s: kLanes columns of S^T, `keys` rows, overwritten by P^T. In row n the lanes below n - diagonal see no key (causal).
// top, sum: what the row's exponents are relative to, in log2 units, and its sum so far; o: its columns of O^T.
// top is moved only when a row outgrows it by 2^8 (fp32 has room for more): most tiles then leave O^T alone.
KGATE_OUTLINE void softmax(float* s, int keys, int diagonal, float log2_scale, float* top, float* sum, float* o,
                           int head_dim) {
    const Int lane = lane_index();
    const Vec minus_inf = splat(-INFINITY);
    for (int n = diagonal + 1 > 0 ? diagonal + 1 : 0; n < keys; ++n) {
        float* at = s + n * BLOCK_M;
        store(at, lane < n - diagonal ? minus_inf : load(at));
    }
    Vec high[4] = {minus_inf, minus_inf, minus_inf, minus_inf};
    int n = 0;
    for (; n + 4 <= keys; n += 4) {
        KGATE_UNROLL
        for (int i = 0; i < 4; ++i) {
            const Vec x = load(s + (n + i) * BLOCK_M);
            high[i] = x > high[i] ? x : high[i];
        }
    }
    for (; n < keys; ++n) {
        const Vec x = load(s + n * BLOCK_M);
        high[0] = x > high[0] ? x : high[0];
    }
    KGATE_UNROLL
    for (int i = 1; i < 4; ++i) high[0] = high[i] > high[0] ? high[i] : high[0];
    const Vec wanted = high[0] * log2_scale;

    Vec relative = load(top);
    Vec total = load(sum);
    if (any(wanted > relative + 8.0f)) {
        const Vec raised = wanted > relative ? wanted : relative;
        const Vec shrink = power_of_two(relative - (raised == minus_inf ? Vec{} : raised));
        relative = raised;
        store(top, relative);
        total *= shrink;
        for (int d = 0; d < head_dim; ++d) store(o + d * BLOCK_M, load(o + d * BLOCK_M) * shrink);
    }
    relative = relative == minus_inf ? Vec{} : relative;  // a row of nothing but -inf: 2^(-inf - 0) = 0, not NaN

    Vec even = {}, odd = {};
    for (n = 0; n + 2 <= keys; n += 2) {
        const Vec a = power_of_two(load(s + n * BLOCK_M) * log2_scale - relative);
        const Vec b = power_of_two(load(s + (n + 1) * BLOCK_M) * log2_scale - relative);
        store(s + n * BLOCK_M, a);
        store(s + (n + 1) * BLOCK_M, b);
        even += a;
        odd += b;
    }
    if (n < keys) {
        const Vec a = power_of_two(load(s + n * BLOCK_M) * log2_scale - relative);
        store(s + n * BLOCK_M, a);
        even += a;
    }
    store(sum, total + (even + odd));
}

// ---- what is not plain attention, done to the logits of one vector of query rows before their softmax ----

// Relative error below 1e-6. Up to 0.35 a series, because the fraction loses what cancels in its numerator.
KGATE_FN Vec hyperbolic_tangent(Vec x) {
    const Vec size = (Vec)((Int)x & 0x7fffffff);
    const Vec t = power_of_two(size * -2.88539008f);  // e^(-2 |x|)
    const Vec far = (1.0f - t) / (1.0f + t);
    const Vec square = x * x;
    Vec series = square * -0.00886323553f + 0.0218694885f;
    series = series * square + -0.0539682540f;
    series = series * square + 0.133333333f;
    series = series * square + -0.333333333f;
    const Vec near = x + x * square * series;
    return size < 0.35f ? near : x < 0.0f ? -far : far;
}

// s: kLanes columns of S^T, `keys` rows, of logits that `scale` is still to multiply; they become logits as they are:
// scaled, within the softcap if there is one, with the bias added if there is one. bias: that of the first row and key;
// the rows of a vector beyond `rows` have none of their own, and take the last one's.
template <class T>
KGATE_OUTLINE void finish_logits(float* s, int keys, float scale, float softcap, const T* bias, int64_t bias_stride,
                                 int rows) {
    const T* row[kLanes];
    for (int i = 0; i < kLanes; ++i) row[i] = bias ? bias + (i < rows ? i : rows - 1) * bias_stride : nullptr;
    for (int n = 0; n < keys; ++n) {
        float* at = s + n * BLOCK_M;
        Vec x = load(at) * scale;
        if (softcap != 0) x = softcap * hyperbolic_tangent(x / softcap);
        if (bias) {
            float added[kLanes];
            for (int i = 0; i < kLanes; ++i) added[i] = to_float(row[i][n]);
            x += load(added);
        }
        store(at, x);
    }
}

// In row n the lanes above n - oldest have that key outside of their window.
KGATE_OUTLINE void leave_window(float* s, int keys, int oldest) {
    const Int lane = lane_index();
    for (int n = 0; n < keys && n < oldest + kLanes - 1; ++n) {
        float* at = s + n * BLOCK_M;
        store(at, lane > n - oldest ? splat(-INFINITY) : load(at));
    }
}

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
