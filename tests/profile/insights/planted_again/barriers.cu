// latency-bound: full blocks that pass one number round through shared memory, with a barrier at each step.
#include "../planted/planted.cuh"

constexpr int STEPS = 512;

__global__ void __launch_bounds__(1024, 2) planted_barriers(const float* in, float* out) {
    __shared__ float passed;
    float mine = in[planted::thread()];
    for (int step = 0; step < STEPS; ++step) {
        if (threadIdx.x == step * 31 % 1024) passed = sqrtf(fabsf(mine) + step);
        __syncthreads();
        mine += passed;
        __syncthreads();
    }
    out[planted::thread()] = mine;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_barriers<<<c.multiprocessors * 2, 1024, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
