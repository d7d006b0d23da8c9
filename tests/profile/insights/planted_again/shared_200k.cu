// shared-memory-limited: a block of 256 threads takes nearly all shared memory, and waits for one load after another.
#include "../planted/planted.cuh"

constexpr int STEPS = 256;

__global__ void __launch_bounds__(256) planted_shared_200k(const float* in, float* out, int64_t elements, int floats) {
    extern __shared__ float tile[];
    for (int i = threadIdx.x; i < floats; i += blockDim.x) tile[i] = 1.0f;
    __syncthreads();
    int64_t at = planted::thread();
    float sum = 0;
    for (int step = 0; step < STEPS; ++step) {
        const float value = in[at & (elements - 1)];
        at += 65536 + (value > 100.0f);
        sum += value * tile[threadIdx.x + step];
    }
    out[planted::thread()] = sum;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    int device = 0;
    int most = 0;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    cudaFuncSetAttribute(planted_shared_200k, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
    planted_shared_200k<<<c.multiprocessors * 4, 256, most, c.stream>>>(c.in, c.out, c.elements, most / 4);
    return planted::outcome();
}
