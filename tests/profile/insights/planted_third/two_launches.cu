// excess-bytes: an addition and a product, one launch after the other, so that what is between them goes to memory and
// back.
#include "../planted/planted.cuh"

__global__ void __launch_bounds__(256, 8)
    planted_two_launches(const float4* in, float4* out, int64_t count, float factor, float summand) {
    for (int64_t i = planted::thread(); i < count; i += planted::threads()) {
        float4 v = in[i];
        v.x = v.x * factor + summand;
        v.y = v.y * factor + summand;
        v.z = v.z * factor + summand;
        v.w = v.w * factor + summand;
        out[i] = v;
    }
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    auto* out = reinterpret_cast<float4*>(c.out);
    const auto* in = reinterpret_cast<const float4*>(c.in);
    planted_two_launches<<<c.multiprocessors * 8, 256, 0, c.stream>>>(in, out, c.elements / 4, 1.0f, 3.0f);
    planted_two_launches<<<c.multiprocessors * 8, 256, 0, c.stream>>>(out, out, c.elements / 4, 2.0f, 0.0f);
    return planted::outcome();
}
