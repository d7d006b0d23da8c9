// The two products of a tile, in the registers of one instruction set: of R rows times W vectors of query rows.
// Included by host/tile.h, once for each set, so there is no include guard; the macros are named there.

constexpr int kPanel = KGATE_PANEL;
constexpr int kRows = 4;  // keys (or columns of V) that a product holds in registers, times kPanel vectors each

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
