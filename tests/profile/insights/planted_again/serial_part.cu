// latency-bound: in full blocks, one thread computes a chain of roots while all others wait at a barrier.
#include "../planted/planted.cuh"

constexpr int STEPS = 64;
constexpr int CHAIN = 32;

__global__ void __launch_bounds__(1024, 2) planted_serial_part(const float* in, float* out) {
    __shared__ float passed;
    float mine = in[planted::thread()];
    for (int step = 0; step < STEPS; ++step) {
        if (threadIdx.x == 0) {
            float value = fabsf(mine) + step;
            for (int i = 0; i < CHAIN; ++i) value = sqrtf(value) + 1;
            passed = value;
        }
        __syncthreads();
        mine += passed;
        __syncthreads();
    }
    out[planted::thread()] = mine;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_serial_part<<<c.multiprocessors * 2, 1024, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
