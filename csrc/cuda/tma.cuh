// Tensor maps: what the tensor memory accelerator of sm_90 knows of a tensor, made on the host for one launch; and
// the copies that it makes.
#pragma once

#include <cuda.h>

#include "cuda/launch.cuh"
#include "cuda/mbarrier.cuh"
#include "cuda/tile_walk.cuh"

namespace kgate {
namespace {

using EncodeTiled = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                                 const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                                 CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

// The driver's function, asked for once: kernel libraries do not link the driver.
int find_encode_tiled(EncodeTiled& encode) {
    static std::atomic<void*> known;

    void* found = known.load(std::memory_order_relaxed);
    if (found == nullptr) {
        cudaDriverEntryPointQueryResult answer = cudaDriverEntryPointSymbolNotFound;
        const cudaError_t error =
            cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &answer);
        if (error != cudaSuccess || answer != cudaDriverEntryPointSuccess) {
            cudaGetLastError();  // reported here: the thread's last-error slot should not report it again
            return fail(kCudaError, "The driver makes no tensor maps. Use one for CUDA 12 or newer.");
        }
        known.store(found, std::memory_order_relaxed);
    }
    encode = reinterpret_cast<EncodeTiled>(found);
    return 0;
}

// What a map knows of a tensor of 16-bit or 8-bit elements.
struct TensorExtents {
    int batch, heads, rows, columns;
    int dtype;  // a Dtype
};

// The driver's map of `Rank` axes, the innermost first, whose chunks of 16 bytes are swizzled in each 128.
template <int Rank>
int encode_map(CUtensorMap& map, const char* name, const void* pointer, int dtype, const cuuint64_t (&extent)[Rank],
               const cuuint64_t (&bytes)[Rank - 1], const cuuint32_t (&box)[Rank], CUtensorMapL2promotion promotion) {
    EncodeTiled encode = nullptr;
    if (int code = find_encode_tiled(encode)) return code;
    cuuint32_t step[Rank];
    for (cuuint32_t& one : step) one = 1;
    const auto type = dtype == Float16    ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                      : dtype == BFloat16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                          : CU_TENSOR_MAP_DATA_TYPE_UINT8;
    const CUresult result =
        encode(&map, type, Rank, const_cast<void*>(pointer), extent, bytes, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
               CU_TENSOR_MAP_SWIZZLE_128B, promotion, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result == CUDA_SUCCESS) return 0;
    return fail(kUnsupported, "The driver makes no tensor map of %s (error %d). Pass a copy, such as %s.contiguous().",
                name, static_cast<int>(result), name);
}

// Of boxes of `rows` rows and 128 bytes, whose chunks are swizzled; what does not exist of them becomes zeros when it
// is read, and is left out when it is written.
int make_tensor_map(CUtensorMap& map, const char* name, const void* pointer, const int64_t (&stride)[3],
                    const TensorExtents& of, int rows,
                    CUtensorMapL2promotion promotion = CU_TENSOR_MAP_L2_PROMOTION_NONE) {
    if (planning != nullptr) return 0;  // where there may be no driver
    const cuuint64_t extent[4] = {static_cast<cuuint64_t>(of.columns), static_cast<cuuint64_t>(of.rows),
                                  static_cast<cuuint64_t>(of.heads), static_cast<cuuint64_t>(of.batch)};
    const unsigned size = of.dtype == Float8E4M3 ? 1 : 2;
    cuuint64_t bytes[3];
    for (int i = 0; i < 3; ++i) {  // the stride of an axis of length 1 is never used, and may be one that no map takes
        bytes[i] =
            extent[i + 1] > 1 ? static_cast<cuuint64_t>(stride[2 - i]) * size : (extent[0] * size + 15) / 16 * 16;
    }
    const cuuint32_t box[4] = {128 / size, static_cast<cuuint32_t>(rows), 1, 1};
    return encode_map<4>(map, name, pointer, of.dtype, extent, bytes, box, promotion);
}

// Of boxes of `rows` whole rows, of 64 or 128 elements of 16 bits: an axis more, of the lines of 128 bytes of a row.
int make_row_map(CUtensorMap& map, const char* name, const void* pointer, const int64_t (&stride)[3],
                 const TensorExtents& of, int rows,
                 CUtensorMapL2promotion promotion = CU_TENSOR_MAP_L2_PROMOTION_NONE) {
    if (planning != nullptr) return 0;  // where there may be no driver
    const cuuint32_t lines = of.columns * 2 / 128;
    const cuuint64_t extent[5] = {64, lines, static_cast<cuuint64_t>(of.rows), static_cast<cuuint64_t>(of.heads),
                                  static_cast<cuuint64_t>(of.batch)};
    cuuint64_t bytes[4] = {128};
    for (int i = 1; i < 4; ++i) {  // as above
        bytes[i] = extent[i + 1] > 1 ? static_cast<cuuint64_t>(stride[3 - i]) * 2 : lines * 128;
    }
    const cuuint32_t box[5] = {64, lines, static_cast<cuuint32_t>(rows), 1, 1};
    return encode_map<5>(map, name, pointer, of.dtype, extent, bytes, box, promotion);
}

// The same of a tensor of plain attention.
int make_tensor_map(CUtensorMap& map, const char* name, const void* pointer, const int64_t (&stride)[3],
                    const SdpaArgsV1& args, int rows) {
    return make_tensor_map(map, name, pointer, stride,
                           TensorExtents{args.batch, args.heads, args.seqlen, args.head_dim, args.dtype}, rows);
}

// By one thread: the box of the tensor's rows from `row` and columns from `column` on; `barrier` counts its bytes.
__device__ inline void copy_box(unsigned target, const CUtensorMap& map, int column, int row, const Tile& tile,
                                unsigned barrier) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2, %3, %4, %5}], [%6];"
        :
        : "r"(target), "l"(&map), "r"(column), "r"(row), "r"(tile.head), "r"(tile.batch), "r"(barrier)
        : "memory");
}

