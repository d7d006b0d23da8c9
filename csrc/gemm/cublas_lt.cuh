// A product by the n-th of the algorithms that cuBLASLt lists for it: of kernels that are built with ALGORITHM above 0.
//
// cublasGemmStridedBatchedEx has an argument for its algorithm, which does nothing on sm_80 and newer: cuBLAS asks the
// heuristic of cuBLASLt there, and takes the first of its list. The others are to be had from cuBLASLt alone.
#pragma once

#include <library_types.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "cuda/launch.cuh"
#include "gemm/dynamic_library.h"

namespace kgate {
namespace {

struct LtAlgorithm {  // cublasLtMatmulAlgo_t
    uint64_t data[8];
};

struct LtListed {  // cublasLtMatmulHeuristicResult_t
    LtAlgorithm algorithm;
    size_t workspace_bytes;
    int status;
    float waves;
    int reserved[4];
};
static_assert(sizeof(LtListed) == 96, "cuBLASLt writes an array of these, with nothing between them.");

struct CublasLt {
    // Declared here after cublasLt.h, whose enumerations and handles have the size of int and of a pointer. A handle of
    // cuBLAS is one of cuBLASLt as well.
    int (*create_operation)(void** operation, int compute_type, cudaDataType scale_type);
    int (*set_operation)(void* operation, int attribute, const void* value, size_t bytes);
    int (*create_layout)(void** layout, cudaDataType type, uint64_t rows, uint64_t columns, int64_t ld);
    int (*set_layout)(void* layout, int attribute, const void* value, size_t bytes);
    int (*create_preference)(void** preference);
    int (*set_preference)(void* preference, int attribute, const void* value, size_t bytes);
    int (*destroy_preference)(void* preference);
    int (*list)(void* handle, void* operation, void* a, void* b, void* c, void* d, void* preference, int wanted,
                LtListed* found, int* count);
    int (*multiply)(void* handle, void* operation, const void* alpha, const void* a, void* a_layout, const void* b,
                    void* b_layout, const void* beta, const void* c, void* c_layout, void* d, void* d_layout,
                    const LtAlgorithm* algorithm, void* workspace, size_t workspace_bytes, cudaStream_t stream);
    bool complete;

    // `cublas` is the opened libcublas, among whose dependencies the functions are found: the copy that fits it.
    explicit CublasLt(void* cublas) : complete(false) {
        complete = cublas != nullptr && find_symbol(cublas, "cublasLtMatmulDescCreate", create_operation) &&
                   find_symbol(cublas, "cublasLtMatmulDescSetAttribute", set_operation) &&
                   find_symbol(cublas, "cublasLtMatrixLayoutCreate", create_layout) &&
                   find_symbol(cublas, "cublasLtMatrixLayoutSetAttribute", set_layout) &&
                   find_symbol(cublas, "cublasLtMatmulPreferenceCreate", create_preference) &&
                   find_symbol(cublas, "cublasLtMatmulPreferenceSetAttribute", set_preference) &&
                   find_symbol(cublas, "cublasLtMatmulPreferenceDestroy", destroy_preference) &&
                   find_symbol(cublas, "cublasLtMatmulAlgoGetHeuristic", list) &&
                   find_symbol(cublas, "cublasLtMatmul", multiply);
    }
};

// C = alpha * op(A) B for `count` matrices each, columns first, sums in fp32; C is (m, n).
struct LtProduct {
    struct Operand {
        const void* pointer;
        cudaDataType type;
        int64_t ld;      // elements between columns
        int64_t stride;  // elements between matrices
    };
    int op;  // of A: 0 as it lies, 1 transposed
    int m, n, k, count;
    float alpha;
    Operand a, b, c;

