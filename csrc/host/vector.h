// Vectors of one instruction set: element types to and from fp32, rows read and written, squares transposed. Included
// by host/tile.h, once for each set, so there is no include guard; the macros are named there. A target attribute on
// each function, rather than a pragma around them, is what g++ and clang agree on, and what template instantiations
// keep.

#define KGATE_FN KGATE_TARGET static inline __attribute__((always_inline))
#define KGATE_OUTLINE KGATE_TARGET static __attribute__((noinline))

// Over registers only: an array that some loop still indexes is kept in memory.
#ifdef __clang__
#define KGATE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define KGATE_UNROLL _Pragma("GCC unroll 16")
#endif

constexpr int kLanes = KGATE_LANES;

typedef float Vec __attribute__((vector_size(4 * KGATE_LANES)));
typedef float Loose __attribute__((vector_size(4 * KGATE_LANES), aligned(4), may_alias));  // in memory, at any address
typedef int32_t Int __attribute__((vector_size(4 * KGATE_LANES)));
typedef uint32_t Word __attribute__((vector_size(4 * KGATE_LANES)));
typedef uint16_t Short __attribute__((vector_size(2 * KGATE_LANES)));

KGATE_FN Vec load(const float* p) { return *(const Loose*)p; }
KGATE_FN void store(float* p, Vec x) { *(Loose*)p = x; }
KGATE_FN Vec splat(float x) { return x - Vec{}; }
KGATE_FN Int lane_index() {
    Int index;
    for (int i = 0; i < kLanes; ++i) index[i] = i;
    return index;
}
KGATE_FN bool any(Int mask) {
    int32_t seen = 0;
    for (int i = 0; i < kLanes; ++i) seen |= mask[i];
    return seen != 0;
}

// ---- element types: a vector or a single one, to and from fp32 ----

KGATE_FN Vec widen(const float* p) { return load(p); }
KGATE_FN Vec widen(const BFloat* p) {
    Short bits;
    __builtin_memcpy(&bits, p, sizeof bits);
    return (Vec)(__builtin_convertvector(bits, Word) << 16);
}
KGATE_FN Vec widen(const Half* p) {
#if KGATE_HALF == 2
    return (Vec)_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256((const __m256i*)p));
#elif KGATE_HALF == 1
    return (Vec)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
#else
    Vec x;
    for (int i = 0; i < kLanes; ++i) x[i] = to_float(p[i]);
    return x;
#endif
}
KGATE_FN void narrow(float* p, Vec x) { store(p, x); }
KGATE_FN void narrow(BFloat* p, Vec x) {  // to nearest, ties to even; a NaN keeps its top bits and stays quiet
    const Word bits = (Word)x;
    const Word rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const Word nan = (bits >> 16) | 0x40u;
    const Short narrowed = __builtin_convertvector(x == x ? rounded : nan, Short);
    __builtin_memcpy(p, &narrowed, sizeof narrowed);
}
KGATE_FN void narrow(Half* p, Vec x) {
#if KGATE_HALF == 2
    _mm256_storeu_si256((__m256i*)p, _mm512_maskz_cvtps_ph(0xffff, (__m512)x, _MM_FROUND_TO_NEAREST_INT));
#elif KGATE_HALF == 1
    _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph((__m256)x, _MM_FROUND_TO_NEAREST_INT));
#else
    for (int i = 0; i < kLanes; ++i) from_float(x[i], p[i]);
#endif
}

// rows x head_dim elements into a dense fp32 block of row length `ld`, the columns up to `ld` set to zero.
template <class T>
KGATE_OUTLINE void read_rows(const T* from, int64_t stride, int rows, int head_dim, float* to, int ld) {
    for (int r = 0; r < rows; ++r, from += stride, to += ld) {
        int d = 0;
        for (; d + kLanes <= head_dim; d += kLanes) store(to + d, widen(from + d));
        for (; d < head_dim; ++d) to[d] = to_float(from[d]);
        for (; d < ld; ++d) to[d] = 0.0f;
    }
}

template <class T>
KGATE_OUTLINE void write_rows(const float* from, int ld, int rows, int head_dim, T* to, int64_t stride) {
    for (int r = 0; r < rows; ++r, from += ld, to += stride) {
        int d = 0;
        for (; d + kLanes <= head_dim; d += kLanes) narrow(to + d, load(from + d));
        for (; d < head_dim; ++d) from_float(from[d], to[d]);
    }
}

// ---- transposing a square of kLanes x kLanes: log2(kLanes) steps, each swapping the off-diagonal halves of its
// squares ----

template <int... index>
KGATE_FN Vec shuffle(Vec a, Vec b, std::integer_sequence<int, index...>) {
#ifdef __clang__
    return __builtin_shufflevector(a, b, index...);
#else
    return __builtin_shuffle(a, b, Int{index...});
#endif
}
template <int half, bool upper, int... lane>  // lanes of (a, b) that make up the upper or the lower row after a swap
constexpr auto swapped(std::integer_sequence<int, lane...>) {
    return std::integer_sequence<int, (upper ? ((lane & half) ? kLanes + lane - half : lane)
                                             : ((lane & half) ? kLanes + lane : lane + half))...>{};
}
template <int half>
KGATE_FN void swap_halves(Vec (&row)[kLanes]) {
    using Lanes = std::make_integer_sequence<int, kLanes>;
    for (int i = 0; i < kLanes; ++i) {
        if (i & half) continue;
        const Vec a = row[i], b = row[i + half];
        row[i] = shuffle(a, b, swapped<half, true>(Lanes{}));
        row[i + half] = shuffle(a, b, swapped<half, false>(Lanes{}));
    }
    if constexpr (half > 1) swap_halves<half / 2>(row);
}

// to[j][i] = from[i][j] * factor[j * factor_step]; rows and columns are multiples of 16.
KGATE_OUTLINE void transpose(const float* from, int from_ld, int rows, int columns, const float* factor,
                             int factor_step, float* to, int to_ld) {
    for (int i = 0; i < rows; i += kLanes)
        for (int j = 0; j < columns; j += kLanes) {
            const Vec f = load(factor + j * factor_step);
            Vec row[kLanes];
            for (int r = 0; r < kLanes; ++r) row[r] = load(from + (i + r) * from_ld + j) * f;
            swap_halves<kLanes / 2>(row);
            for (int r = 0; r < kLanes; ++r) store(to + (j + r) * to_ld + i, row[r]);
        }
}
