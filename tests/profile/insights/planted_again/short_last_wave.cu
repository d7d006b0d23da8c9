// tail-effect: an eighth of a wave more than one wave of equally long blocks, each of which waits for loads from memory.
#include "../planted/planted.cuh"

constexpr int STEPS = 64;

__global__ void __launch_bounds__(1024, 2) planted_short_last_wave(const float* in, float* out, int64_t elements) {
    const int lane = threadIdx.x % 32;
    uint32_t line = blockIdx.x * 2654435761u;
    for (int step = 0; step < STEPS; ++step) {
        const uint32_t read = __float_as_uint(in[(int64_t{line} * 32 & (elements - 1)) + lane]);
        line = (line + __shfl_sync(~0u, read, 0)) * 2654435761u;
        __syncthreads();
    }
    out[planted::thread() & (elements - 1)] = __uint_as_float(line & 0x3fffffff);
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    const int wave = c.multiprocessors * 2;
    planted_short_last_wave<<<wave + wave / 8, 1024, 0, c.stream>>>(c.in, c.out, c.elements);
    return planted::outcome();
}
