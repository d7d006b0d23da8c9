// cp.async: copies to shared memory that a thread starts and waits for later.
#pragma once

#include "cuda/tile_walk.cuh"

namespace kgate {
namespace {

// Copies 16 bytes to shared memory, or fills them with zeros without reading `global` when `valid` is false.
__device__ inline void cp_async_16(void* shared, const void* global, bool valid) {
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" : : "r"(address), "l"(global), "r"(bytes) : "memory");
}

// Closes a group of copies. Waits count groups, not copies: commit in every iteration, even when nothing was copied.
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" : : : "memory"); }

// Waits until at most Pending of this thread's latest groups are under way. Other threads' copies need a barrier too.
template <int Pending>
__device__ inline void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" : : "n"(Pending) : "memory");
}

// Starts copying rows [first, first + Rows) of a (rows, D) matrix into shared memory with Stride elements a row. Rows
// from `rows` on become zeros: they belong to the next head, or to nobody. Threads copy, this one as number `thread` of
// them.
template <typename T, int Rows, int D, int Stride, int Threads>
__device__ void copy_rows_async(T* shared, const T* global, int64_t row_stride, int first, int rows,
                                int thread = threadIdx.x) {
    constexpr int kChunks = D / 8;
#pragma unroll 1  // unrolled, the addresses cost up to 40 registers a thread, and with them a second block on the SM
    for (int i = 0; i < ceil_div(Rows * kChunks, Threads); ++i) {
        const int chunk = i * Threads + thread;
        if (Rows * kChunks % Threads != 0 && chunk >= Rows * kChunks) break;
        const int row = chunk / kChunks;
        const int column = chunk % kChunks * 8;
        const bool valid = first + row < rows;
        const T* source = valid ? global + (first + row) * row_stride + column : global;
        cp_async_16(shared + row * Stride + column, source, valid);
    }
}

}  // namespace
}  // namespace kgate
