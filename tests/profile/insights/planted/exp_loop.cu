// exp-bound: powers of two and nothing else, eight independent chains a thread, all warps that fit.
#include "planted.cuh"

constexpr int CHAINS = 8;
constexpr int STEPS = 1024;

__global__ void __launch_bounds__(256, 8) planted_exp_loop(const float* in, float* out) {
    float x[CHAINS];
    for (int chain = 0; chain < CHAINS; ++chain) x[chain] = in[planted::thread()] + chain;
    for (int step = 0; step < STEPS; ++step) {
#pragma unroll
        for (auto& value : x) asm("{.reg .f32 t; neg.f32 t, %0; ex2.approx.ftz.f32 %0, t;}" : "+f"(value));
    }
    float sum = 0;
    for (const float value : x) sum += value;
    out[planted::thread()] = sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_exp_loop<<<c.multiprocessors * 8, 256, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
