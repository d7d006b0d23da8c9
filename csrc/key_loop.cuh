// A block's loop over the keys, for the kernels on mma.sync: copies of tiles under way, logits, probabilities, output.
#pragma once

#include "mma_tile.cuh"

namespace kgate {
namespace {

// Copies tiles of Rows rows of a (rows, D) matrix, in order, into shared memory with Stride elements a row. Unlike
// copy_rows_async, a thread keeps its column and moves one pointer: kernels that are bound by issuing instructions need that.
template <typename T, int Rows, int D, int Stride, int Threads>
struct TileCopy {
    static constexpr int kChunks = D / 8;
    static constexpr int kPass = Threads / kChunks;  // rows; where D is no power of two, a few threads have nothing to do

    const T* source;
    int64_t row_stride;

    __device__ TileCopy(const T* global, int64_t stride)
        : source(global + threadIdx.x / kChunks * stride + threadIdx.x % kChunks * 8), row_stride(stride) {}

    // Starts copying the next tile, of which `rows` rows exist; the others become zeros, and their addresses are never read.
    __device__ void start(unsigned target, int rows) {
        const int row = threadIdx.x / kChunks;
        if (rows > 0 && (Threads % kChunks == 0 || row < kPass)) {
            target += (row * Stride + threadIdx.x % kChunks * 8) * 2;
            const T* from = source;
#pragma unroll
            for (int i = 0; i < ceil_div(Rows, kPass); ++i) {
                if (Rows % kPass != 0 && row + i * kPass >= Rows) break;
                const int bytes = row + i * kPass < rows ? 16 : 0;
                asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                             ::"r"(target + i * kPass * Stride * 2), "l"(from), "r"(bytes) : "memory");
                from += kPass * row_stride;
            }
        }
        source += Rows * row_stride;
    }
};

// A block's walk over keys [begin, end) with BlockN keys a tile, split between its KeyGroups key groups of warps.
//
// If the registers allow it, logits are one tile ahead: turn i multiplies Q with K i + 1 while it multiplies P i with V i. Turn i starts a group of copies that goes where the tiles were that turn i - 1 was
// the last to read: V i + Stages - 1 and the K that is needed together with it.
template <typename T, int D, int BlockM, int BlockN, int RowGroups, int KeyGroups, int Stages, int Pad, int Registers, bool Fast>
struct KeyLoop {
    static constexpr int kThreads = RowGroups * KeyGroups * 32;
    static constexpr int kStride = D + Pad;
    static constexpr int kTileBytes = BlockN * kStride * 2;
    static constexpr int kWarpRows = BlockM / RowGroups;
    static constexpr int kWarpKeys = BlockN / KeyGroups;
    using Share = WarpShare<T, D, kWarpRows / 16, kWarpKeys, kStride, Fast>;
    using Logits = typename Share::Logits;

    // Of a lane: output, two tiles of logits, Q. A third of its Registers is for the rest, and for loading early.
    static constexpr bool kAhead =
        kWarpRows / 16 * (D / 2 + 2 * kWarpKeys / 2 + (Share::kKeepQ ? D / 4 : 0)) * 3 <= Registers * 2;

    // Shared memory: Stages tiles of K, Stages tiles of V, and Q, at first in place of the last V if it moves to registers.
    static constexpr int kQ = (2 * Stages - (Share::kKeepQ ? 1 : 0)) * kTileBytes;
    static constexpr int kBytes = max_of(2 * Stages * kTileBytes, kQ + BlockM * kStride * 2);

