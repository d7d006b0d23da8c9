// A block's loop over the keys, for the kernels on mma.sync: copies of tiles under way, logits, probabilities, output.
#pragma once

#include "attention/mma/mma_tile.cuh"
#include "cuda/cp_async.cuh"
#include "cuda/tile_walk.cuh"

namespace kgate {
namespace {

// Copies tiles of Rows rows of a (rows, D) matrix, in order, into shared memory with Stride elements a row. Unlike
// copy_rows_async, a thread keeps its column and moves one pointer: kernels that are bound by issuing instructions need
// that.
template <typename T, int Rows, int D, int Stride, int Threads>
struct TileCopy {
    static constexpr int kChunks = D / 8;
    // Rows; where D is no power of two, a few threads have nothing to do.
    static constexpr int kPass = Threads / kChunks;
    static constexpr int kPasses = ceil_div(Rows, kPass);

    const T* source;
    int64_t row_stride;

    __device__ TileCopy(const T* global, int64_t stride)
        : source(global + threadIdx.x / kChunks * stride + threadIdx.x % kChunks * 8), row_stride(stride) {}

    // Of the thread's first 16 bytes, in a tile.
    static __device__ unsigned offset() { return (threadIdx.x / kChunks * Stride + threadIdx.x % kChunks * 8) * 2; }

    // Starts copying the next tile, the thread's part of it to `target`. `rows` of it exist; the others become zeros,
    // and their addresses are never read.
    __device__ void start(unsigned target, int rows) {
        const int row = threadIdx.x / kChunks;
        if (rows > 0 && (Threads % kChunks == 0 || row < kPass)) {
            const T* from = source;
#pragma unroll
            for (int i = 0; i < kPasses; ++i) {
                if (Rows % kPass != 0 && row + i * kPass >= Rows) break;
                const int bytes = row + i * kPass < rows ? 16 : 0;
                asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                             :
                             : "r"(target + i * kPass * Stride * 2), "l"(from), "r"(bytes)
                             : "memory");
                from += kPass * row_stride;
            }
        }
        source += Rows * row_stride;
    }

    // The same where all rows exist.
    __device__ void start_whole(unsigned target) {
        if (Threads % kChunks == 0 || threadIdx.x / kChunks < kPass) {
            const T* from = source;
#pragma unroll
            for (int i = 0; i < kPasses; ++i) {
                if (Rows % kPass != 0 && threadIdx.x / kChunks + i * kPass >= Rows) break;
                asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                             :
                             : "r"(target + i * kPass * Stride * 2), "l"(from)
                             : "memory");
                from += kPass * row_stride;
            }
        }
        source += Rows * row_stride;
    }
};

// Negates the 16-bit numbers of a (Rows, D) tile in shared memory.
template <int Rows, int D, int Stride, int Threads>
__device__ void negate(unsigned tile) {
    for (int i = threadIdx.x; i < Rows * D / 2; i += Threads) {
        const unsigned address = tile + (i / (D / 2) * Stride + i % (D / 2) * 2) * 2;
        unsigned pair;
        asm volatile("ld.shared.b32 %0, [%1];" : "=r"(pair) : "r"(address) : "memory");
        asm volatile("st.shared.b32 [%0], %1;" : : "r"(address), "r"(pair ^ 0x80008000) : "memory");
    }
}

// A block's walk over keys [begin, end) with BlockN keys a tile, split between its KeyGroups key groups of warps.
//
// If the registers allow it, logits are one tile ahead: turn i multiplies Q with K i + 1 while it multiplies P i with V
// i. Turn i starts a group of copies that goes where the tiles were that turn i - 1 was the last to read: V i + Stages
// - 1 and the K that is needed together with it.
template <typename T, int D, int BlockM, int BlockN, int RowGroups, int KeyGroups, int Stages, int Pad, int Registers,
          bool Fast>
struct KeyLoop {
    static constexpr int kThreads = RowGroups * KeyGroups * 32;
    static constexpr int kStride = D + Pad;
    static constexpr int kTileBytes = BlockN * kStride * 2;
    static constexpr int kWarpRows = BlockM / RowGroups;
    static constexpr int kWarpKeys = BlockN / KeyGroups;
    using Partial = WarpPartial<T, D, kWarpRows / 16, kWarpKeys, kStride, Fast>;
    using Logits = typename Partial::Logits;
    using Copy = TileCopy<T, BlockN, D, kStride, kThreads>;

    // Of a lane: output, two tiles of logits, Q or two fragments of it. A third of its Registers is for the rest, and
    // for loading early.
    static constexpr bool kAhead =
        kWarpRows / 16 * (D / 2 + 2 * kWarpKeys / 2 + (Partial::kKeepQ ? D / 4 : 8)) * 3 <= Registers * 2;
    // Whether a turn asks once if all rows that it copies exist; else of each.
    static constexpr bool kWhole = kAhead;

    // Shared memory: Stages tiles of K, Stages tiles of V, and Q, at first in place of the last V if it moves to
    // registers.
    static constexpr int kQ = (2 * Stages - (Partial::kKeepQ ? 1 : 0)) * kTileBytes;
    static constexpr int kBytes = max_of(2 * Stages * kTileBytes, kQ + BlockM * kStride * 2);

    // A number that every turn needs: kept, if there are registers to keep it in. Of the copies' offset, only blocks
    // whose warps don't split keys gained.
    static __device__ unsigned keep(unsigned x) { return Registers > 128 ? opaque(x) : x; }

