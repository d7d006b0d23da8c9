// small-grid: twenty blocks of arithmetic, on a GPU that has more multiprocessors.
#include "../planted/planted.cuh"

__global__ void planted_twenty_blocks(const float* in, float* out) {
    float x = in[planted::thread()];
    for (int step = 0; step < 20000; ++step) x = x * 0.999f + 0.001f;
    out[planted::thread()] = x;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_twenty_blocks<<<20, 512, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
