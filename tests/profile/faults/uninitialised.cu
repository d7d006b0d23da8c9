// A fault for initcheck to find: it adds to an output that nobody has written.
#include "sdpa.h"

#include <cuda_fp16.h>

__global__ void adds_to_what_is_there(const __half* in, __half* out, int elements) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= elements) return;
    const float before = __half2float(out[i]);  // FAULT
    out[i] = __float2half(before + __half2float(in[i]));
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const int elements = args->batch * args->heads * args->seqlen * args->head_dim;
    adds_to_what_is_there<<<(elements + 127) / 128, 128, 0, static_cast<cudaStream_t>(stream)>>>(
        static_cast<const __half*>(args->q), static_cast<__half*>(args->o), elements);
    return -static_cast<int>(cudaGetLastError());
}

KGATE_EXPORT const char* kgate_message(void) { return "The launch failed."; }
