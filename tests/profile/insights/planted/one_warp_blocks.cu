// occupancy-blocks: blocks of one warp, of which a multiprocessor takes half as many as it could hold warps; each waits
// for one load after another.
#include "planted.cuh"

constexpr int STEPS = 128;

__global__ void __launch_bounds__(32) planted_one_warp_blocks(const float* in, float* out, int64_t elements) {
    uint32_t line = blockIdx.x * 2654435761u;
    for (int step = 0; step < STEPS; ++step) {
        // One sector a warp, so that little is fetched.
        const uint32_t read = __float_as_uint(in[(int64_t{line} * 32 & (elements - 1)) + threadIdx.x / 4]);
        line = (line + __shfl_sync(~0u, read, 0)) * 2654435761u;
    }
    out[planted::thread()] = __uint_as_float(line & 0x3fffffff);
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_one_warp_blocks<<<c.multiprocessors * 32 * 8, 32, 0, c.stream>>>(c.in, c.out, c.elements);
    return planted::outcome();
}
