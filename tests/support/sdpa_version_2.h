// Version 2 of csrc/sdpa.h, kept whole and as it was: kernels that were built against it must run unchanged.

// The one interface of every attention kernel: plain C++, no CUDA header, no torch header, so that a host kernel, a
// CUDA kernel, the binding and a user's own file all read the same few lines.
//
// A kernel library defines two C functions, kgate_sdpa and kgate_message (below); a third, kgate_sdpa_workspace, if it
// needs memory for intermediate results; a fourth, kgate_sdpa_features, if it computes more than plain attention. Plain
// attention is, for each batch b and head h,
//
//     O[b][h] = softmax(scale * Q[b][h] K[b][h]^T + mask) V[b][h]        mask: key index <= query index, if causal
//
// with Q, K, V, O of shape (batch, heads, seqlen, head_dim), one element type for all four, the last dimension
// contiguous. A library that declares no feature is never given anything else, and may ignore what SdpaArgs adds to
// SdpaArgsV1. In full, with every feature, it is
//
//     scores  = scale * Q[b][h] K[b][g]^T                       g = h / (heads / kv_heads)
//     scores  = softcap * tanh(scores / softcap)                where there is a softcap
//     scores += bias[b][h]                                      where there is a bias
//     O[b][h] = softmax(scores + mask) V[b][g]                  lse[b][h] = log(sum over keys of exp(scores + mask))
//
// where query i stands at the key position p = i + kv_seqlen - seqlen (the last query at the last key), and the mask
// leaves of the keys j those with j <= p, if causal, and with |p - j| < window, if there is a window. A query that is
// left no key has zeros in O and -inf in lse.
#pragma once

#include <cstdint>

#if defined(__GNUC__)
#define KGATE_EXPORT extern "C" __attribute__((visibility("default")))
#define KGATE_EXPORT_OF_HEADER extern "C" __attribute__((visibility("default"), weak))
#else
#define KGATE_EXPORT extern "C"
#define KGATE_EXPORT_OF_HEADER extern "C" inline
#endif

// Of this file. A version only adds to the end of SdpaArgs, so a library built against an older one still runs.
#define KGATE_SDPA_VERSION 2

namespace kgate {

enum Dtype { Float32 = 0, Float16 = 1, BFloat16 = 2, Float8E4M3 = 3 };  // of 8 bits: o is BFloat16

// What version 1 had: all that plain attention needs. A kernel that computes no more may take these alone.
struct SdpaArgsV1 {
    const void* q;        // (batch, heads, seqlen, head_dim), device or host memory as the implementation's device says
    const void* k;        // (batch, kv_heads, kv_seqlen, head_dim); plain: (batch, heads, seqlen, head_dim)
    const void* v;        // as k
    void* o;              // (batch, heads, seqlen, head_dim), written whole; aliases none of the inputs
    int32_t batch;        // >= 1
    int32_t heads;        // >= 1, of q and o
    int32_t seqlen;       // >= 1, queries; in plain attention keys, too
    int32_t head_dim;     // one of those that the implementation supports
    int64_t q_stride[3];  // strides of batch, head and row, in elements (not bytes)
    int64_t k_stride[3];
    int64_t v_stride[3];
    int64_t o_stride[3];
    float scale;      // multiplies the logits; usually 1 / sqrt(head_dim)
    int32_t causal;   // 0 or 1
    int32_t dtype;    // a Dtype, of q, k, v, o and bias
    void* workspace;  // kgate_sdpa_workspace bytes; null where the library has no such function
    int64_t workspace_bytes;
};

// All of it is filled in at every call. What a library has declared no feature for has its plain value.
struct SdpaArgs : SdpaArgsV1 {
    int32_t kv_heads;        // of k and v; divides heads. Plain: heads
    int32_t kv_seqlen;       // keys, >= 1. Plain: seqlen
    int32_t window;          // keys less than so many positions away are seen; plain: 0, all of them
    float softcap;           // logits stay between -softcap and softcap; plain: 0, wherever they are
    const void* bias;        // (batch, heads, seqlen, kv_seqlen) of dtype, the last dimension contiguous; plain: null
    int64_t bias_stride[3];  // of batch, head and row, in elements; 0 for an axis along which all is the same
    float* lse;              // (batch, heads, seqlen), natural logarithms, written whole; plain: null
    int64_t lse_stride[3];   // of batch, head and row, in elements
    const float* q_scale;    // what elements of 8 bits are multiplied by: of each head, or null for 1; on the tensors' device
    const float* k_scale;
    const float* v_scale;
};

// The binding fills these structs on one side of a dlopen and the kernel reads them on the other.
static_assert(sizeof(SdpaArgsV1) == 176, "SdpaArgsV1 is an ABI: kernels already built read this layout");
static_assert(sizeof(SdpaArgs) == 280, "SdpaArgs is an ABI: kernels already built read this layout; add at its end");

// What a library computes besides plain attention; kgate_sdpa_features returns the sum of those that it does.
enum Feature : uint32_t {
    GroupedHeads = 1,  // kv_heads below heads
    SharedHeads = 2,   // a head stride of 0 in k and v. Grouped heads are then given as more batches of fewer heads,
                       // the heads of a group sharing one of k and v, where the tensors' strides allow it
    KvSeqlen = 4,      // kv_seqlen other than seqlen
    Window = 8,        // a window
    Softcap = 16,      // a softcap
    Bias = 32,         // a bias
    Lse = 64,          // lse asked for
};

}  // namespace kgate

// Enqueues the attention on `stream` (a cudaStream_t; ignored by host implementations, which return when done) of the
// current device. It allocates nothing and does not wait, so it may be captured in a CUDA graph. 0 is success; a
// negative number is a refusal or a failed launch, with nothing enqueued.
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream);

// Optional: bytes that kgate_sdpa needs for intermediate results, for any problem of these extents, features, causal
// and dtype (strides and pointers are not filled in; bias and lse are null, or point anywhere). The caller gives them
// as args->workspace, on the device of the tensors, starting on a multiple of 256 bytes there, and leaves them alone
// until the stream has passed the call; what they hold before and after is nobody's concern. 0 for a problem that
// kgate_sdpa refuses.
KGATE_EXPORT int64_t kgate_sdpa_workspace(const kgate::SdpaArgs* args);

// Optional: the Features that the library computes, added up. What it has not declared it is never asked for: the
// caller is told so. kgate_sdpa may still refuse some of what is declared, such as two features at once.
KGATE_EXPORT uint32_t kgate_sdpa_features(void);

// Text of this thread's last error: one sentence on what is wrong, one on what to do. Never null; empty before any
// error.
KGATE_EXPORT const char* kgate_message(void);

// The version of this file that a library was built against: every library has it by including the file.
KGATE_EXPORT_OF_HEADER int32_t kgate_sdpa_version(void) { return KGATE_SDPA_VERSION; }
