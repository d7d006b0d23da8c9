// cuBLAS for the kernels that use it: the few functions of its C interface, one handle a device, the two products of
// attention.
#pragma once

#include <library_types.h>

#include <mutex>

#include "cuda/exp2.cuh"
#include "cuda/launch.cuh"
#include "gemm/cublas_lt.cuh"
#include "gemm/dynamic_library.h"
#include "gemm/logit_chunks.cuh"

#ifndef ALGORITHM  // knob: of cuBLAS, 0 its own choice, n the n-th that cuBLASLt lists for each product
#define ALGORITHM 0
#endif

static_assert(ALGORITHM >= 0 && ALGORITHM <= 64, "ALGORITHM must be 0 to 64: 0 leaves the choice to cuBLAS.");

namespace kgate {
namespace {

// What cuBLAS may use besides the operands; its own default for Hopper. Preset, because a library that allocates during
// a capture breaks it, and because results are the same bits every time only with the same workspace.
constexpr int64_t kCublasBytes = 32 << 20;

struct Cublas {
    // Declared here after cublas_api.h, whose enumerations and handles have the size of int and of a pointer. These
    // functions have not changed since CUDA 11.
    int (*create)(void** handle);
    int (*set_stream)(void* handle, cudaStream_t stream);
    int (*set_workspace)(void* handle, void* workspace, size_t bytes);
    int (*set_math_mode)(void* handle, int mode);
    int (*gemm_strided_batched)(void* handle, int transa, int transb, int m, int n, int k, const void* alpha,
                                const void* a, cudaDataType a_type, int lda, long long stride_a, const void* b,
                                cudaDataType b_type, int ldb, long long stride_b, const void* beta, void* c,
                                cudaDataType c_type, int ldc, long long stride_c, int batch_count, int compute_type,
                                int algorithm);
    const char* (*status_string)(int status);
    void* library;
    bool complete;

    Cublas() : library(open_any({"libcublas.so.13", "libcublas.so.12", "libcublas.so.11"})), complete(false) {
        complete = library != nullptr && find_symbol(library, "cublasCreate_v2", create) &&
                   find_symbol(library, "cublasSetStream_v2", set_stream) &&
                   find_symbol(library, "cublasSetWorkspace_v2", set_workspace) &&
                   find_symbol(library, "cublasSetMathMode", set_math_mode) &&
                   find_symbol(library, "cublasGemmStridedBatchedEx", gemm_strided_batched) &&
                   find_symbol(library, "cublasGetStatusString", status_string);
    }
};

constexpr int kOpN = 0;                  // CUBLAS_OP_N
constexpr int kOpT = 1;                  // CUBLAS_OP_T
constexpr int kCompute32F = 68;          // CUBLAS_COMPUTE_32F
constexpr int kDefaultAlgorithm = -1;    // CUBLAS_GEMM_DEFAULT
constexpr int kNoReducedPrecision = 16;  // CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION: sums stay fp32

template <typename T>
constexpr cudaDataType kCudaType = CUDA_R_32F;
template <>
constexpr cudaDataType kCudaType<__half> = CUDA_R_16F;
template <>
constexpr cudaDataType kCudaType<__nv_bfloat16> = CUDA_R_16BF;

// The handle of the current device, for as long as this object lives; calls on other threads wait. A handle belongs to
// the process and is never destroyed: that would wait for the device.
class CublasCall {
public:
    CublasCall() : lock_(mutex()) {}

