// The 16-bit element types of tensors, and one element to and from fp32 by integer code; vector.h has what an
// instruction set does for a vector of them.
#pragma once

#include <cstdint>
#include <cstring>

namespace kgate {
namespace {

struct Half {
    uint16_t bits;
};
struct BFloat {
    uint16_t bits;
};

float bits_to_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}
uint32_t float_to_bits(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

float to_float(float x) { return x; }
float to_float(BFloat x) { return bits_to_float(uint32_t(x.bits) << 16); }
float to_float(Half x) {
    // The 15 bits of a half, moved up 13, are a float whose exponent is 112 too small; subnormals come right with the
    // rest.
    const uint32_t sign = uint32_t(x.bits & 0x8000u) << 16;
    const float magnitude = bits_to_float(uint32_t(x.bits & 0x7fffu) << 13) * 0x1p112f;
    const uint32_t special = (x.bits & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;  // infinities and NaNs
    return bits_to_float(float_to_bits(magnitude) | special | sign);
}
void from_float(float x, float& to) { to = x; }
void from_float(float x, BFloat& to) {
    const uint32_t bits = float_to_bits(x);
    to.bits = uint16_t(x == x ? (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16 : (bits >> 16) | 0x40u);
}
void from_float(float x, Half& to) {  // to nearest, ties to even
    const uint32_t sign = (float_to_bits(x) >> 16) & 0x8000u;
    const uint32_t bits = float_to_bits(x) & 0x7fffffffu;
    uint32_t half;
    if (bits > 0x7f800000u) {
        half = 0x7e00u;
    } else if (bits >= 0x477ff000u) {  // 65520 and more round to infinity
        half = 0x7c00u;
    } else if (bits < 0x38800000u) {  // subnormal: adding 1/2 leaves the value, in steps of 2^-24, in the low bits
        half = float_to_bits(bits_to_float(bits) + 0.5f) - 0x3f000000u;
    } else {
        half = (bits - 0x38000000u + 0xfffu + ((bits >> 13) & 1u)) >> 13;
    }
    to.bits = uint16_t(half | sign);
}

}  // namespace
}  // namespace kgate