    // cuBLASLt takes an alignment for granted if it is not told one.
    static uint32_t alignment_of(const Operand& x) {
        const auto address = reinterpret_cast<uintptr_t>(x.pointer);
        return static_cast<uint32_t>(std::min<uintptr_t>(256, address & (~address + 1)));
    }
};

struct LtPlan {
    void* operation = nullptr;
    void* layouts[3] = {};  // of A, B and C
    LtListed listed = {};   // what was asked for, if the list is so long
    int offered = 0;        // the length of the list, which ends with what was asked for
};

// Fills a plan for the algorithm in this place of the list, from 1; returns a status of cuBLAS's.
inline int make_lt_plan(const CublasLt& lt, void* handle, const LtProduct& product, int place, size_t workspace_bytes,
                        LtPlan& plan) {
    constexpr int kCompute32F = 68;                    // CUBLAS_COMPUTE_32F
    constexpr int kTransposeA = 3;                     // CUBLASLT_MATMUL_DESC_TRANSA
    constexpr int kBatchCount = 5, kBatchOffset = 6;   // CUBLASLT_MATRIX_LAYOUT_...
    constexpr int kMaxWorkspace = 1, kAlignmentA = 5;  // CUBLASLT_MATMUL_PREF_..., of B, C and D the next three
    const LtProduct::Operand* const operands[3] = {&product.a, &product.b, &product.c};
    const int rows[3] = {product.op == 0 ? product.m : product.k, product.k, product.m};
    const int columns[3] = {product.op == 0 ? product.k : product.m, product.n, product.n};
    void* preference = nullptr;
    int status = lt.create_operation(&plan.operation, kCompute32F, CUDA_R_32F);
    if (status == 0) {
        const int32_t op = product.op;
        status = lt.set_operation(plan.operation, kTransposeA, &op, sizeof(op));
    }
    for (int i = 0; i < 3 && status == 0; ++i) {
        const int32_t count = product.count;
        status = lt.create_layout(&plan.layouts[i], operands[i]->type, rows[i], columns[i], operands[i]->ld);
        if (status == 0) status = lt.set_layout(plan.layouts[i], kBatchCount, &count, sizeof(count));
        if (status == 0) {
            status = lt.set_layout(plan.layouts[i], kBatchOffset, &operands[i]->stride, sizeof(int64_t));
        }
    }
    if (status == 0) status = lt.create_preference(&preference);
    if (status == 0) {
        const uint64_t bytes = workspace_bytes;
        status = lt.set_preference(preference, kMaxWorkspace, &bytes, sizeof(bytes));
    }
    for (int i = 0; i < 4 && status == 0; ++i) {  // C is D as well
        const uint32_t alignment = LtProduct::alignment_of(*operands[std::min(i, 2)]);
        status = lt.set_preference(preference, kAlignmentA + i, &alignment, sizeof(alignment));
    }
    if (status == 0) {
        std::vector<LtListed> found(place);
        status = lt.list(handle, plan.operation, plan.layouts[0], plan.layouts[1], plan.layouts[2], plan.layouts[2],
                         preference, place, found.data(), &plan.offered);
        if (status == 0 && plan.offered >= place) {
            plan.listed = found[place - 1];
            status = plan.listed.status;
        }
    }
    if (preference != nullptr) lt.destroy_preference(preference);
    return status;
}

// The product, by the algorithm in this place of the list. A plan is made once for each product, device and alignment,
// and never destroyed; calls must not run at the same time. Returns a status of cuBLAS's. `offered` is how many
// algorithms there are where they are fewer than `place`, and nothing is launched then.
inline int multiply_by_place(const CublasLt& lt, void* handle, const LtProduct& product, int place, void* workspace,
                             size_t workspace_bytes, cudaStream_t stream, int& offered) {
    using Lies = std::tuple<int, int64_t, int64_t, uint32_t>;
    using Key = std::tuple<void*, int, int, int, int, int, Lies, Lies, Lies>;
    static std::map<Key, LtPlan> plans;
    const auto lies = [](const LtProduct::Operand& x) {
        return Lies(static_cast<int>(x.type), x.ld, x.stride, LtProduct::alignment_of(x));
    };
    const Key key(handle, product.op, product.m, product.n, product.k, product.count, lies(product.a), lies(product.b),
                  lies(product.c));
    auto known = plans.find(key);
    if (known == plans.end()) {
        // The first call may be one that is captured, where the library could not load what it lists.
        cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
        cudaThreadExchangeStreamCaptureMode(&mode);
        LtPlan plan;
        const int status = make_lt_plan(lt, handle, product, place, workspace_bytes, plan);
        cudaThreadExchangeStreamCaptureMode(&mode);
        if (status != 0) return status;
        known = plans.emplace(key, plan).first;
    }
    const LtPlan& plan = known->second;
    offered = plan.offered;
    if (offered < place) return 0;
    const float beta = 0.0f;
    void* const c = const_cast<void*>(product.c.pointer);
    return lt.multiply(handle, plan.operation, &product.alpha, product.a.pointer, plan.layouts[0], product.b.pointer,
                       plan.layouts[1], &beta, c, plan.layouts[2], c, plan.layouts[2], &plan.listed.algorithm,
                       workspace, workspace_bytes, stream);
}

}  // namespace
}  // namespace kgate
