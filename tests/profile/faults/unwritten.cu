// A fault for initcheck to find, though no kernel reads badly: the last row of the output is never written.
#include "sdpa.h"

#include <cuda_fp16.h>

__global__ void leaves_the_last_row(const __half* in, __half* out, int elements) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < elements) out[i] = in[i];
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const int elements = (args->batch * args->heads * args->seqlen - 1) * args->head_dim;
    leaves_the_last_row<<<(elements + 127) / 128, 128, 0, static_cast<cudaStream_t>(stream)>>>(
        static_cast<const __half*>(args->q), static_cast<__half*>(args->o), elements);
    return -static_cast<int>(cudaGetLastError());
}

KGATE_EXPORT const char* kgate_message(void) { return "The launch failed."; }
