// uncoalesced: each thread reads one float from anywhere in a large array.
#include "../planted/planted.cuh"

__global__ void planted_gather(const float* in, float* out, int64_t elements, int64_t count) {
    for (int64_t i = planted::thread(); i < count; i += planted::threads()) {
        const uint64_t hash = static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15u;
        out[i] = in[(hash >> 20) & (elements - 1)];
    }
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_gather<<<c.multiprocessors * 16, 128, 0, c.stream>>>(c.in, c.out, c.elements, c.elements / 16);
    return planted::outcome();
}
