// memory-bound: out = 2 a + b of arrays that no cache holds, one float a thread, as many blocks as that takes.
#include "../planted/planted.cuh"

__global__ void planted_scale_and_add(const float* a, const float* b, float* out, int64_t count) {
    const int64_t i = planted::thread();
    if (i < count) out[i] = 2 * a[i] + b[i];
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    const int64_t half = c.elements / 2;
    planted_scale_and_add<<<static_cast<unsigned>(half / 512), 512, 0, c.stream>>>(c.in, c.in + half, c.out, half);
    return planted::outcome();
}
