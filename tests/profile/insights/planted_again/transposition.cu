// bank-conflicts: tiles are transposed through shared memory again and again, written by rows and read by columns.
#include "../planted/planted.cuh"

constexpr int STEPS = 128;

__global__ void __launch_bounds__(1024, 2) planted_transposition(const float* in, float* out) {
    __shared__ float tile[32][32];
    const int row = threadIdx.x / 32;
    const int column = threadIdx.x % 32;
    float value = in[planted::thread()];
    for (int step = 0; step < STEPS; ++step) {
        tile[row][column] = value;
        __syncthreads();
        value = tile[column][row];
        __syncthreads();
    }
    out[planted::thread()] = value;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_transposition<<<c.multiprocessors * 2, 1024, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
