// spills: 160 numbers a thread are worked on in turn, where the block's size leaves 32 registers a thread.
#include "planted.cuh"

constexpr int HELD = 160;
constexpr int STEPS = 16;

__global__ void __launch_bounds__(1024, 2) planted_spilling(const float* in, float* out) {
    float held[HELD];
    const float first = in[planted::thread()];
#pragma unroll
    for (int i = 0; i < HELD; ++i) held[i] = first + i;
#pragma unroll 1
    for (int step = 0; step < STEPS; ++step) {
#pragma unroll
        for (int i = 0; i < HELD; ++i) {
            held[i] = held[i] * first + held[(i + 1) % HELD];
            planted::keep(held[i]);
        }
    }
    float sum = 0;
#pragma unroll
    for (const float value : held) sum += value;
    out[planted::thread()] = sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_spilling<<<c.multiprocessors * 2, 1024, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
