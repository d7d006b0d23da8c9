// occupancy-blocks: blocks of 24 threads; each warp follows a chain of loads, of which the next waits for the last.
#include "../planted/planted.cuh"

constexpr int STEPS = 256;

__global__ void planted_small_blocks(const float* in, float* out, int64_t elements) {
    int64_t at = blockIdx.x * 8 + threadIdx.x / 4;
    float sum = 0;
    for (int step = 0; step < STEPS; ++step) {
        const float value = in[at & (elements - 1)];
        at += 8192 + (value > 100.0f ? 8 : 0);
        sum += value;
    }
    out[planted::thread()] = sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_small_blocks<<<c.multiprocessors * 32 * 4, 24, 0, c.stream>>>(c.in, c.out, c.elements);
    return planted::outcome();
}
