// exp-bound: sines of sines, by the pipe that computes exponentials too.
#include "../planted/planted.cuh"

constexpr int STEPS = 1024;

__global__ void __launch_bounds__(512, 4) planted_sines(const float* in, float* out) {
    float a = in[planted::thread()];
    float b = a + 1;
    for (int step = 0; step < STEPS; ++step) {
        a = __sinf(a);
        b = __sinf(b);
    }
    out[planted::thread()] = a + b;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_sines<<<c.multiprocessors * 8, 512, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
