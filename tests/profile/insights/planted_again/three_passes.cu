// excess-bytes: rows too long for the caches are read for their maximum, for their sum, and to be divided.
#include "../planted/planted.cuh"

__global__ void __launch_bounds__(512, 4) planted_three_passes(const float* in, float* out, int64_t length) {
    const float* row = in + blockIdx.x * length;
    float most = 0;
    for (int64_t i = threadIdx.x; i < length; i += 512) most = fmaxf(most, row[i]);
    planted::keep(most);
    float sum = 0;
    for (int64_t i = threadIdx.x; i < length; i += 512) sum += fabsf(row[i] - most);
    planted::keep(sum);
    for (int64_t i = threadIdx.x; i < length; i += 512) out[blockIdx.x * length + i] = row[i] / sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    const int rows = 512;
    planted_three_passes<<<rows, 512, 0, c.stream>>>(c.in, c.out, c.elements / rows);
    return planted::outcome();
}
