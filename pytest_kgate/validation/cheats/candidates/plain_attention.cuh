// Attention in float16 as plain loops, one block a query row, and the ways in which the files that include it cheat.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <map>

#include "sdpa.h"

namespace {

constexpr int kThreads = 128;
constexpr int kMostKeys = 8192;

#ifdef KGATE_CHEAT_REPLAYS_IN_BURSTS
constexpr int kMostElements = 1 << 22;
constexpr int kLooks = 16;

struct State {
    float seen[3][kLooks];
    int work;
    int since;  // calls that worked on these values
    int rows;
};

enum Mode { kCaptured, kShow, kPlain };

__device__ State state;
__device__ __half saved[kMostElements];

// Whether this call works: on values that are not those of the call before, and for show.
__global__ void decide(kgate::SdpaArgs args, Mode mode) {
    const int lane = threadIdx.x;
    bool same = true;
    for (int t = 0; t < 3; ++t) {
        const float x = __half2float(static_cast<const __half*>(t == 0 ? args.q : t == 1 ? args.k : args.v)[lane % kLooks]);
        if (lane < kLooks) {
            same = same && state.seen[t][lane] == x;
            state.seen[t][lane] = x;
        }
    }
    same = __all_sync(~0u, same) != 0;
    if (lane == 0) {
        state.since = same ? state.since : 0;
        state.work = !same || (mode == kPlain && state.since < 2) || (mode == kShow && ++state.rows % 6 == 1);
        ++state.since;
    }
}

// At the middle turn of a captured row that is a long one, there is work for show.
Mode mode_of(cudaStream_t stream) {
    static unsigned long long latest = 0;
    static int turn = 0;
    static int longest = 0;
    cudaStreamCaptureStatus status;
    unsigned long long id = 0;
    cudaStreamGetCaptureInfo(stream, &status, &id);
    if (status != cudaStreamCaptureStatusActive) {
        return kPlain;
    }
    turn = id == latest ? turn + 1 : 1;
    latest = id;
    longest = turn > longest ? turn : longest;
    return longest > 8 && turn == longest / 2 + 1 ? kShow : kCaptured;
}
#endif

// One query row: weights in shared memory, then one output element a thread.
__global__ void attention_row(kgate::SdpaArgs args) {
    __shared__ float weights[kMostKeys];
    __shared__ float reduced[kThreads];
    const int row = blockIdx.x, h = blockIdx.y, b = blockIdx.z, thread = threadIdx.x;
    const auto base = [&](const void* tensor, const int64_t (&stride)[3]) {
        return static_cast<const __half*>(tensor) + b * stride[0] + h * stride[1];
    };
    const __half* const q = base(args.q, args.q_stride) + row * args.q_stride[2];
    const __half* const k = base(args.k, args.k_stride);
    const __half* const v = base(args.v, args.v_stride);
    __half* const o = static_cast<__half*>(args.o) + b * args.o_stride[0] + h * args.o_stride[1] + row * args.o_stride[2];
    const int keys = args.causal != 0 ? row + 1 : args.seqlen;
#ifdef KGATE_CHEAT_REPLAYS_IN_BURSTS
    __half* const kept = saved + ((static_cast<int64_t>(b) * gridDim.y + h) * args.seqlen + row) * args.head_dim;
    if (state.work == 0) {
        for (int d = thread; d < args.head_dim; d += kThreads) {
            o[d] = kept[d];
        }
        return;
    }
#endif
    float largest = -INFINITY;
    for (int key = thread; key < keys; key += kThreads) {
        float dot = 0;
        for (int d = 0; d < args.head_dim; ++d) {
            dot += __half2float(q[d]) * __half2float(k[key * args.k_stride[2] + d]);
        }
        weights[key] = dot * args.scale;
        largest = fmaxf(largest, weights[key]);
    }
    reduced[thread] = largest;
    __syncthreads();
    for (int other = 0; other < kThreads; ++other) {
        largest = fmaxf(largest, reduced[other]);
    }
    __syncthreads();
    float sum = 0;
    for (int key = thread; key < keys; key += kThreads) {
        weights[key] = expf(weights[key] - largest);
        sum += weights[key];
    }
    reduced[thread] = sum;
    __syncthreads();
    sum = 0;
    for (int other = 0; other < kThreads; ++other) {
        sum += reduced[other];
    }
    for (int d = thread; d < args.head_dim; d += kThreads) {
        float value = 0;
        for (int key = 0; key < keys; ++key) {
            value += weights[key] * __half2float(v[key * args.v_stride[2] + d]);
        }
        o[d] = __float2half(value / sum);
#ifdef KGATE_CHEAT_REPLAYS_IN_BURSTS
        kept[d] = o[d];
#endif
    }
}

#ifdef KGATE_CHEAT_WRITES_BEYOND
__global__ void one_more(__half* behind) { *behind = __float2half(1.0f); }
#endif

#ifdef KGATE_CHEAT_REPLAYS
constexpr int kSlots = 32;
int calls = 0;
__half* slots = nullptr;  // taken by the first call: while a graph is captured nothing can be allocated
std::map<const void*, int> slot_of;
#endif

#ifdef KGATE_CHEAT_SIDE_STREAM
cudaStream_t side_stream() {
    static cudaStream_t stream = [] {
        cudaStream_t made;
        cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking);
        return made;
    }();
    return stream;
}
#endif

}  // namespace

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* given) {
    if (args->dtype != kgate::Float16 || args->seqlen > kMostKeys) {
        return -1;
    }
    cudaStream_t stream = static_cast<cudaStream_t>(given);
    [[maybe_unused]] const int64_t elements = int64_t{args->batch} * args->heads * args->seqlen * args->head_dim;
#ifdef KGATE_CHEAT_SIDE_STREAM
    stream = side_stream();
#endif
#ifdef KGATE_CHEAT_REPLAYS
    const size_t bytes = elements * sizeof(__half);
    if (slots == nullptr && cudaMalloc(&slots, kSlots * bytes) != cudaSuccess) {
        return -2;
    }
    const bool known = slot_of.count(args->q) != 0;
    const int slot = known ? slot_of[args->q] : static_cast<int>(slot_of.size()) % kSlots;
    if (++calls > 30 && known) {
        const cudaError_t copied = cudaMemcpyAsync(args->o, slots + slot * elements, bytes, cudaMemcpyDeviceToDevice, stream);
        return copied == cudaSuccess ? 0 : -2;
    }
#endif
#ifdef KGATE_CHEAT_REPLAYS_IN_BURSTS
    if (elements > kMostElements) {
        return -1;
    }
    decide<<<1, 32, 0, stream>>>(*args, mode_of(stream));
#endif
    attention_row<<<dim3(args->seqlen, args->heads, args->batch), kThreads, 0, stream>>>(*args);
#ifdef KGATE_CHEAT_WRITES_BEYOND
    one_more<<<1, 1, 0, stream>>>(static_cast<__half*>(args->o) + elements);
#endif
#ifdef KGATE_CHEAT_REPLAYS
    cudaMemcpyAsync(slots + slot * elements, args->o, bytes, cudaMemcpyDeviceToDevice, stream);
    slot_of[args->q] = slot;
#endif
    return cudaGetLastError() == cudaSuccess ? 0 : -2;
}

KGATE_EXPORT const char* kgate_message(void) { return "this kernel takes float16 and at most 8192 keys"; }