    // `begun()` is called once the first copies are under way.
    template <typename Begun>
    static __device__ Share run(const SdpaArgs& args, const Tile& tile, unsigned shared, int row_group, int key_group, int begin,
                                int end, const Begun& begun) {
        using Copy = TileCopy<T, BlockN, D, kStride, kThreads>;
        if (KeyGroups == 1) key_group = 0;  // as the compiler should know, who has no register to spare
        const unsigned v_tiles = shared + Stages * kTileBytes;
        const int count = end - begin;
        TileCopy<T, BlockM, D, kStride, kThreads> q(
            head_pointer(static_cast<const T*>(args.q), args.q_stride, tile) + tile.first_row * args.q_stride[2],
            args.q_stride[2]);
        Copy k(head_pointer(static_cast<const T*>(args.k), args.k_stride, tile) + begin * args.k_stride[2], args.k_stride[2]);
        q.start(shared + kQ, args.seqlen - tile.first_row);
        k.start(shared, count);
        cp_async_commit();
        Copy v(head_pointer(static_cast<const T*>(args.v), args.v_stride, tile) + begin * args.v_stride[2], args.v_stride[2]);
#pragma unroll
        for (int i = 0; i < Stages - 1; ++i) {
            if (kAhead || i > 0) k.start(shared + (i + kAhead) * kTileBytes, count - (i + kAhead) * BlockN);
            v.start(v_tiles + i * kTileBytes, count - i * BlockN);
            cp_async_commit();  // also when there is nothing to copy: waits count groups
        }
        begun();
        cp_async_wait<Stages - 1>();
        __syncthreads();

        const int first_row = tile.first_row + row_group * kWarpRows;  // of this warp
        const unsigned keys_offset = key_group * kWarpKeys * kStride * 2;
        const Scale scale(args.scale);
        Share share(shared + kQ + row_group * kWarpRows * kStride * 2, scale);
        const auto first_key = [&](int index) { return begin + index * BlockN + key_group * kWarpKeys; };
        const auto visible = [&](int index) {  // once false, false for all later tiles
            return first_key(index) < end && !(args.causal && first_key(index) > first_row + kWarpRows - 1);
        };
        const auto take = [&](Logits& logits, int index, auto first) {
            const int key = first_key(index);
            if (scale.negate) Share::negate(logits);
            if (key + kWarpKeys > end || (args.causal && key + kWarpKeys - 1 > first_row)) {
                Share::mask(logits, first_row, key, end, args.causal);
            }
            share.template raise_maxima<decltype(first)::value>(logits);
        };
        const auto turn = [&](Logits& now, Logits& next, int index) {
            cp_async_wait<Stages - 2>();  // of Stages + index groups, the first index + 2 are needed
            __syncthreads();              // all threads' copies are visible, and what is overwritten now has no reader left
            const int next_v = index + Stages - 1;
            const int next_k = next_v + kAhead;
            k.start(shared + next_k % Stages * kTileBytes, count - next_k * BlockN);
            v.start(v_tiles + next_v % Stages * kTileBytes, count - next_v * BlockN);
            cp_async_commit();
            const unsigned v_rows = v_tiles + index % Stages * kTileBytes + keys_offset;
            const unsigned k_rows = shared + (index + kAhead) % Stages * kTileBytes + keys_offset;
            if constexpr (kAhead) {
                if (visible(index + 1)) {
                    share.template advance<true>(now, v_rows, next, k_rows);
                    take(next, index + 1, std::false_type());
                } else if (visible(index)) {
                    share.template advance<false>(now, v_rows, next, k_rows);
                }
            } else if (visible(index)) {
                share.multiply_keys(now, k_rows);
                take(now, index, std::false_type());
                share.template advance<false>(now, v_rows, now, k_rows);
            }
        };
        Logits even;
        if constexpr (kAhead) {
            Logits odd;
            if (visible(0)) {
                share.multiply_keys(even, shared + keys_offset);
                take(even, 0, std::true_type());
            }
            for (int index = 0; index * BlockN < count; index += 2) {
                turn(even, odd, index);
                if ((index + 1) * BlockN < count) turn(odd, even, index + 1);
            }
        } else {
            for (int index = 0; index * BlockN < count; ++index) turn(even, even, index);
        }
        cp_async_wait<0>();
        return share;
    }
};

}  // namespace
}  // namespace kgate
