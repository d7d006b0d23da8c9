// launch-overhead: twenty launches, each of which adds one to a few thousand numbers.
#include "planted.cuh"

__global__ void planted_tiny_kernels(const float* in, float* out) { out[planted::thread()] = in[planted::thread()] + 1; }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    for (int launch = 0; launch < 20; ++launch) planted_tiny_kernels<<<32, 256, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
