// Version 1 of csrc/sdpa.h, kept whole and as it was: kernels that were built against it must run unchanged.

// The one interface of every attention kernel: plain C++, no CUDA header, no torch header, so that a host kernel, a
// CUDA kernel, the binding and a user's own file all read the same few lines.
//
// A kernel library defines two C functions, kgate_sdpa and kgate_message (below), and a third, kgate_sdpa_workspace, if
// it needs memory for intermediate results. It computes for each batch b, head h
//
//     O[b][h] = softmax(scale * Q[b][h] K[b][h]^T + mask) V[b][h]        mask: key index <= query index, if causal
//
// with Q, K, V, O of shape (batch, heads, seqlen, head_dim), one element type for all four, the last dimension
// contiguous.
#pragma once

#include <cstdint>

#if defined(__GNUC__)
#define KGATE_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define KGATE_EXPORT extern "C"
#endif

namespace kgate {

enum Dtype { Float32 = 0, Float16 = 1, BFloat16 = 2 };

struct SdpaArgs {
    const void* q;        // (batch, heads, seqlen, head_dim), device or host memory as the implementation's device says
    const void* k;        // (batch, heads, seqlen, head_dim)
    const void* v;        // (batch, heads, seqlen, head_dim)
    void* o;              // (batch, heads, seqlen, head_dim), written whole; aliases none of the inputs
    int32_t batch;        // >= 1
    int32_t heads;        // >= 1
    int32_t seqlen;       // >= 1, queries and keys alike
    int32_t head_dim;     // one of those that the implementation supports
    int64_t q_stride[3];  // strides of batch, head and row, in elements (not bytes)
    int64_t k_stride[3];
    int64_t v_stride[3];
    int64_t o_stride[3];
    float scale;      // multiplies the logits; usually 1 / sqrt(head_dim)
    int32_t causal;   // 0 or 1
    int32_t dtype;    // a Dtype, of q, k, v and o
    void* workspace;  // kgate_sdpa_workspace bytes; null where the library has no such function
    int64_t workspace_bytes;
};

// The binding fills this struct on one side of a dlopen and the kernel reads it on the other.
static_assert(sizeof(SdpaArgs) == 176, "SdpaArgs is an ABI: kernels already built read this layout");

}  // namespace kgate

// Enqueues the attention on `stream` (a cudaStream_t; ignored by host implementations, which return when done) of the
// current device. It allocates nothing and does not wait, so it may be captured in a CUDA graph. 0 is success; a
// negative number is a refusal or a failed launch, with nothing enqueued.
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream);

// Optional: bytes that kgate_sdpa needs for intermediate results, for any problem of these extents, causal and dtype
// (nothing else of `args` is filled in). The caller gives them as args->workspace, on the device of the tensors,
// starting on a multiple of 256 bytes there, and leaves them alone until the stream has passed the call; what they hold
// before and after is nobody's concern. 0 for a problem that kgate_sdpa refuses.
KGATE_EXPORT int64_t kgate_sdpa_workspace(const kgate::SdpaArgs* args);

// Text of this thread's last error: one sentence on what is wrong, one on what to do. Never null; empty before any
// error.
KGATE_EXPORT const char* kgate_message(void);