    int begin(const SdpaArgsV1& args, void* stream) {
        if (planning != nullptr) return 0;  // a plan holds our own kernels only
        if (!library().complete) {
            return fail(kUnsupported,
                        "No cuBLAS of CUDA 11 to 13 could be opened. Install it: pip install nvidia-cublas.");
        }
        static void* handles[kMaxDevices];
        int device = 0;
        if (cudaGetDevice(&device) != cudaSuccess || device >= kMaxDevices) {
            return fail(kCudaError, "There is no current CUDA device. Check with nvidia-smi that there is a GPU.");
        }
        if (handles[device] == nullptr) {
            // The first call may be one that is captured, where cuBLAS could not set itself up in the usual mode.
            cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
            cudaThreadExchangeStreamCaptureMode(&mode);
            int status = library().create(&handles[device]);
            if (status == 0) status = library().set_math_mode(handles[device], kNoReducedPrecision);
            cudaThreadExchangeStreamCaptureMode(&mode);
            if (status != 0) return explain(status);
        }
        handle_ = handles[device];
        stream_ = static_cast<cudaStream_t>(stream);
        workspace_ = args.workspace;
        // The stream first: setting it puts back cuBLAS's own workspace.
        int status = library().set_stream(handle_, static_cast<cudaStream_t>(stream));
        if (status == 0) status = library().set_workspace(handle_, args.workspace, kCublasBytes);
        return explain(status);
    }

    // logits = scale * log2(e) * Q K^T in fp32: (slices, rows, ld), the chunk's slices.
    template <typename T>
    int logits(const SdpaArgsV1& args, const LogitChunk& chunk, float* logits) {
        const float alpha = args.scale * kLog2E;
        // cuBLAS counts columns first: its K^T is K as it lies, and the logits come out row by row.
        Operand k = operand<T>(args.k, args.k_stride, args, chunk);
        Operand q = operand<T>(args.q, args.q_stride, args, chunk);
        q.pointer = static_cast<const T*>(q.pointer) + chunk.row * args.q_stride[2];
        const int64_t slice = slice_elements(chunk);
        const Operand c = {logits, CUDA_R_32F, chunk.ld, slice * chunk.heads, slice};
        return multiply<T>(kOpT, chunk.keys, chunk.rows, args.head_dim, alpha, k, q, c, chunk);
    }

    // outputs = P V in fp32: (slices, rows, head_dim), from P as (slices, rows, p_ld) of T.
    template <typename T>
    int output(const SdpaArgsV1& args, const LogitChunk& chunk, const T* p, int64_t p_ld, float* outputs) {
        const Operand v = operand<T>(args.v, args.v_stride, args, chunk);
        const Operand b = {p, kCudaType<T>, p_ld, p_ld * chunk.rows * chunk.heads, p_ld * chunk.rows};
        const int64_t slice = static_cast<int64_t>(chunk.rows) * args.head_dim;
        const Operand c = {outputs, CUDA_R_32F, args.head_dim, slice * chunk.heads, slice};
        return multiply<T>(kOpN, args.head_dim, chunk.rows, chunk.keys, 1.0f, v, b, c, chunk);
    }

private:
    struct Operand {
        const void* pointer;
        cudaDataType type;
        int64_t ld;            // elements between rows, which cuBLAS calls columns
        int64_t batch_stride;  // elements
        int64_t head_stride;
    };

    static std::mutex& mutex() {
        static std::mutex only;
        return only;
    }

    static const Cublas& library() {
        static const Cublas opened;
        return opened;
    }

    template <typename T>
    static Operand operand(const void* base, const int64_t (&stride)[3], const SdpaArgsV1& args,
                           const LogitChunk& chunk) {
        // The stride of an axis of length 1 may be anything, but cuBLAS wants rows at least as far apart as they are
        // long.
        const int64_t ld = args.seqlen == 1 ? args.head_dim : stride[2];
        return {chunk_pointer(static_cast<const T*>(base), stride, chunk), kCudaType<T>, ld, stride[0], stride[1]};
    }

