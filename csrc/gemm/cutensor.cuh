// cuTENSOR for the kernel that uses it: the few functions of its C interface, and a cache of plans. cublas.cuh looks
// alike because it does the same for another library, of which no function and no handle is the same.
#pragma once

#include <library_types.h>

#include <array>
#include <map>
#include <mutex>
#include <tuple>

#include "cuda/launch.cuh"
#include "gemm/dynamic_library.h"
#include "gemm/logit_chunks.cuh"

#ifndef ALGORITHM  // knob: of cuTENSOR, 0 its own choice, 1 a choice that takes longer, 2 GETT, 3 TGETT, 4 TTGT
#define ALGORITHM 0
#endif

static_assert(ALGORITHM >= 0 && ALGORITHM <= 4, "ALGORITHM must be 0 to 4: 0 leaves the choice to cuTENSOR.");

namespace kgate {
namespace {

// What a plan may use besides the operands, and what cuTENSOR is given.
constexpr int64_t kCutensorBytes = 32 << 20;

struct Cutensor {
    // Declared here after cutensor.h, version 2, whose handles are pointers and whose enumerations have the size of
    // int.
    int (*create)(void** handle);
    int (*create_tensor)(void* handle, void** tensor, uint32_t modes, const int64_t* extent, const int64_t* stride,
                         cudaDataType type, uint32_t alignment);
    int (*destroy_tensor)(void* tensor);
    int (*create_contraction)(void* handle, void** operation, void* a, const int32_t* a_modes, int a_op, void* b,
                              const int32_t* b_modes, int b_op, void* c, const int32_t* c_modes, int c_op, void* d,
                              const int32_t* d_modes, void* compute);
    int (*destroy_operation)(void* operation);
    int (*create_preference)(void* handle, void** preference, int algorithm, int jit);
    int (*destroy_preference)(void* preference);
    int (*create_plan)(void* handle, void** plan, void* operation, void* preference, uint64_t workspace_limit);
    int (*contract)(void* handle, void* plan, const void* alpha, const void* a, const void* b, const void* beta,
                    const void* c, void* d, void* workspace, uint64_t workspace_bytes, cudaStream_t stream);
    const char* (*error_string)(int status);
    void** compute_32f;  // the variable CUTENSOR_COMPUTE_DESC_32F
    bool complete;

    Cutensor() : complete(false) {
        void* const library = open_any({"libcutensor.so.2"});
        complete = library != nullptr && find_symbol(library, "cutensorCreate", create) &&
                   find_symbol(library, "cutensorCreateTensorDescriptor", create_tensor) &&
                   find_symbol(library, "cutensorDestroyTensorDescriptor", destroy_tensor) &&
                   find_symbol(library, "cutensorCreateContraction", create_contraction) &&
                   find_symbol(library, "cutensorDestroyOperationDescriptor", destroy_operation) &&
                   find_symbol(library, "cutensorCreatePlanPreference", create_preference) &&
                   find_symbol(library, "cutensorDestroyPlanPreference", destroy_preference) &&
                   find_symbol(library, "cutensorCreatePlan", create_plan) &&
                   find_symbol(library, "cutensorContract", contract) &&
                   find_symbol(library, "cutensorGetErrorString", error_string) &&
                   find_symbol(library, "CUTENSOR_COMPUTE_DESC_32F", compute_32f);
    }
};

// A tensor of a chunk: four modes, each a letter, an extent and a stride in elements, the contiguous one first.
struct Tensor {
    std::array<int32_t, 4> mode;
    std::array<int64_t, 4> extent;
    std::array<int64_t, 4> stride;

    bool operator<(const Tensor& other) const {
        return std::tie(mode, extent, stride) < std::tie(other.mode, other.extent, other.stride);
    }
};

// cuTENSOR on the current device, for as long as this object lives; calls on other threads wait. Handles and plans
// belong to the process and are never destroyed.
class CutensorCall {
public:
    CutensorCall() : lock_(mutex()) {}

