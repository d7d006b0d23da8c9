// uncoalesced: neighbouring threads read floats that lie 128 bytes apart, so that 4 of each 32 bytes fetched are used.
#include "planted.cuh"

__global__ void planted_stride_32(const float* in, float* out, int64_t count) {
    for (int64_t i = planted::thread(); i < count; i += planted::threads()) out[i] = in[i * 32];
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_stride_32<<<c.multiprocessors * 8, 256, 0, c.stream>>>(c.in, c.out, c.elements / 32);
    return planted::outcome();
}
