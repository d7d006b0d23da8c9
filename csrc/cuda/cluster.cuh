// Clusters of thread blocks, of sm_90: their barrier, and addresses in each other's shared memory.
#pragma once

namespace kgate {
namespace {

// Relaxed: what a thread wrote before is not made visible by it, and it does not wait for that.
__device__ inline void cluster_arrive() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" : : : "memory");
#endif
}

__device__ inline void cluster_wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.wait.acquire.aligned;" : : : "memory");
#endif
}

// All threads of the cluster, and what they have written before is seen by all after it.
__device__ inline void cluster_sync() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" : : : "memory");
#endif
}

__device__ inline unsigned cluster_rank() {
    unsigned rank = 0;
#if __CUDA_ARCH__ >= 900
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
    return rank;
}

// What `address` in this block's shared memory is in that of the cluster's block `rank`.
__device__ inline unsigned address_in_block(unsigned address, int rank) {
    unsigned remote;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
    return remote;
}

// Two floats to another block's shared memory, at an address_in_block.
__device__ inline void store_remote(unsigned remote, float2 both) {
#if __CUDA_ARCH__ >= 900
    asm volatile("st.shared::cluster.v2.f32 [%0], {%1, %2};" : : "r"(remote), "f"(both.x), "f"(both.y) : "memory");
#endif
}

}  // namespace
}  // namespace kgate
