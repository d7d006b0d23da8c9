// A fault for racecheck to find: no barrier between what one warp writes to shared memory and what another reads.
#include "sdpa.h"

#include <cuda_fp16.h>

__global__ void reads_too_early(const __half* in, __half* out, int elements) {
    __shared__ __half shared[128];
    const int first = blockIdx.x * 128;
    const int i = first + threadIdx.x;
    shared[threadIdx.x] = i < elements ? in[i] : __float2half(0.0f);  // FAULT
    const int mirrored = first + 127 - static_cast<int>(threadIdx.x);
    if (mirrored < elements) out[mirrored] = shared[127 - threadIdx.x];  // FAULT
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const int elements = args->batch * args->heads * args->seqlen * args->head_dim;
    reads_too_early<<<(elements + 127) / 128, 128, 0, static_cast<cudaStream_t>(stream)>>>(
        static_cast<const __half*>(args->q), static_cast<__half*>(args->o), elements);
    return -static_cast<int>(cudaGetLastError());
}

KGATE_EXPORT const char* kgate_message(void) { return "The launch failed."; }
