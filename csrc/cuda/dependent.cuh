// Programmatic dependent launch, of sm_90: a kernel starts while the one before it in the stream still runs, and waits
// for its end where it first touches memory.
#pragma once

namespace kgate {
namespace {

// Until the kernels before have ended and what they wrote is seen. Where the launch was an ordinary one, at once.
__device__ inline void wait_for_earlier_kernels() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" : : : "memory");
#endif
}

// When all blocks have come here, or ended, the next kernel may start, if it was launched as one that waits.
__device__ inline void let_next_kernel_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" : : : "memory");
#endif
}

}  // namespace
}  // namespace kgate
