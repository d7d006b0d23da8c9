// tail-effect: a quarter of a wave more than one wave of equally long blocks, of each of which one warp works.
#include "../planted/planted.cuh"

constexpr int CHAIN = 40000;

__global__ void __launch_bounds__(1024, 2) planted_quarter_wave(const float* in, float* out) {
    __shared__ float passed;
    const float mine = in[threadIdx.x];
    if (threadIdx.x < 32) {
        float value = mine;
        for (int i = 0; i < CHAIN; ++i) value = value * 0.999f + 0.001f;
        if (threadIdx.x == 0) passed = value;
    }
    __syncthreads();
    out[planted::thread()] = mine + passed;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    const int wave = c.multiprocessors * 2;
    planted_quarter_wave<<<wave + wave / 4, 1024, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