// The same of whole rows, by a make_row_map.
__device__ inline void copy_rows(unsigned target, const CUtensorMap& map, int row, const Tile& tile, unsigned barrier) {
    asm volatile(
        "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2, %2, %3, %4, %5}], [%6];"
        :
        : "r"(target), "l"(&map), "r"(0), "r"(row), "r"(tile.head), "r"(tile.batch), "r"(barrier)
        : "memory");
}

// What is read once may leave L2 first.
__device__ inline uint64_t evict_first() {
    uint64_t policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

// Both with a policy of L2.
__device__ inline void copy_box(unsigned target, const CUtensorMap& map, int column, int row, const Tile& tile,
                                unsigned barrier, uint64_t policy) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
        "[%0], [%1, {%2, %3, %4, %5}], [%6], %7;"
        :
        : "r"(target), "l"(&map), "r"(column), "r"(row), "r"(tile.head), "r"(tile.batch), "r"(barrier), "l"(policy)
        : "memory");
}

__device__ inline void copy_rows(unsigned target, const CUtensorMap& map, int row, const Tile& tile, unsigned barrier,
                                 uint64_t policy) {
    asm volatile(
        "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
        "[%0], [%1, {%2, %2, %3, %4, %5}], [%6], %7;"
        :
        : "r"(target), "l"(&map), "r"(0), "r"(row), "r"(tile.head), "r"(tile.batch), "r"(barrier), "l"(policy)
        : "memory");
}

// By one thread: `bytes` that lie together, a multiple of 16, as they are.
__device__ inline void copy_bytes(unsigned target, const void* source, unsigned bytes, unsigned barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
                 :
                 : "r"(target), "l"(source), "r"(bytes), "r"(barrier)
                 : "memory");
}

// By one thread, the other way; what other threads have written is behind async_fence and a barrier.
__device__ inline void store_bytes(void* target, unsigned source, unsigned bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;"
                 :
                 : "l"(target), "r"(source), "r"(bytes)
                 : "memory");
}

// By one thread, the other way; what other threads have written is behind async_fence and a barrier.
__device__ inline void store_box(const CUtensorMap& map, int column, int row, const Tile& tile, unsigned source) {
    asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.bulk_group [%0, {%1, %2, %3, %4}], [%5];"
                 :
                 : "l"(&map), "r"(column), "r"(row), "r"(tile.head), "r"(tile.batch), "r"(source)
                 : "memory");
}

// The thread's store_box since the last one are a group.
__device__ inline void store_commit() { asm volatile("cp.async.bulk.commit_group;" : : : "memory"); }

// Until the thread's stores have read their shared memory, which may then be written, or end with the block.
__device__ inline void store_wait_read() { asm volatile("cp.async.bulk.wait_group.read 0;" : : : "memory"); }

// Until the thread's stores are done.
__device__ inline void store_wait() { asm volatile("cp.async.bulk.wait_group 0;" : : : "memory"); }

// What this thread has written to shared memory is seen by the accelerator and by wgmma.
__device__ inline void async_fence() { asm volatile("fence.proxy.async.shared::cta;" : : : "memory"); }

// Ahead of the first use of a map, which is fetched meanwhile.
__device__ inline void prefetch_map(const CUtensorMap& map) {
    asm volatile("prefetch.tensormap [%0];" : : "l"(&map) : "memory");
}

}  // namespace
}  // namespace kgate
