// The output of a warpgroup's earlier tiles in fp32, where accumulators of the tensor cores keep fewer bits of a sum
// than that: it waits in shared memory while they begin anew.
#pragma once

#include "cuda/named_barrier.cuh"
#include "cuda/tma.cuh"

namespace kgate {
namespace {

// At `place`, 16 bytes of each of the warpgroup's threads in turn. All threads of it do the same.
struct PromotedTotal {
    unsigned place;
    int tiles = 0;  // since it was added to
    bool any = false;
    float shrink[2] = {1.0f, 1.0f};  // what each of a thread's rows is to be multiplied by before more is added

    __device__ void rescale(const float (&by)[2]) {
        shrink[0] *= by[0];
        shrink[1] *= by[1];
    }

    __device__ unsigned address(int column) const { return place + (column * 128 + threadIdx.x % 128) * 16; }

    template <int N>
    __device__ void add_to(float (&output)[N][4]) const {
        if (!any) return;
#pragma unroll
        for (int d = 0; d < N; ++d) {
            float before[4];
            asm volatile("ld.shared.v4.f32 {%0,%1,%2,%3}, [%4];"
                         : "=f"(before[0]), "=f"(before[1]), "=f"(before[2]), "=f"(before[3])
                         : "r"(address(d))
                         : "memory");
#pragma unroll
            for (int i = 0; i < 4; ++i) output[d][i] = fmaf(before[i], shrink[i / 2], output[d][i]);
        }
    }

    // Takes the output, and leaves zeros. `barrier` is the warpgroup's own: what a copy may still read at `place`, an
    // earlier tile's result, is overwritten.
    template <int N>
    __device__ void promote(float (&output)[N][4], int barrier) {
        if (!any) {
            if (threadIdx.x % 128 == 0) store_wait_read();
            barrier_sync(barrier, 128);
        }
        add_to(output);
#pragma unroll
        for (int d = 0; d < N; ++d) {
            asm volatile("st.shared.v4.f32 [%0], {%1,%2,%3,%4};"
                         :
                         : "r"(address(d)), "f"(output[d][0]), "f"(output[d][1]), "f"(output[d][2]), "f"(output[d][3])
                         : "memory");
            output[d][0] = output[d][1] = output[d][2] = output[d][3] = 0.0f;
        }
        *this = {place, 0, true};
    }
};

}  // namespace
}  // namespace kgate
