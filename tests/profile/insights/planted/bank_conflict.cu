// bank-conflicts: the 32 lanes of a warp read a column of a tile whose rows are 32 words long, all from one bank.
#include "planted.cuh"

constexpr int STEPS = 512;

__global__ void __launch_bounds__(256, 8) planted_bank_conflict(const float* in, float* out) {
    __shared__ float tile[32][32];
    for (int i = threadIdx.x; i < 32 * 32; i += 256) tile[i / 32][i % 32] = in[i];
    __syncthreads();
    const int lane = threadIdx.x % 32;
    float sum = 0;
    for (int step = 0; step < STEPS; ++step) {
        sum += *const_cast<volatile float*>(&tile[lane][step % 32]);  // read anew at each step
    }
    out[planted::thread()] = sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_bank_conflict<<<c.multiprocessors * 8, 256, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
