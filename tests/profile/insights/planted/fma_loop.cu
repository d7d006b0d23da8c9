// fp32-bound: multiply-adds of single precision and nothing else, eight independent chains a thread.
#include "planted.cuh"

constexpr int CHAINS = 8;
constexpr int STEPS = 4096;

__global__ void __launch_bounds__(256, 8) planted_fma_loop(const float* in, float* out) {
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
    planted_fma_loop<<<c.multiprocessors * 8, 256, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
