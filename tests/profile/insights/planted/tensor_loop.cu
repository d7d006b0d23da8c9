// tensor-bound: products of matrices that stay in registers, eight independent chains a warp, two blocks a multiprocessor.
#include "planted.cuh"

constexpr int CHAINS = 8;
constexpr int STEPS = 2048;

__global__ void __launch_bounds__(256, 2) planted_tensor_loop(const float* in, float* out) {
    const uint32_t a = __float_as_uint(in[threadIdx.x]) & 0x3bff3bff;  // halves below 1 in magnitude, positive
    float d[CHAINS][4] = {};
    for (int step = 0; step < STEPS; ++step) {
#pragma unroll
        for (int chain = 0; chain < CHAINS; ++chain) {
            asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %4, %4, %4}, {%4, %4}, "
                "{%0, %1, %2, %3};"
                : "+f"(d[chain][0]), "+f"(d[chain][1]), "+f"(d[chain][2]), "+f"(d[chain][3])
                : "r"(a));
        }
    }
    float sum = 0;
    for (auto& row : d) sum += row[0] + row[1] + row[2] + row[3];
    out[planted::thread()] = sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_tensor_loop<<<c.multiprocessors * 2, 256, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
