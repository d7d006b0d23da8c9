// l2-bound: each block adds up a table of 8 MiB that all of them share, starting at a place of its own.
#include "../planted/planted.cuh"

constexpr int COUNT = 1 << 19;  // of float4: 8 MiB

__global__ void planted_shared_table(const float4* in, float* out) {
    float sum = 0;
#pragma unroll 8
    for (int step = 0; step < COUNT / 512; ++step) {
        const float4 v = __ldcg(in + ((blockIdx.x * 4099 + step * 512 + threadIdx.x) & (COUNT - 1)));
        sum += v.x + v.y + v.z + v.w;
    }
    out[planted::thread()] = sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_shared_table<<<c.multiprocessors * 4, 512, 0, c.stream>>>(reinterpret_cast<const float4*>(c.in), c.out);
    return planted::outcome();
}
