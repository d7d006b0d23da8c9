// From a call to launches: its arguments checked, errors put into words, the kernel for its element type and head
// dimension found, its launches made, or planned for an imagined GPU.
//
// Each kernel library is one translation unit that includes this file once. All that holds state sits in an unnamed
// namespace: a static inside an ordinary template or inline function would become one object for all the libraries that
// a process has loaded (STB_GNU_UNIQUE), and a second build of a kernel would then believe that its set-up had been
// done.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <dlfcn.h>

#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <limits>

#include "sdpa.h"
#include "sdpa_features.h"

namespace kgate {
namespace {

// ---------------------------------------------------------------------------------------------------------- error text

constexpr int kBadArgument = -1;  // the call can never succeed
constexpr int kUnsupported = -2;  // another implementation, or another build of this one, can serve the call
constexpr int kCudaError = -3;    // the CUDA runtime refused

thread_local char message[512] = "";

__attribute__((format(printf, 2, 3))) int fail(int code, const char* format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(message, sizeof(message), format, values);
    va_end(values);
    return code;
}

// ----------------------------------------------------------------------------------------------------------- arguments

// cp.async moves 16 bytes, so every row of every tensor has to start on a 16-byte boundary. `extent` is of batch, heads
// and rows, `element` an element's bytes.
int check_tensor(const char* name, const void* pointer, const int64_t (&stride)[3], const int32_t (&extent)[3],
                 int element) {
    const int step = 16 / element;
    if (pointer == nullptr) {
        return fail(kBadArgument, "%s is a null pointer. Pass device memory.", name);
    }
    if (reinterpret_cast<uintptr_t>(pointer) % 16 != 0) {
        return fail(kBadArgument,
                    "%s starts at %p, which is not a multiple of 16 bytes. Pass an aligned copy, such as %s.clone().",
                    name, pointer, name);
    }
    const char* const axis[3] = {"batch", "head", "row"};
    for (int i = 0; i < 3; ++i) {
        if (extent[i] > 1 && stride[i] % step != 0) {  // the stride of an axis of length 1 is never used
            return fail(
                kBadArgument,
                "The %s stride of %s is %lld elements, not a multiple of %d. Pass a copy, such as %s.contiguous().",
                axis[i], name, static_cast<long long>(stride[i]), step, name);
        }
    }
    return 0;
}

// For whoever calls without the binding, which asks no library for what it has not declared.
int check_features(const SdpaArgs& args, uint32_t features) {
    const uint32_t missing = needed_features(args) & ~features;
    for (const auto& [feature, name] : kFeatureNames) {
        if ((missing & feature) != 0) {
            return fail(kUnsupported,
                        "This implementation can't be asked for: %s. Use one that declares it in kgate_sdpa_features.",
                        name);
        }
    }
    return 0;
}

int check_arguments(const SdpaArgs* args, uint32_t features) {
    if (args == nullptr) {
        return fail(kBadArgument, "The argument struct is a null pointer. Pass a filled kgate::SdpaArgs.");
    }
    if (args->batch < 1 || args->heads < 1 || args->seqlen < 1) {
        return fail(kBadArgument,
                    "batch %d, heads %d, seqlen %d: each must be at least 1. Skip the call when a tensor is empty.",
                    args->batch, args->heads, args->seqlen);
    }
    if (int code = check_features(*args, features)) return code;
    const int32_t rows[3] = {args->batch, args->heads, args->seqlen};
    const int32_t keys[3] = {args->batch, args->kv_heads, args->kv_seqlen};
    const int element = args->dtype == Float8E4M3 ? 1 : 2;  // float32 is refused by its name, later
    if (int code = check_tensor("q", args->q, args->q_stride, rows, element)) return code;
    if (int code = check_tensor("k", args->k, args->k_stride, keys, element)) return code;
    if (int code = check_tensor("v", args->v, args->v_stride, keys, element)) return code;
    return check_tensor("o", args->o, args->o_stride, rows, 2);
}

// -------------------------------------------------------------------------------------------------------- architecture

#ifdef __CUDA_ARCH_LIST__
constexpr int kTargets[] = {__CUDA_ARCH_LIST__};  // nvcc's, in ascending order, for the host's code too: 890 is sm_89
#else
constexpr int kTargets[] = {800};
#endif

// Shared memory of one multiprocessor, of which each resident block takes 1 KB more than it asks for (CUDA C++
// programming guide, technical specifications per compute capability).
constexpr int shared_per_multiprocessor(int architecture) {
    const bool small = architecture == 860 || architecture == 880 || architecture == 890 || architecture >= 1200;
    return (small ? 100 : architecture < 900 ? 164 : 228) * 1024;
}
constexpr int kMostShared = shared_per_multiprocessor(kTargets[0]) - 1024;  // that a block can ask for
constexpr bool kSmallShared = shared_per_multiprocessor(kTargets[0]) < 164 * 1024;

// -------------------------------------------------------------------------------------------------------------- launch

constexpr int kMaxDevices = 64;

// One launch that a call would make; kgate_plan's answer, so plain C.
struct PlannedLaunch {
    int64_t kernel;  // where the symbol of the kernel's name is, from the library's start: nvcc keeps the names local
    int64_t blocks;
    int32_t threads;       // of a block
    int32_t shared_bytes;  // of a block, dynamic
};

// While a thread plans, launches are written down instead of made, on an imagined GPU.
struct Planning {
    int multiprocessors;
    PlannedLaunch* launches;
    int room;
    int count;
};
thread_local Planning* planning = nullptr;

int plan_launch(const void* kernel, int64_t blocks, int threads, int shared_bytes) {
    if (planning->count == planning->room) {
        return fail(kBadArgument, "The call makes more than the %d launches there is room for.", planning->room);
    }
    PlannedLaunch& launch = planning->launches[planning->count++];
    Dl_info library = {};
    dladdr(kernel, &library);
    launch.kernel = static_cast<const char*>(kernel) - static_cast<const char*>(library.dli_fbase);
    launch.blocks = blocks;
    launch.threads = threads;
    launch.shared_bytes = shared_bytes;
    return 0;
}

// Of the current device, asked for once. It decides between tiles, where one build holds several.
int count_multiprocessors(int& count) {
    static std::atomic<int> known[kMaxDevices];

    if (planning != nullptr) {
        count = planning->multiprocessors;
        return 0;
    }
    int device = 0;
    cudaError_t error = cudaGetDevice(&device);
    count = error == cudaSuccess && device < kMaxDevices ? known[device].load(std::memory_order_relaxed) : 0;
    if (error == cudaSuccess && count == 0) {
        error = cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
        if (error == cudaSuccess && device < kMaxDevices) known[device].store(count, std::memory_order_relaxed);
    }
    if (error == cudaSuccess) return 0;
    cudaGetLastError();  // reported here: the thread's last-error slot should not report it again
    return fail(kCudaError,
                "The GPU can't be asked for its multiprocessors: %s (%s). Check with nvidia-smi that there is one.",
                cudaGetErrorString(error), cudaGetErrorName(error));
}

// What a launch with Early waits for: all that the launch ahead of it in the stream has written.
__device__ inline void await_earlier_launch() { asm volatile("griddepcontrol.wait;" : : : "memory"); }

// The next launch may begin once all blocks of this one have come here.
__device__ inline void admit_next_launch() { asm volatile("griddepcontrol.launch_dependents;" : : : "memory"); }

// Launches Kernel(args, more...) on a one-dimensional grid, whose limit of 2^31 - 1 blocks the y and z axes (65535) do
// not have. The shared-memory opt-in is asked for once per kernel and device, not at every launch. With Early the
// kernel may begin before the launch ahead of it in the stream has ended, and must call await_earlier_launch.
template <auto Kernel, bool Early = false, typename Arguments, typename... More>
int launch(const Arguments& args, int64_t blocks, int threads, int shared_bytes, void* stream, const More&... more) {
    // Zero-initialised; a race sets the attribute twice, which is harmless.
    static std::atomic<bool> ready[kMaxDevices];

    if (blocks > std::numeric_limits<int32_t>::max()) {
        return fail(kUnsupported, "The problem needs %lld thread blocks, more than a grid holds. Split the batch.",
                    static_cast<long long>(blocks));
    }
    if (planning != nullptr) return plan_launch(reinterpret_cast<const void*>(Kernel), blocks, threads, shared_bytes);
    int device = 0;
    cudaError_t error = cudaGetDevice(&device);
    if (error == cudaSuccess && (device >= kMaxDevices || !ready[device].load(std::memory_order_acquire))) {
        int limit = 0;
        error = cudaDeviceGetAttribute(&limit, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
        if (error == cudaSuccess && shared_bytes > limit) {
            return fail(
                kUnsupported,
                "A block needs %d bytes of shared memory, this GPU offers %d. Lower BLOCK_M, BLOCK_N or STAGES.",
                shared_bytes, limit);
        }
        if (error == cudaSuccess && shared_bytes > 48 * 1024) {
            error = cudaFuncSetAttribute(Kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
        }
        if (error == cudaSuccess && device < kMaxDevices) ready[device].store(true, std::memory_order_release);
    }
    if (error == cudaSuccess) {
        // Not <<<>>>, whose error comes out of the thread's last-error slot, where an earlier call may have left its
        // own.
        void* parameters[] = {const_cast<Arguments*>(&args), const_cast<More*>(&more)...};
        if constexpr (Early) {
            cudaLaunchAttribute attribute = {};
            attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
            attribute.val.programmaticStreamSerializationAllowed = 1;
            cudaLaunchConfig_t config = {};
            config.gridDim = dim3(static_cast<unsigned>(blocks));
            config.blockDim = dim3(threads);
            config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
            config.stream = static_cast<cudaStream_t>(stream);
            config.attrs = &attribute;
            config.numAttrs = 1;
            error = cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(Kernel), parameters);
        } else {
            error = cudaLaunchKernel(Kernel, dim3(static_cast<unsigned>(blocks)), dim3(threads), parameters,
                                     shared_bytes, static_cast<cudaStream_t>(stream));
        }
    }
    if (error == cudaSuccess) return 0;
    cudaGetLastError();  // reported here: the thread's last-error slot should not report it again
    const char* todo = "An earlier kernel may have faulted: run under compute-sanitizer, in a fresh process.";
    if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction) {
        todo = "Build the kernel for this GPU's architecture.";
    } else if (error == cudaErrorInsufficientDriver || error == cudaErrorNoDevice) {
        todo = "Check with nvidia-smi that there is a GPU and that its driver is as new as this CUDA toolkit.";
    }
    return fail(kCudaError, "The launch failed: %s (%s). %s", cudaGetErrorString(error), cudaGetErrorName(error), todo);
}

// Kernel<T, D>::launch(args, stream) for the call's element type T and head dimension D. OnlyHeadDim limits what is
// compiled to one D (0: all), because a tuned build should not compile what it will not run.
template <template <typename, int> class Kernel, int OnlyHeadDim, int D>
int dispatch_dtype(const SdpaArgs& args, void* stream) {
    if constexpr (OnlyHeadDim == 0 || OnlyHeadDim == D) {
        switch (args.dtype) {
            case Float16: return Kernel<__half, D>::launch(args, stream);
            case BFloat16: return Kernel<__nv_bfloat16, D>::launch(args, stream);
            case Float32:
                return fail(kUnsupported, "This implementation takes no float32. Pass float16 or bfloat16 tensors.");
            default: return fail(kBadArgument, "dtype %d is unknown. Pass 1 (float16) or 2 (bfloat16).", args.dtype);
        }
    } else {
        return fail(kUnsupported,
                    "This build serves head_dim %d only, not %d. Build it with HEAD_DIM=0 or HEAD_DIM=%d.", OnlyHeadDim,
                    D, D);
    }
}

// `Features` are those that the implementation declares.
template <template <typename, int> class Kernel, int OnlyHeadDim, uint32_t Features = 0>
int dispatch(const SdpaArgs* args, void* stream) {
    static_assert(OnlyHeadDim == 0 || OnlyHeadDim == 64 || OnlyHeadDim == 80 || OnlyHeadDim == 96 || OnlyHeadDim == 128,
                  "HEAD_DIM must be 0 (all of them), 64, 80, 96 or 128.");
    if (int code = check_arguments(args, Features)) return code;
    switch (args->head_dim) {
        case 64: return dispatch_dtype<Kernel, OnlyHeadDim, 64>(*args, stream);
        case 80: return dispatch_dtype<Kernel, OnlyHeadDim, 80>(*args, stream);
        case 96: return dispatch_dtype<Kernel, OnlyHeadDim, 96>(*args, stream);
        case 128: return dispatch_dtype<Kernel, OnlyHeadDim, 128>(*args, stream);
        default:
            return fail(kUnsupported,
                        "head_dim %d is not supported. Use 64, 80, 96 or 128, padding with zeros if need be.",
                        args->head_dim);
    }
}

}  // namespace
}  // namespace kgate

KGATE_EXPORT const char* kgate_message(void) { return kgate::message; }

// What kgate_sdpa would launch for these arguments on a GPU of this architecture with so many multiprocessors: the
// number of launches written to `launches`, or a negative error. Needs no GPU, and touches no tensor: pointers need
// only look aligned.
KGATE_EXPORT int kgate_plan(const kgate::SdpaArgs* args, int multiprocessors, kgate::PlannedLaunch* launches,
                            int room) {
    kgate::Planning plan = {multiprocessors, launches, room, 0};
    kgate::planning = &plan;
    const int code = kgate_sdpa(args, nullptr);
    kgate::planning = nullptr;
    return code != 0 ? code : plan.count;
}
