// A candidate of two kernels, of which one takes many more registers: each is held to a limit.
#include <cuda_runtime.h>

#include "sdpa.h"

#ifndef SHARED  // knob: floats of static shared memory in the greedy kernel
#define SHARED 64
#endif

#ifndef MAX_THREADS  // knob: the most threads that a block of the greedy kernel has, which leaves them few registers
#define MAX_THREADS 256
#endif

namespace mine {

__global__ void lean(float* x) { x[threadIdx.x] += 1.0f; }

__global__ void __launch_bounds__(MAX_THREADS) greedy(float* x, int times) {
    __shared__ float turned[SHARED];
    float kept[64];
#pragma unroll
    for (int i = 0; i < 64; ++i) kept[i] = x[i * 32 + threadIdx.x];
    for (int time = 0; time < times; ++time) {
#pragma unroll
        for (int i = 0; i < 64; ++i) kept[i] = kept[i] * kept[(i + 1) % 64] + 1.0f;
    }
    turned[threadIdx.x] = kept[0];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 64; ++i) x[i * 32 + threadIdx.x] = kept[i] + turned[31 - threadIdx.x];
}

}  // namespace mine

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    float* out = static_cast<float*>(args->o);
    mine::lean<<<1, 32, 0, static_cast<cudaStream_t>(stream)>>>(out);
    mine::greedy<<<1, 32, 0, static_cast<cudaStream_t>(stream)>>>(out, 3);
    return 0;
}
