// fp32-bound: each thread turns a vector of three numbers again and again, by a matrix in registers.
#include "../planted/planted.cuh"

constexpr int STEPS = 4096;

__global__ void __launch_bounds__(256, 8) planted_rotations(const float* in, float* out) {
    float m[9];
    for (int i = 0; i < 9; ++i) m[i] = in[i] * 0.3f;
    float x = in[planted::thread()];
    float y = x + 1;
    float z = x - 1;
#pragma unroll 4
    for (int step = 0; step < STEPS; ++step) {
        const float next_x = m[0] * x + m[1] * y + m[2] * z;
        const float next_y = m[3] * x + m[4] * y + m[5] * z;
        z = m[6] * x + m[7] * y + m[8] * z;
        x = next_x;
        y = next_y;
    }
    out[planted::thread()] = x + y + z;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_rotations<<<c.multiprocessors * 8, 256, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
