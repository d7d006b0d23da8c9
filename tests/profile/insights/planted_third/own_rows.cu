// bank-conflicts: each thread adds up a row of its own in shared memory; rows of 64 floats begin in one bank.
#include "../planted/planted.cuh"

constexpr int ROW = 64;
constexpr int STEPS = 64;

__global__ void __launch_bounds__(128) planted_own_rows(const float* in, float* out) {
    __shared__ float rows[128 * ROW];
    for (int i = threadIdx.x; i < 128 * ROW; i += 128) rows[i] = in[i];
    __syncthreads();
    float sum = 0;
    for (int step = 0; step < STEPS; ++step) {
#pragma unroll 8
        for (int column = 0; column < ROW; ++column) sum += rows[threadIdx.x * ROW + column];
        planted::keep(sum);
        rows[threadIdx.x * ROW] = sum;
    }
    out[planted::thread()] = sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_own_rows<<<c.multiprocessors * 12, 128, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
