// What the planted kernels share: kernels whose bottleneck is known, since each was written to have just that one.
//
// They have the interface of any kernel file, so that the plugin builds and calls them, and compute no attention: they
// read floats from `q`, as many as it has, and write floats to `o`, at most as many.
#pragma once

#include "sdpa.h"

#include <cuda_runtime.h>

#include <cstdint>

namespace planted {

struct Call {
    const float* in;
    float* out;
    int64_t elements;  // of `in`, and the room of `out`; a power of two
    int multiprocessors;
    cudaStream_t stream;
};

inline Call call(const kgate::SdpaArgs* args, void* stream) {
    int device = 0;
    int multiprocessors = 0;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
    return {static_cast<const float*>(args->q), static_cast<float*>(args->o),
            int64_t{args->batch} * args->heads * args->seqlen * args->head_dim, multiprocessors,
            static_cast<cudaStream_t>(stream)};
}

// 0, or the CUDA error of a failed launch as the negative number that the interface asks for.
inline int outcome() { return -static_cast<int>(cudaGetLastError()); }

__device__ inline int64_t thread() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline int64_t threads() { return int64_t{gridDim.x} * blockDim.x; }

// Keeps the compiler from knowing the value, or from computing it later than here.
__device__ inline void keep(float& value) { asm volatile("" : "+f"(value)); }

}  // namespace planted

KGATE_EXPORT const char* kgate_message(void) { return "The launch failed. Is the GPU of another architecture?"; }
