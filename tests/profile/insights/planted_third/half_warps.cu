// occupancy-blocks: blocks of 16 threads search an array by halves: which half comes next, the last number says.
#include "../planted/planted.cuh"

constexpr int SEARCHES = 8;

__global__ void __launch_bounds__(16) planted_half_warps(const float* in, float* out, int64_t elements) {
    float found = 0;
    for (int search = 0; search < SEARCHES; ++search) {
        int64_t low = (int64_t{blockIdx.x} * SEARCHES + search) * 16 & (elements / 2 - 1);
        for (int64_t half = elements / 4; half >= 16; half /= 2) {
            const float value = in[low + half + threadIdx.x];
            if (__shfl_sync(0xffffu, value, 0) > 0) low += half;
            found += value;
        }
    }
    out[planted::thread()] = found;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_half_warps<<<c.multiprocessors * 32 * 8, 16, 0, c.stream>>>(c.in, c.out, c.elements);
    return planted::outcome();
}
