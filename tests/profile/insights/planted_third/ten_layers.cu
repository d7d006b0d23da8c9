// launch-overhead: ten small layers, a launch each.
#include "../planted/planted.cuh"

__global__ void planted_ten_layers(const float* in, float* out, float bias) {
    const int64_t i = planted::thread();
    out[i] = fmaxf(in[i] + bias, 0.0f);
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    for (int layer = 0; layer < 10; ++layer) {
        planted_ten_layers<<<32, 128, 0, c.stream>>>(layer == 0 ? c.in : c.out, c.out, 0.1f * layer);
    }
    return planted::outcome();
}
