// A fault for synccheck to find: only every other thread of a warp comes to the barrier.
#include "sdpa.h"

#include <cuda_fp16.h>

__global__ void half_a_warp_waits(const __half* in, __half* out, int elements) {
    __shared__ float shared[128];
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const float mine = i < elements ? __half2float(in[i]) : 0.0f;
    shared[threadIdx.x] = mine;
    if (threadIdx.x % 2 == 1) {
        shared[threadIdx.x] = 2.0f * mine;
        __syncthreads();  // FAULT
        shared[threadIdx.x] += shared[threadIdx.x - 1];
    }
    if (i < elements) out[i] = __float2half(shared[threadIdx.x]);
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const int elements = args->batch * args->heads * args->seqlen * args->head_dim;
    half_a_warp_waits<<<(elements + 127) / 128, 128, 0, static_cast<cudaStream_t>(stream)>>>(
        static_cast<const __half*>(args->q), static_cast<__half*>(args->o), elements);
    return -static_cast<int>(cudaGetLastError());
}

KGATE_EXPORT const char* kgate_message(void) { return "The launch failed."; }
