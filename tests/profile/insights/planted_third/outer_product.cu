// register-limited: threads hold 9 by 10 sums of outer products, so that 512 fit; what those are made of comes from
// memory, by two loads, each of which waits for the one before.
#include "../planted/planted.cuh"

constexpr int ROWS = 9;
constexpr int COLUMNS = 10;
constexpr int STEPS = 128;

__global__ void __launch_bounds__(512, 1) planted_outer_product(const float* in, float* out, int64_t elements) {
    float sum[ROWS][COLUMNS] = {};
    const int lane = threadIdx.x % 32;
    uint32_t line = static_cast<uint32_t>(planted::thread() / 32) * 2654435761u;
    for (int step = 0; step < STEPS; ++step) {
        float read = 0;
#pragma unroll
        for (int load = 0; load < 2; ++load) {
            read += in[(int64_t{line} * 32 & (elements - 1)) + lane];
            line = (line + __shfl_sync(~0u, __float_as_uint(read), 0)) * 2654435761u;
        }
        float left[ROWS];
        float right[COLUMNS];
        for (int i = 0; i < ROWS; ++i) left[i] = read + i;
        for (int i = 0; i < COLUMNS; ++i) right[i] = read - i;
#pragma unroll
        for (int i = 0; i < ROWS; ++i) {
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) sum[i][j] += left[i] * right[j];
        }
    }
    float total = 0;
    for (int i = 0; i < ROWS; ++i)
        for (int j = 0; j < COLUMNS; ++j) total = total * 0.5f + sum[i][j];
    out[planted::thread()] = total;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_outer_product<<<c.multiprocessors * 2, 512, 0, c.stream>>>(c.in, c.out, c.elements);
    return planted::outcome();
}