    int begin(const SdpaArgsV1& args, void* stream) {
        if (planning != nullptr) return 0;  // a plan holds our own kernels only
        if (!library().complete) {
            return fail(kUnsupported, "No cuTENSOR 2 could be opened. Install it: pip install pytest-kgate[cutensor].");
        }
        static void* handles[kMaxDevices];
        if (cudaGetDevice(&device_) != cudaSuccess || device_ >= kMaxDevices) {
            return fail(kCudaError, "There is no current CUDA device. Check with nvidia-smi that there is a GPU.");
        }
        // The first call may be one that is captured, where cuTENSOR could not set itself up in the usual mode.
        if (handles[device_] == nullptr) {
            cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
            cudaThreadExchangeStreamCaptureMode(&mode);
            const int status = library().create(&handles[device_]);
            cudaThreadExchangeStreamCaptureMode(&mode);
            if (status != 0) return explain(status);
        }
        handle_ = handles[device_];
        workspace_ = args.workspace;
        stream_ = static_cast<cudaStream_t>(stream);
        return 0;
    }

    // d = alpha * sum of a * b + beta * c over the modes that d has not; c lies like d. Elements are of `type`, sums
    // fp32.
    int contract(cudaDataType type, float alpha, const Tensor& a, const void* a_pointer, const Tensor& b,
                 const void* b_pointer, float beta, const void* c_pointer, const Tensor& d, void* d_pointer) {
        if (planning != nullptr) return 0;  // a plan holds our own kernels only
        void* plan = nullptr;
        if (int code = find_plan(type, a, b, d, plan)) return code;
        return explain(library().contract(handle_, plan, &alpha, a_pointer, b_pointer, &beta, c_pointer, d_pointer,
                                          workspace_, kCutensorBytes, stream_));
    }

private:
    static std::mutex& mutex() {
        static std::mutex only;
        return only;
    }

    static const Cutensor& library() {
        static const Cutensor opened;
        return opened;
    }

    // Making a plan takes longer than attention does: one for each set of shapes, made when it is first met.
    int find_plan(cudaDataType type, const Tensor& a, const Tensor& b, const Tensor& d, void*& plan) {
        static std::map<std::tuple<int, int, Tensor, Tensor, Tensor>, void*> plans;
        const auto key = std::make_tuple(device_, static_cast<int>(type), a, b, d);
        if (const auto found = plans.find(key); found != plans.end()) {
            plan = found->second;
            return 0;
        }
        constexpr int kIdentity = 1;                         // CUTENSOR_OP_IDENTITY
        constexpr int kAlgorithms[] = {-1, -6, -4, -3, -2};  // CUTENSOR_ALGO_DEFAULT, DEFAULT_PATIENT, GETT, ...
        constexpr int kNoJit = 0;                            // CUTENSOR_JIT_MODE_NONE
        void* tensors[3] = {};
        void* operation = nullptr;
        void* preference = nullptr;
        int status = 0;
        const Tensor* const shapes[3] = {&a, &b, &d};
        for (int i = 0; i < 3 && status == 0; ++i) {
            const Tensor& shape = *shapes[i];
            status =
                library().create_tensor(handle_, &tensors[i], 4, shape.extent.data(), shape.stride.data(), type, 16);
        }
        if (status == 0) {
            status = library().create_contraction(handle_, &operation, tensors[0], a.mode.data(), kIdentity, tensors[1],
                                                  b.mode.data(), kIdentity, tensors[2], d.mode.data(), kIdentity,
                                                  tensors[2], d.mode.data(), *library().compute_32f);
        }
        if (status == 0) status = library().create_preference(handle_, &preference, kAlgorithms[ALGORITHM], kNoJit);
        if (status == 0) status = library().create_plan(handle_, &plan, operation, preference, kCutensorBytes);
        if (preference != nullptr) library().destroy_preference(preference);
        if (operation != nullptr) library().destroy_operation(operation);
        for (void* tensor : tensors) {
            if (tensor != nullptr) library().destroy_tensor(tensor);
        }
        if (status == 0) plans.emplace(key, plan);
        return explain(status);
    }

    static int explain(int status) {
        if (status == 0) return 0;
        cudaGetLastError();  // reported here: the thread's last-error slot should not report it again
        return fail(kCudaError, "cuTENSOR failed: %s. %s", library().error_string(status),
                    ALGORITHM == 0 ? "Check that it supports this GPU; pass contiguous tensors."
                                   : "It may not have this algorithm for these shapes: build with ALGORITHM=0.");
    }

    std::lock_guard<std::mutex> lock_;
    int device_ = 0;
    void* handle_ = nullptr;
    void* workspace_ = nullptr;
    cudaStream_t stream_ = nullptr;
};

}  // namespace
}  // namespace kgate
