// excess-bytes: one pass over an array for its sum, a second one for the sum of squares; the caches hold none of it.
#include "planted.cuh"

__global__ void planted_read_twice(const float4* in, float* out, int64_t count) {
    float sum = 0;
    float squares = 0;
    for (int64_t i = planted::thread(); i < count; i += planted::threads()) {
        const float4 v = in[i];
        sum += v.x + v.y + v.z + v.w;
    }
    planted::keep(sum);
    for (int64_t i = planted::thread(); i < count; i += planted::threads()) {
        const float4 v = in[i];
        squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    }
    out[planted::thread()] = squares - sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_read_twice<<<c.multiprocessors * 8, 256, 0, c.stream>>>(reinterpret_cast<const float4*>(c.in), c.out,
                                                                    c.elements / 4);
    return planted::outcome();
}
