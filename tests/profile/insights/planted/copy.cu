// memory-bound: a copy of arrays that no cache holds, 16 bytes an access, one full wave of blocks.
#include "planted.cuh"

__global__ void planted_copy(const float4* in, float4* out, int64_t count) {
    for (int64_t i = planted::thread(); i < count; i += planted::threads()) out[i] = in[i];
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_copy<<<c.multiprocessors * 8, 256, 0, c.stream>>>(reinterpret_cast<const float4*>(c.in),
                                                             reinterpret_cast<float4*>(c.out), c.elements / 4);
    return planted::outcome();
}
