// Operands of nvcuda::wmma, loaded from shared memory.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

#include <type_traits>

namespace kgate {

namespace wmma = nvcuda::wmma;

// load_matrix_sync from shared memory. For bfloat16, nvcc 13.0 compiles the library's function to loads through generic
// addresses; the same PTX instruction with its state space named becomes ldmatrix, as it does for half.
template <typename Use, typename Order>
__device__ void load_fragment(wmma::fragment<Use, 16, 16, 16, __half, Order>& fragment, const __half* source,
                              int stride) {
    wmma::load_matrix_sync(fragment, source, stride);
}

template <typename Use, typename Order>
__device__ void load_fragment(wmma::fragment<Use, 16, 16, 16, __nv_bfloat16, Order>& fragment,
                              const __nv_bfloat16* source, int stride) {
    static_assert(sizeof(fragment) == 16, "A bfloat16 operand is four registers.");
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(source));
    unsigned (&x)[4] = reinterpret_cast<unsigned (&)[4]>(fragment);
    if constexpr (std::is_same_v<Use, wmma::matrix_a>) {
        static_assert(std::is_same_v<Order, wmma::row_major>, "Q and P are row-major.");
        asm volatile("wmma.load.a.sync.aligned.row.m16n16k16.shared.bf16 {%0, %1, %2, %3}, [%4], %5;"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(address), "r"(stride)
                     : "memory");
    } else if constexpr (std::is_same_v<Order, wmma::row_major>) {
        asm volatile("wmma.load.b.sync.aligned.row.m16n16k16.shared.bf16 {%0, %1, %2, %3}, [%4], %5;"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(address), "r"(stride)
                     : "memory");
    } else {
        asm volatile("wmma.load.b.sync.aligned.col.m16n16k16.shared.bf16 {%0, %1, %2, %3}, [%4], %5;"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(address), "r"(stride)
                     : "memory");
    }
}

}  // namespace kgate
