// shared-memory-limited: blocks of two warps have a table of 48 KiB each, and walk through an array in memory by it.
#include "../planted/planted.cuh"

constexpr int ENTRIES = 12 * 1024;
constexpr int STEPS = 256;

__global__ void __launch_bounds__(64) planted_shared_48k(const float* in, float* out, int64_t elements) {
    __shared__ uint32_t table[ENTRIES];
    for (int i = threadIdx.x; i < ENTRIES; i += blockDim.x) table[i] = i * 2654435761u;
    __syncthreads();
    const int lane = threadIdx.x % 32;
    uint32_t at = static_cast<uint32_t>(planted::thread() / 32) * 40503u;
    float sum = 0;
    for (int step = 0; step < STEPS; ++step) {
        const float value = in[(int64_t{at} * 32 & (elements - 1)) + lane];
        const uint32_t next = __shfl_sync(~0u, __float_as_uint(value), 0) ^ at;
        at = table[(next >> 8) % ENTRIES] + next;  // the same entry for all of the warp
        sum += value;
    }
    out[planted::thread()] = sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_shared_48k<<<c.multiprocessors * 16, 64, 0, c.stream>>>(c.in, c.out, c.elements);
    return planted::outcome();
}
