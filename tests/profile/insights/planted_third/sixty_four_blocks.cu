// small-grid: 64 blocks read an array, so that half of the multiprocessors have nothing to do.
#include "../planted/planted.cuh"

__global__ void __launch_bounds__(256) planted_sixty_four_blocks(const float4* in, float* out, int64_t count) {
    float most = 0;
    for (int64_t i = planted::thread(); i < count; i += planted::threads()) {
        const float4 v = in[i];
        most = fmaxf(fmaxf(fmaxf(most, v.x), fmaxf(v.y, v.z)), v.w);
    }
    out[planted::thread()] = most;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_sixty_four_blocks<<<64, 256, 0, c.stream>>>(reinterpret_cast<const float4*>(c.in), c.out, c.elements / 4);
    return planted::outcome();
}
