// ldmatrix and mma.sync.m16n8k16, by their names in PTX. In a warp, lane l is (group, quad) = (l / 4, l % 4):
//
//   A (16, 16)  a[0] row group, columns 2 quad, 2 quad + 1     a[1] row group + 8      a[2], a[3] the same, columns + 8
//   B (16, 8)   b[0] rows 2 quad, 2 quad + 1 of column group   b[1] the same, rows + 8
//   C (16, 8)   c[0], c[1] row group, columns 2 quad, 2 quad + 1                       c[2], c[3] row group + 8
#pragma once

#include <type_traits>

#include "cuda/conversions.cuh"

namespace kgate {
namespace {

// Of shared memory, as instructions take it.
__device__ inline unsigned shared_address(const void* pointer) {
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Four 8x8 matrices of 16-bit elements: lanes 8 i to 8 i + 7 give the rows of matrix i, 16 bytes each. The lane gets,
// of each, elements 2 quad and 2 quad + 1 of row `group`.
__device__ inline void load_matrices(unsigned (&x)[4], unsigned address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(address)
                 : "memory");
}

__device__ inline void load_matrices(unsigned (&x)[4], const void* row) { load_matrices(x, shared_address(row)); }

// The same of the transposed matrices.
__device__ inline void load_matrices_transposed(unsigned (&x)[4], unsigned address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(address)
                 : "memory");
}

__device__ inline void load_matrices_transposed(unsigned (&x)[4], const void* row) {
    load_matrices_transposed(x, shared_address(row));
}

// C += A B, 16x8x16, summed in fp32.
template <typename T>
__device__ void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    if constexpr (std::is_same_v<T, __half>) {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    } else {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
}

// Over the four lanes that hold a row of an accumulator.
__device__ inline float quad_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffff, x, 2));
}

__device__ inline float quad_sum(float x) {
    x += __shfl_xor_sync(0xffffffff, x, 1);
    return x + __shfl_xor_sync(0xffffffff, x, 2);
}

}  // namespace
}  // namespace kgate
