// spills: threads hold 12 by 12 sums of outer products, where the block's size leaves them 32 registers.
#include "../planted/planted.cuh"

constexpr int SIDE = 12;
constexpr int STEPS = 32;

__global__ void __launch_bounds__(1024, 2) planted_crowded_sums(const float* in, float* out) {
    float sum[SIDE][SIDE] = {};
    const float* from = in + threadIdx.x;
#pragma unroll 1
    for (int step = 0; step < STEPS; ++step) {
#pragma unroll
        for (int i = 0; i < SIDE; ++i) {
            const float left = from[i * 32];
#pragma unroll
            for (int j = 0; j < SIDE; ++j) {
                sum[i][j] += left * (left + j);
                planted::keep(sum[i][j]);
            }
        }
    }
    float total = 0;
#pragma unroll
    for (int i = 0; i < SIDE; ++i)
#pragma unroll
        for (int j = 0; j < SIDE; ++j) total = total * 0.5f + sum[i][j];
    out[planted::thread()] = total;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_crowded_sums<<<c.multiprocessors * 2, 1024, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
