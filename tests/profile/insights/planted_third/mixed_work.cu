// balanced: all the warps that fit wait for loads, and compute between them: multiply-adds, and some logic.
#include "../planted/planted.cuh"

constexpr int STEPS = 128;
constexpr int CHAIN = 24;

__global__ void __launch_bounds__(256, 8) planted_mixed_work(const float* in, float* out, int64_t elements) {
    const int lane = threadIdx.x % 32;
    uint32_t line = static_cast<uint32_t>(planted::thread() / 32) * 2654435761u;
    float sum = 1;
    for (int step = 0; step < STEPS; ++step) {
        // One sector a warp, so that little is fetched.
        const float value = in[(int64_t{line} * 32 & (elements - 1)) + lane / 4];
#pragma unroll
        for (int i = 0; i < CHAIN; ++i) sum = sum * 0.999f + value;
        line += __shfl_sync(~0u, __float_as_uint(value), 0) * 2654435761u;
        line ^= line << 13;
        line ^= line >> 17;
        line ^= line << 5;
    }
    out[planted::thread()] = sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_mixed_work<<<c.multiprocessors * 8, 256, 0, c.stream>>>(c.in, c.out, c.elements);
    return planted::outcome();
}
