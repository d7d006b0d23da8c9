// What is done to a tile's logits between its two products, by vectors of query rows: softcap, bias, window, softmax.
// Included by host/tile.h, once for each instruction set, so there is no include guard; the macros are named there.

// ---- the exponential ----

// 2^f on [-1/2, 1/2] as a polynomial of f, fitted (linear programme, Chebyshev nodes) for the least relative error,
// 1.6e-8 with these rounded coefficients. One degree less would save a multiply-add and cost 1.1e-7.
constexpr float kExp2[] = {1.0f,           0.693147182f,   0.240226477f,   0.0555033274f,
                           0.00961843878f, 0.00133988482f, 0.000153528876f};

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
