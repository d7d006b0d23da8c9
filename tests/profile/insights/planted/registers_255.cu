// register-limited: each warp waits for one load after another while its threads hold 200 numbers, so that only eight
// warps fit on a multiprocessor. More of them would hide the waiting.
#include "planted.cuh"

constexpr int HELD = 238;
constexpr int STEPS = 128;

__global__ void __launch_bounds__(256, 1) planted_registers_255(const float* in, float* out, int64_t elements) {
    float held[HELD];
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
        held[i] = in[i * 256 + threadIdx.x];
        planted::keep(held[i]);
    }
    const int lane = threadIdx.x % 32;
    uint32_t line = static_cast<uint32_t>(planted::thread() / 32) * 2654435761u;
    for (int step = 0; step < STEPS; ++step) {
        const uint32_t read = __float_as_uint(in[(int64_t{line} * 32 & (elements - 1)) + lane]);
        line = (line + __shfl_sync(~0u, read, 0)) * 2654435761u;
    }
    float sum = __uint_as_float(line & 0x3fffffff);
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
        planted::keep(held[i]);
        sum += held[i];
    }
    out[planted::thread()] = sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_registers_255<<<c.multiprocessors * 8, 256, 0, c.stream>>>(c.in, c.out, c.elements);
    return planted::outcome();
}
