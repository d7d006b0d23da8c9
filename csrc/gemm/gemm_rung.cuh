// What the rungs share that leave a product to cuBLAS: their part of the workspace, how a call begins, and the division
// at the end where cuBLAS has multiplied with V.
//
// That GEMM's left operand are exp(x - max), rounded to 16 bits, and not probabilities: the greatest of a row is
// exactly 1, and a key that dominates its row is not rounded, as in FlashAttention. Divided by the sum first it would
// be rounded as every other number, and the output, rounded too, would err more than twice as much. The price is a
// result in fp32 that a kernel more divides. The sum is that of the rounded values, so that the weights of a row add up
// to 1. What rounding takes from probabilities can't be the GEMM's addend instead (beta = 1): cuBLAS's kernels for
// Hopper round the product to 16 bits before they add.
#pragma once

#include "gemm/cublas.cuh"
#include "gemm/divide_rows.cuh"

namespace kgate {
namespace {

// A call's chunks, and where in the workspace a chunk's matrices start, in bytes from its beginning.
struct Workspace {
    ChunkSize largest;
    int64_t pairs = kCublasBytes;  // logits or exponentials: (slices, rows, ld)
    int64_t outputs;               // exponentials times V: (slices, rows, head_dim) of float
    int64_t sums;                  // of the rounded exponentials: (slices, rows) of float
    int64_t bytes;

    // `pair_bytes`: of a logit or an exponential. `divides`: whether there are outputs and sums.
    Workspace(const SdpaArgsV1& args, int pair_bytes, bool divides) : largest(choose_chunk_size(args, pair_bytes)) {
        const int64_t rows = divides ? static_cast<int64_t>(largest.batches) * largest.heads * largest.rows : 0;
        outputs = pairs + round_up(largest.elements * pair_bytes, 256);
        sums = outputs + rows * args.head_dim * 4;
        bytes = sums + rows * 4;
    }
};

template <typename Element>
__host__ __device__ Element* in_workspace(const SdpaArgsV1& args, int64_t offset) {
    return reinterpret_cast<Element*>(static_cast<char*>(args.workspace) + offset);
}

// Calls body(cublas, chunk) for every chunk, with cuBLAS on the call's stream, until one returns an error.
template <typename Body>
int for_each_gemm_chunk(const SdpaArgsV1& args, const Workspace& workspace, void* stream, const Body& body) {
    if (int code = check_workspace(args, workspace.bytes)) return code;
    if (int code = check_row_strides(args)) return code;
    CublasCall cublas;
    if (int code = cublas.begin(args, stream)) return code;
    return for_each_chunk(args, workspace.largest, [&](const LogitChunk& chunk) { return body(cublas, chunk); });
}

// The second half of a chunk: P V by cuBLAS, from exponentials with p_ld elements between their rows, and the division.
template <typename T, int D>
int multiply_and_divide(CublasCall& cublas, const SdpaArgsV1& args, const Workspace& workspace, const LogitChunk& chunk,
                        int64_t p_ld, void* stream) {
    const T* const p = in_workspace<const T>(args, workspace.pairs);
    if (int code = cublas.output<T>(args, chunk, p, p_ld, in_workspace<float>(args, workspace.outputs))) return code;
    const DivideArgs last = {args,
                             chunk,
                             in_workspace<const float>(args, workspace.outputs),
                             nullptr,
                             in_workspace<const float>(args, workspace.sums),
                             1.0f};
    return launch_divide_rows<T, float, 1, D>(last, stream);
}

}  // namespace
}  // namespace kgate
