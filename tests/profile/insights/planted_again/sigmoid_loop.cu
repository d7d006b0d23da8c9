// exp-bound: sigmoids of sigmoids, each an exponential and a reciprocal.
#include "../planted/planted.cuh"

constexpr int STEPS = 1024;

__global__ void __launch_bounds__(512, 4) planted_sigmoid_loop(const float* in, float* out) {
    float a = in[planted::thread()];
    float b = a + 1;
    float c = a - 1;
    for (int step = 0; step < STEPS; ++step) {
        a = __fdividef(1.0f, 1.0f + __expf(-a));
        b = __fdividef(1.0f, 1.0f + __expf(-b));
        c = __fdividef(1.0f, 1.0f + __expf(-c));
    }
    out[planted::thread()] = a + b + c;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_sigmoid_loop<<<c.multiprocessors * 8, 512, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
