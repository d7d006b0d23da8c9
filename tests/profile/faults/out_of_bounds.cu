// A fault for memcheck to find: one element too many is written.
#include "sdpa.h"

#include <cuda_fp16.h>

__global__ void writes_past_the_end(__half* out, int elements) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= elements) out[i] = __float2half(1.0f);  // FAULT
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const int elements = args->batch * args->heads * args->seqlen * args->head_dim;
    writes_past_the_end<<<elements / 128 + 1, 128, 0, static_cast<cudaStream_t>(stream)>>>(static_cast<__half*>(args->o),
                                                                                        elements);
    return -static_cast<int>(cudaGetLastError());
}

KGATE_EXPORT const char* kgate_message(void) { return "The launch failed."; }
