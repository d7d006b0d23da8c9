// launch-overhead: a sum by halves, in eight launches.
#include "../planted/planted.cuh"

__global__ void planted_eight_steps(const float* in, float* out, int count) {
    const int i = static_cast<int>(planted::thread());
    if (i < count) out[i] = in[2 * i] + in[2 * i + 1];
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    const float* from = c.in;
    float* to = c.out;
    for (int step = 0, count = 1 << 15; step < 8; ++step, count /= 2) {
        planted_eight_steps<<<(count + 255) / 256, 256, 0, c.stream>>>(from, to, count);
        from = to;
        to += count;
    }
    return planted::outcome();
}