    // C = alpha * op(A) B for each slice of the chunk, A and B of T and C in fp32: in one call where one stride leads
    // from slice to slice in all operands, else in a call for each batch or for each head, whichever are fewer.
    template <typename T>
    int multiply(int op, int m, int n, int k, float alpha, const Operand& a, const Operand& b, const Operand& c,
                 const LogitChunk& chunk) {
        if (planning != nullptr) return 0;  // a plan holds our own kernels only
        const auto collapses = [&](const Operand& x) {
            return chunk.batches == 1 || chunk.heads == 1 || x.batch_stride == x.head_stride * chunk.heads;
        };
        const bool one_stride = collapses(a) && collapses(b) && collapses(c);
        const bool by_head = chunk.heads > 1 && (one_stride || chunk.heads >= chunk.batches);  // the axis within a call
        const int calls = one_stride ? 1 : by_head ? chunk.batches : chunk.heads;
        const int count = one_stride ? slices_of(chunk) : by_head ? chunk.heads : chunk.batches;
        const float beta = 0.0f;
        for (int i = 0; i < calls; ++i) {
            const auto at = [&](const Operand& x, int64_t bytes) {
                return static_cast<const char*>(x.pointer) + i * (by_head ? x.batch_stride : x.head_stride) * bytes;
            };
            const auto step = [&](const Operand& x) { return by_head ? x.head_stride : x.batch_stride; };
            if constexpr (ALGORITHM > 0) {
                const auto lies = [&](const Operand& x, int64_t bytes) {
                    return LtProduct::Operand{at(x, bytes), x.type, x.ld, static_cast<int64_t>(step(x))};
                };
                const LtProduct product = {
                    op, m, n, k, count, alpha, lies(a, sizeof(T)), lies(b, sizeof(T)), lies(c, sizeof(float))};
                if (int code = multiply_as_asked(product)) return code;
                continue;
            }
            const int status = library().gemm_strided_batched(
                handle_, op, kOpN, m, n, k, &alpha, at(a, sizeof(T)), a.type, static_cast<int>(a.ld), step(a),
                at(b, sizeof(T)), b.type, static_cast<int>(b.ld), step(b), &beta,
                const_cast<char*>(at(c, sizeof(float))), c.type, static_cast<int>(c.ld), step(c), count, kCompute32F,
                kDefaultAlgorithm);
            if (status != 0) return explain(status);
        }
        return 0;
    }

    int multiply_as_asked(const LtProduct& product) {
        static const CublasLt lt(library().library);
        if (!lt.complete) {
            return fail(kUnsupported,
                        "This cuBLAS has no cuBLASLt to choose an algorithm of. Build with ALGORITHM=0, or install "
                        "another: pip install nvidia-cublas.");
        }
        int offered = 0;
        const int status =
            multiply_by_place(lt, handle_, product, ALGORITHM, workspace_, kCublasBytes, stream_, offered);
        if (status == 0 && offered < ALGORITHM) {
            return fail(kUnsupported,
                        "cuBLASLt lists %d algorithms for a product of %d x %d x %d, and ALGORITHM is %d. Lower it.",
                        offered, product.m, product.n, product.k, ALGORITHM);
        }
        return explain(status);
    }

    static int explain(int status) {
        if (status == 0) return 0;
        cudaGetLastError();  // reported here: the thread's last-error slot should not report it again
        return fail(kCudaError, "cuBLAS failed: %s. Check with nvidia-smi that the GPU is there and has memory left.",
                    library().status_string(status));
    }

    std::lock_guard<std::mutex> lock_;
    void* handle_ = nullptr;
    void* workspace_ = nullptr;
    cudaStream_t stream_ = nullptr;
};

// cuBLAS takes strides between rows that are at least a row and fit 31 bits; the kernels of our own, which write O,
// take any.
int check_row_strides(const SdpaArgsV1& args) {
    const struct {
        const char* name;
        int64_t stride;
    } rows[] = {{"q", args.q_stride[2]}, {"k", args.k_stride[2]}, {"v", args.v_stride[2]}};
    for (const auto& row : rows) {
        if (args.seqlen > 1 && (row.stride < args.head_dim || row.stride > std::numeric_limits<int32_t>::max())) {
            return fail(kUnsupported,
                        "The row stride of %s is %lld elements; cuBLAS takes head_dim (%d) to 2^31 - 1. Pass a copy, "
                        "such as %s.contiguous().",
                        row.name, static_cast<long long>(row.stride), args.head_dim, row.name);
        }
    }
    return 0;
}

}  // namespace
}  // namespace kgate
