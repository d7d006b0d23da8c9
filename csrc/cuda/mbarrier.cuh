// Barriers in shared memory that count bytes: what the tensor memory accelerator, or another block, has written.
#pragma once

namespace kgate {
namespace {

// For so many arrivals, that of mbarrier_expect among them, and the bytes it tells of.
template <int Arrivals = 1>
__device__ inline void mbarrier_init(unsigned barrier) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" : : "r"(barrier), "n"(Arrivals) : "memory");
}

// After the last mbarrier_init, by the same thread: other blocks and the accelerator see it.
__device__ inline void mbarrier_fence() { asm volatile("fence.mbarrier_init.release.cluster;" : : : "memory"); }

__device__ inline void mbarrier_expect(unsigned barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" : : "r"(barrier), "r"(bytes) : "memory");
}

__device__ inline void mbarrier_arrive(unsigned barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" : : "r"(barrier) : "memory");
}

// Until the phase of this parity is over. What other blocks have written counts as seen only with Cluster.
template <bool Cluster = false>
__device__ inline void mbarrier_wait(unsigned barrier, unsigned parity) {
    if constexpr (Cluster) {
        asm volatile(
            "{\n.reg .pred p;\nAGAIN:\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%0], %1;\n"
            "@!p bra AGAIN;\n}"
            :
            : "r"(barrier), "r"(parity)
            : "memory");
    } else {
        asm volatile(
            "{\n.reg .pred p;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
            "@!p bra AGAIN;\n}"
            :
            : "r"(barrier), "r"(parity)
            : "memory");
    }
}

}  // namespace
}  // namespace kgate
