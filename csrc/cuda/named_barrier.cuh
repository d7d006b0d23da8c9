// Barriers for some of a block's warps, and the registers that warps leave to each other.
#pragma once

namespace kgate {
namespace {

// Barrier 0 is __syncthreads. Until `threads` of them have come here or to barrier_arrive: whole warps.
__device__ inline void barrier_sync(int barrier, int threads) {
    asm volatile("bar.sync %0, %1;" : : "r"(barrier), "r"(threads) : "memory");
}

// As barrier_sync, without waiting.
__device__ inline void barrier_arrive(int barrier, int threads) {
    asm volatile("bar.arrive %0, %1;" : : "r"(barrier), "r"(threads) : "memory");
}

// By all warps of a warpgroup: registers a thread from here on. Those that some leave, others can take.
template <int Registers>
__device__ inline void leave_registers() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" : : "n"(Registers));
#endif
}

template <int Registers>
__device__ inline void take_registers() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" : : "n"(Registers));
#endif
}

}  // namespace
}  // namespace kgate
