// tail-effect: one block more than fit at once, all of them equally long: the second wave is one block.
#include "planted.cuh"

constexpr int CHAINS = 8;
constexpr int STEPS = 8192;

__global__ void __launch_bounds__(1024, 2) planted_one_block_more(const float* in, float* out) {
    const float factor = in[threadIdx.x];
    float x[CHAINS];
    for (int chain = 0; chain < CHAINS; ++chain) x[chain] = factor + chain;
#pragma unroll 8
    for (int step = 0; step < STEPS; ++step) {
#pragma unroll
        for (auto& value : x) value = value * factor + factor;
    }
    float sum = 0;
    for (const float value : x) sum += value;
    out[planted::thread()] = sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_one_block_more<<<c.multiprocessors * 2 + 1, 1024, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
