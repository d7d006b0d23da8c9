// latency-bound: the warps of full blocks work in turn, each while all others wait.
#include "../planted/planted.cuh"

constexpr int ROUNDS = 8;
constexpr int CHAIN = 128;

__global__ void __launch_bounds__(1024, 2) planted_turns(const float* in, float* out) {
    float mine = in[planted::thread()];
    for (int turn = 0; turn < ROUNDS * 32; ++turn) {
        if (threadIdx.x / 32 == turn % 32) {
            for (int i = 0; i < CHAIN; ++i) mine = mine * 0.999f + 0.001f;
        }
        __syncthreads();
    }
    out[planted::thread()] = mine;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_turns<<<c.multiprocessors * 2, 1024, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
