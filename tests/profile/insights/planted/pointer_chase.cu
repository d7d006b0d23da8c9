// latency-bound: all the warps that fit, each waiting for one load after another, with a barrier between them.
#include "planted.cuh"

constexpr int STEPS = 128;

__global__ void __launch_bounds__(1024, 2) planted_pointer_chase(const float* in, float* out, int64_t elements) {
    const int lane = threadIdx.x % 32;
    uint32_t line = static_cast<uint32_t>(planted::thread() / 1024) * 2654435761u;
    for (int step = 0; step < STEPS; ++step) {
        // All warps of a block read one line, so that little is fetched.
        const uint32_t read = __float_as_uint(in[(int64_t{line} * 32 & (elements - 1)) + lane]);
        line = (line + __shfl_sync(~0u, read, 0)) * 2654435761u;
        __syncthreads();
    }
    out[planted::thread()] = __uint_as_float(line & 0x3fffffff);
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_pointer_chase<<<c.multiprocessors * 2, 1024, 0, c.stream>>>(c.in, c.out, c.elements);
    return planted::outcome();
}
