// occupancy-bound: of the 32 warps of a block all but one end at once, and that one waits for load after load.
#include "../planted/planted.cuh"

constexpr int STEPS = 256;

__global__ void __launch_bounds__(1024, 2) planted_early_exit(const float* in, float* out, int64_t elements) {
    if (threadIdx.x >= 32) return;
    uint32_t line = blockIdx.x * 2654435761u;
    for (int step = 0; step < STEPS; ++step) {
        const uint32_t read = __float_as_uint(in[(int64_t{line} * 32 & (elements - 1)) + threadIdx.x]);
        line = (line + __shfl_sync(~0u, read, 0)) * 2654435761u;
    }
    out[planted::thread() & (elements - 1)] = __uint_as_float(line & 0x3fffffff);
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_early_exit<<<c.multiprocessors * 2 * 4, 1024, 0, c.stream>>>(c.in, c.out, c.elements);
    return planted::outcome();
}
