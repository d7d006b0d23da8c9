// spills: an array of a thread's own that is indexed at run time lies in local memory.
#include "../planted/planted.cuh"

constexpr int HELD = 128;
constexpr int STEPS = 512;

__global__ void __launch_bounds__(256, 8) planted_indexed_array(const float* in, float* out) {
    float held[HELD];
    for (int i = 0; i < HELD; ++i) held[i] = in[threadIdx.x] + i;
    uint32_t at = threadIdx.x / 32;
    for (int step = 0; step < STEPS; ++step) {
        at = (at * 1664525u + 1013904223u) % HELD;
        held[at] += held[(at + 64) % HELD];
    }
    float sum = 0;
    for (const float value : held) sum += value;
    out[planted::thread()] = sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_indexed_array<<<c.multiprocessors * 8, 256, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
