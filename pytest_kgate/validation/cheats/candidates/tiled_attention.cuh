// Attention in float16 for tensor cores, in one wave of small blocks that leave most of the GPU idle: one warp has 16 query
// rows and goes twice over the keys, 64 at a time, once for the largest logit and the sum, once for the answer. One call
// takes long; many at the same time would take little more. For D = 64, whole tiles of 64 keys, and no mask.
//
// A launch that may begin before the one ahead of it has ended (programmatic dependent launch) does so here as soon as that
// one's blocks all run. What the files that include this one define decides whether it waits then.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <mma.h>

#include "sdpa.h"

namespace {

using namespace nvcuda;

constexpr int kRows = 16;
constexpr int kKeys = 64;
constexpr int kDepth = 64;
constexpr int kTiles = kKeys / 16;

using Rows = wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major>;
using Keys = wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::col_major>;
using Values = wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::row_major>;
using Sums = wmma::fragment<wmma::accumulator, 16, 16, 16, float>;

// (16, 64) logits of this warp's rows and of 64 keys, to shared memory.
__device__ void logits_of(const Rows (&q)[kDepth / 16], const __half* keys, int64_t stride, float* logits) {
    for (int tile = 0; tile < kTiles; ++tile) {
        Sums sums;
        wmma::fill_fragment(sums, 0.0f);
#pragma unroll
        for (int d = 0; d < kDepth / 16; ++d) {
            Keys k;
            wmma::load_matrix_sync(k, keys + tile * 16 * stride + d * 16, stride);
            wmma::mma_sync(sums, q[d], k, sums);
        }
        wmma::store_matrix_sync(logits + tile * 16, sums, kKeys, wmma::mem_row_major);
    }
    __syncwarp();
}

__global__ void sixteen_rows(kgate::SdpaArgs args) {
    __shared__ __align__(32) float logits[kRows * kKeys];
    __shared__ __align__(32) __half weights[kRows * kKeys];
#if __CUDA_ARCH__ >= 900
#ifdef KGATE_WAITS_FIRST
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
    const int h = blockIdx.y, b = blockIdx.z, lane = threadIdx.x;
    const auto base = [&](const void* tensor, const int64_t (&stride)[3]) {
        return static_cast<const __half*>(tensor) + b * stride[0] + h * stride[1];
    };
    const __half* const first = base(args.q, args.q_stride) + blockIdx.x * kRows * args.q_stride[2];
    const __half* const keys = base(args.k, args.k_stride);
    const __half* const values = base(args.v, args.v_stride);
    Rows q[kDepth / 16];
    for (int d = 0; d < kDepth / 16; ++d) {
        wmma::load_matrix_sync(q[d], first + d * 16, args.q_stride[2]);
    }
    // Two lanes share a row, each has half of its keys.
    float* const mine = logits + lane / 2 * kKeys + lane % 2 * (kKeys / 2);
    float largest = -INFINITY, sum = 0;
    for (int key = 0; key < args.seqlen; key += kKeys) {
        logits_of(q, keys + key * args.k_stride[2], args.k_stride[2], logits);
        float top = largest;
        for (int i = 0; i < kKeys / 2; ++i) {
            top = fmaxf(top, mine[i] * args.scale);
        }
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
        sum *= __expf(largest - top);
        for (int i = 0; i < kKeys / 2; ++i) {
            sum += __expf(mine[i] * args.scale - top);
        }
        largest = top;
        __syncwarp();
    }
    sum += __shfl_xor_sync(~0u, sum, 1);
    Sums answer[kDepth / 16];
    for (int d = 0; d < kDepth / 16; ++d) {
        wmma::fill_fragment(answer[d], 0.0f);
    }
    for (int key = 0; key < args.seqlen; key += kKeys) {
        logits_of(q, keys + key * args.k_stride[2], args.k_stride[2], logits);
        for (int i = 0; i < kKeys / 2; ++i) {
            weights[mine - logits + i] = __float2half(__expf(mine[i] * args.scale - largest));
        }
        __syncwarp();
        for (int tile = 0; tile < kTiles; ++tile) {
            Rows p;
            wmma::load_matrix_sync(p, weights + tile * 16, kKeys);
#pragma unroll
            for (int d = 0; d < kDepth / 16; ++d) {
                Values v;
                wmma::load_matrix_sync(v, values + (key + tile * 16) * args.v_stride[2] + d * 16, args.v_stride[2]);
                wmma::mma_sync(answer[d], p, v, answer[d]);
            }
        }
        __syncwarp();
    }
    for (int d = 0; d < kDepth / 16; ++d) {
        wmma::store_matrix_sync(logits + d * 16, answer[d], kDepth, wmma::mem_row_major);
    }
    __syncwarp();
    __half* const o = static_cast<__half*>(args.o) + b * args.o_stride[0] + h * args.o_stride[1] +
                      (blockIdx.x * kRows + lane / 2) * args.o_stride[2] + lane % 2 * (kDepth / 2);
    for (int i = 0; i < kDepth / 2; ++i) {
        o[i] = __float2half(mine[i] / sum);
    }
}

}  // namespace

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    if (args->dtype != kgate::Float16 || args->head_dim != kDepth || args->seqlen % kKeys != 0 || args->causal != 0) {
        return -1;
    }
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(args->seqlen / kRows, args->heads, args->batch);
    config.blockDim = dim3(32);
    config.stream = static_cast<cudaStream_t>(stream);
    config.attrs = &early;
    config.numAttrs = 1;
    return cudaLaunchKernelEx(&config, sixteen_rows, *args) == cudaSuccess ? 0 : -2;
}

KGATE_EXPORT const char* kgate_message(void) { return "this kernel takes float16, D = 64, whole tiles of 64 keys, and no mask"; }
