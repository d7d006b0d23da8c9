// tail-effect: one block more than fit at once, all of them equally long: the second wave is one block.
#include "planted.cuh"

constexpr long long CYCLES = 400000;

__global__ void __launch_bounds__(1024, 2) planted_one_block_more(const float* in, float* out) {
    const float value = in[planted::thread()];
    const long long start = clock64();
    while (clock64() - start < CYCLES) __nanosleep(1000);
    out[planted::thread()] = value;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_one_block_more<<<c.multiprocessors * 2 + 1, 1024, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
