// Between float and the 16-bit types, two or eight numbers at a time.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstring>

namespace kgate {
namespace {

template <typename T>
struct Pair;  // two 16-bit numbers in 32 bits

template <>
struct Pair<__half> {
    using type = __half2;
    static __device__ float2 to_float(type x) { return __half22float2(x); }
    static __device__ type from_float(float a, float b) { return __floats2half2_rn(a, b); }
};

template <>
struct Pair<__nv_bfloat16> {
    using type = __nv_bfloat162;
    static __device__ float2 to_float(type x) { return __bfloat1622float2(x); }
    static __device__ type from_float(float a, float b) { return __floats2bfloat162_rn(a, b); }
};

// Rounds two numbers; `low` gets the low 16 bits.
template <typename T>
__device__ unsigned pack(float low, float high) {
    const typename Pair<T>::type pair = Pair<T>::from_float(low, high);
    unsigned word;
    memcpy(&word, &pair, 4);
    return word;
}

// Eight consecutive elements, 16-byte aligned, as one 128-bit load or store.
template <typename T>
__device__ void load_8(const T* source, float (&values)[8]) {
    const uint4 raw = *reinterpret_cast<const uint4*>(source);
    const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        typename Pair<T>::type pair;
        memcpy(&pair, &words[i], 4);
        const float2 both = Pair<T>::to_float(pair);
        values[2 * i] = both.x;
        values[2 * i + 1] = both.y;
    }
}

template <typename T>
__device__ void store_8(T* target, const float (&values)[8]) {
    unsigned words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const typename Pair<T>::type pair = Pair<T>::from_float(values[2 * i], values[2 * i + 1]);
        memcpy(&words[i], &pair, 4);
    }
    *reinterpret_cast<uint4*>(target) = make_uint4(words[0], words[1], words[2], words[3]);
}

}  // namespace
}  // namespace kgate