    // Offset of the tile after, or before, the one at `slot`.
    static __device__ unsigned next(unsigned slot) { return slot == (Stages - 1) * kTileBytes ? 0 : slot + kTileBytes; }
    static __device__ unsigned previous(unsigned slot) {
        return slot == 0 ? (Stages - 1) * kTileBytes : slot - kTileBytes;
    }

    // `begun()` is called once the first copies are under way.
    template <typename Begun>
    static __device__ Partial run(const SdpaArgsV1& args, const Tile& tile, unsigned shared, int row_group,
                                  int key_group, int begin, int end, const Begun& begun) {
        if (KeyGroups == 1) key_group = 0;  // as the compiler should know, who has no register to spare
        const int count = end - begin;
        TileCopy<T, BlockM, D, kStride, kThreads> q(
            head_pointer(static_cast<const T*>(args.q), args.q_stride, tile) + tile.first_row * args.q_stride[2],
            args.q_stride[2]);
        Copy k(head_pointer(static_cast<const T*>(args.k), args.k_stride, tile) + begin * args.k_stride[2],
               args.k_stride[2]);
        const unsigned k_copies = shared + (KeyGroups == 1 ? keep(Copy::offset()) : Copy::offset());
        const unsigned v_copies = k_copies + Stages * kTileBytes;
        q.start(k_copies + kQ, args.seqlen - tile.first_row);
        k.start(k_copies, count);
        cp_async_commit();
        Copy v(head_pointer(static_cast<const T*>(args.v), args.v_stride, tile) + begin * args.v_stride[2],
               args.v_stride[2]);
#pragma unroll
        for (int i = 0; i < Stages - 1; ++i) {
            if (kAhead || i > 0) k.start(k_copies + (i + kAhead) * kTileBytes, count - kAhead * BlockN - i * BlockN);
            v.start(v_copies + i * kTileBytes, count - i * BlockN);
            cp_async_commit();  // also when there is nothing to copy: waits count groups
        }
        begun();
        cp_async_wait<Stages - 1>();
        __syncthreads();

        const int first_row = tile.first_row + row_group * kWarpRows;  // of this warp
        const Scale scale(args.scale);
        if (scale.negate) {
            negate<BlockM, D, kStride, kThreads>(shared + kQ);
            __syncthreads();
        }
        Partial partial(shared + kQ + row_group * kWarpRows * kStride * 2, scale);
        // Of this warp: a key before `visible` is seen by a row at least, the keys from one up to `plain` by all rows.
        const int visible = args.causal ? min(end, first_row + kWarpRows) : end;
        const int plain = args.causal ? min(end, first_row + 1) - kWarpKeys : end - kWarpKeys;
        const unsigned keys_offset = shared + key_group * kWarpKeys * kStride * 2;
        const unsigned k_lane = keep(keys_offset + Partial::key_offset());
        const unsigned v_lane = keep(keys_offset + Partial::row_offset() + Stages * kTileBytes);
        int key = begin + key_group * kWarpKeys;  // the first of the turn's
        int left = count;                         // keys of the block, from the turn's on
        unsigned slot = 0;                        // of the turn's tile of V

        const auto turn = [&](Logits& now, Logits& then) {
            cp_async_wait<Stages - 2>();  // of Stages + i groups, the first i + 2 are needed
            // All threads' copies are visible, and what is overwritten now has no reader left.
            __syncthreads();
            const unsigned k_target = k_copies + (kAhead ? slot : previous(slot));
            const unsigned v_target = v_copies + previous(slot);
            const int rest = left - kAhead * BlockN - (Stages - 1) * BlockN;
            if (kWhole && rest >= BlockN) {
                k.start_whole(k_target);
                v.start_whole(v_target);
            } else {
                k.start(k_target, rest);
                v.start(v_target, rest + kAhead * BlockN);
            }
            cp_async_commit();
            const unsigned v_rows = v_lane + slot;
            const unsigned k_rows = k_lane + (kAhead ? next(slot) : slot);
            const int coming = key + kAhead * BlockN;
            do {
                float greatest[Partial::kRowTiles][2];
                if (coming <= plain) {
                    if constexpr (kAhead) {
                        partial.advance(now, v_rows, then, k_rows);
                    } else {
                        partial.multiply_keys(then, k_rows);
                    }
                    Partial::find_greatest(then, greatest);
                } else {
                    if (key >= visible) break;
                    if constexpr (kAhead) partial.finish(now, v_rows);
                    if (coming >= visible) break;
                    partial.multiply_keys(then, k_rows);
                    Partial::mask(then, first_row, coming, end, args.causal);
                    Partial::find_greatest(then, greatest);
                    // Else both branches end in common code, and the first one waits there.
                    asm volatile("" : : : "memory");
                }
                partial.template raise<false>(greatest);
                if constexpr (!kAhead) partial.finish(then, v_rows);
            } while (false);
            key += BlockN;
            slot = next(slot);
            left -= BlockN;
        };
        Logits even;
        if constexpr (kAhead) {
            Logits odd;
            if (key < visible) {
                partial.multiply_keys(even, k_lane);
                if (key > plain) Partial::mask(even, first_row, key, end, args.causal);
                float greatest[Partial::kRowTiles][2];
                Partial::find_greatest(even, greatest);
                partial.template raise<true>(greatest);
            }
            while (left > 0) {
                turn(even, odd);
                if (left > 0) turn(odd, even);
            }
        } else {
            while (left > 0) turn(even, even);
        }
        cp_async_wait<0>();
        partial.settle();
        return partial;
    }
};

}  // namespace
}  // namespace kgate
