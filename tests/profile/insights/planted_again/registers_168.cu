// register-limited: 384 threads of 160 numbers each, so that one block fits on a multiprocessor; each load waits for the one before.
#include "../planted/planted.cuh"

constexpr int HELD = 150;
constexpr int STEPS = 256;

__global__ void __launch_bounds__(384, 1) planted_registers_168(const float* in, float* out, int64_t elements) {
    float held[HELD];
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
        held[i] = in[i * 384 + threadIdx.x];
        planted::keep(held[i]);
    }
    int64_t at = planted::thread();
    float sum = 0;
    for (int step = 0; step < STEPS; ++step) {
        const float value = in[at & (elements - 1)];
        at += 1024 * 32 + (value > 100.0f);  // the next address waits for this value
        sum += value;
    }
#pragma unroll
    for (int i = 0; i < HELD; ++i) {
        planted::keep(held[i]);
        sum += held[i];
    }
    out[planted::thread()] = sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_registers_168<<<c.multiprocessors * 4, 384, 0, c.stream>>>(c.in, c.out, c.elements);
    return planted::outcome();
}
