// tensor-bound: products of TF32 by mma.sync, each warp with six sums of its own.
#include "../planted/planted.cuh"

constexpr int CHAINS = 6;
constexpr int STEPS = 2048;

__global__ void __launch_bounds__(128) planted_tf32_chains(const float* in, float* out) {
    uint32_t a[4];
    uint32_t b[2];
    for (int i = 0; i < 4; ++i) a[i] = __float_as_uint(in[threadIdx.x + i] * 0.01f);
    for (int i = 0; i < 2; ++i) b[i] = __float_as_uint(in[threadIdx.x + 4 + i] * 0.01f);
    float sum[CHAINS][4] = {};
    for (int step = 0; step < STEPS; ++step) {
#pragma unroll
        for (auto& one : sum) {
            asm volatile(
                "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                "{%0, %1, %2, %3};"
                : "+f"(one[0]), "+f"(one[1]), "+f"(one[2]), "+f"(one[3])
                : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
        }
    }
    float total = 0;
    for (const auto& one : sum) total += one[0] + one[1] + one[2] + one[3];
    out[planted::thread()] = total;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_tf32_chains<<<c.multiprocessors * 48, 128, 0, c.stream>>>(c.in, c.out);
    return planted::outcome();
}
