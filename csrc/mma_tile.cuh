// What the kernels on mma.sync share: ldmatrix, m16n8k16, one warp's share of attention, and the merging of such shares.
//
// A warp takes 16 or 32 query rows and a stretch of keys. Logits, probabilities and output stay in registers, in the layout
// of the instruction's accumulator: of each 16x8 tile a lane holds row lane / 4, columns 2 * (lane % 4) and the next, and the
// same columns of row lane / 4 + 8. The four lanes of a quad share a row, so that two shuffles reduce it, and a pair of
// accumulator tiles of P is, packed to 16 bits, just the left operand of the product with V.
#pragma once

#include <type_traits>

#include "cuda_common.cuh"

namespace kgate {
namespace {

// The oldest architecture that is compiled for, 890 say. Host code needs it too: tiles, hence launches, depend on it.
constexpr int kArchitectures[] = {__CUDA_ARCH_LIST__};
constexpr int kOldestArchitecture = kArchitectures[0];

// -------------------------------------------------------------------------------------------------------- instructions

__device__ inline unsigned shared_address(const void* pointer) {
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Four 8x8 matrices of 16-bit elements; lanes 8i to 8i + 7 name the rows of matrix i.
__device__ inline void load_matrices(unsigned (&x)[4], unsigned address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(address) : "memory");
}

__device__ inline void load_matrices_transposed(unsigned (&x)[4], unsigned address) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(address) : "memory");
}

// c += a b, a of 16x16, b of 16x8.
template <typename T>
__device__ void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    if constexpr (std::is_same_v<T, __half>) {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    } else {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
}

template <typename T>
__device__ unsigned pack(float a, float b) {
    const typename Pair<T>::type pair = Pair<T>::from_float(a, b);
    unsigned word;
    memcpy(&word, &pair, 4);
    return word;
}

// Copies tiles of Rows rows of a (rows, D) matrix, in order, into shared memory with Stride elements a row. Unlike
// copy_rows_async, a thread keeps its column and moves one pointer: kernels that are bound by issuing instructions need that.
template <typename T, int Rows, int D, int Stride, int Threads>
struct TileCopy {
    static constexpr int kChunks = D / 8;
    static constexpr int kPass = Threads / kChunks;  // rows; where D is no power of two, a few threads have nothing to do

    const T* source;
    int64_t row_stride;
    int rows;  // that are left; those behind them become zeros, and their addresses are never read

    __device__ TileCopy(const T* global, int64_t stride, int count)
        : source(global + threadIdx.x / kChunks * stride + threadIdx.x % kChunks * 8), row_stride(stride), rows(count) {}

    __device__ void start(unsigned target) {
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
        rows -= Rows;
    }
};

// ------------------------------------------------------------------------------------------------------ a warp's share

// The logits' scale in the log2 domain. It is made positive, with the logits negated instead, so that the greatest unscaled
// logit is the greatest scaled one; and never 0, because 0 * -inf, a masked logit, is NaN.
struct Scale {
    float log2;  // > 0
    bool negate;
    __device__ explicit Scale(float scale)
        : log2(fmaxf(fabsf(scale) * kLog2E, std::numeric_limits<float>::min())), negate(scale < 0.0f) {}
};

// A row is rescaled only when its maximum has grown by more than this, in the log2 domain, since it was last taken: until then
// probabilities may exceed 1, by up to 256 times, of which neither 16-bit format nor the fp32 sums take notice. On random
// inputs the first tile settles nearly every row.
constexpr float kGrowth = 8.0f;

template <typename T, int D, int RowTiles, int Keys, int Stride, bool Fast>
struct WarpShare {
    static constexpr int kRows = 16 * RowTiles;
    static constexpr int kRowTiles = RowTiles;
    static constexpr int kSteps = D / 16;
    static constexpr int kColumns = D / 8;
    // Beyond this Q would push the output out of the register file: it is read from shared memory for every tile of keys.
    static constexpr bool kKeepQ = RowTiles * kSteps * 4 <= 48;
    using Logits = float[RowTiles][Keys / 8][4];

    unsigned q[kKeepQ ? RowTiles : 1][kKeepQ ? kSteps : 1][4];
    unsigned q_address;
    float scale;
    float output[RowTiles][kColumns][4];
    float row_max[RowTiles][2];  // of the unscaled logits; of rows lane / 4 and lane / 4 + 8
    float row_sum[RowTiles][4];  // a column of the output like the others, of a V that is all ones: rows as in the output

    // Lane l names row l % 16, columns 8 * (l / 16) and on: of Q, the left operand, and of V, transposed while it is loaded.
    static __device__ unsigned row_offset() {
        const int lane = threadIdx.x % 32;
        return (lane % 16 * Stride + lane / 16 * 8) * 2;
    }
    // K as it lies is the right operand: keys 0-7 and columns 0-7, keys 0-7 and columns 8-15, keys 8-15 and columns 0-7, ...
    static __device__ unsigned key_offset() {
        const int lane = threadIdx.x % 32;
        return ((lane / 16 * 8 + lane % 8) * Stride + lane / 8 % 2 * 8) * 2;
    }

    // `q_rows`: address of the warp's first row of Q in shared memory.
    __device__ WarpShare(unsigned q_rows, const Scale& by) : q_address(q_rows + row_offset()), scale(by.log2) {
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
            if constexpr (kKeepQ) {
#pragma unroll
                for (int d = 0; d < kSteps; ++d) load_q(q[m][d], m, d);
            }
#pragma unroll
            for (int d = 0; d < kColumns; ++d) {
                output[m][d][0] = output[m][d][1] = output[m][d][2] = output[m][d][3] = 0.0f;
            }
            row_max[m][0] = row_max[m][1] = -INFINITY;
            row_sum[m][0] = row_sum[m][1] = row_sum[m][2] = row_sum[m][3] = 0.0f;
        }
    }

    __device__ void load_q(unsigned (&fragment)[4], int m, int d) const {
        load_matrices(fragment, q_address + (m * 16 * Stride + d * 16) * 2);
    }

    // Adds columns 16 d to 16 d + 15 of Q and K to the unscaled logits of all rows and the Keys keys at `k_address`.
    __device__ void multiply_keys(Logits& logits, unsigned k_address, int d) const {
        unsigned left[RowTiles][4];
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
            if constexpr (kKeepQ) {
#pragma unroll
                for (int i = 0; i < 4; ++i) left[m][i] = q[m][d][i];
            } else {
                load_q(left[m], m, d);
            }
        }
#pragma unroll
        for (int j = 0; j < Keys / 16; ++j) {
            unsigned right[4];
            load_matrices(right, k_address + (j * 16 * Stride + d * 16) * 2);
#pragma unroll
            for (int m = 0; m < RowTiles; ++m) {
                multiply_add<T>(logits[m][2 * j], left[m], right[0], right[1]);
                multiply_add<T>(logits[m][2 * j + 1], left[m], right[2], right[3]);
            }
        }
    }

    static __device__ void negate(Logits& logits) {
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
#pragma unroll
            for (int n = 0; n < Keys / 8; ++n) {
#pragma unroll
                for (int i = 0; i < 4; ++i) logits[m][n][i] = -logits[m][n][i];
            }
        }
    }

    static __device__ void clear(Logits& logits) {
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
#pragma unroll
            for (int n = 0; n < Keys / 8; ++n) logits[m][n][0] = logits[m][n][1] = logits[m][n][2] = logits[m][n][3] = 0.0f;
        }
    }

    // Unscaled logits of the Keys keys at `k_rows` in shared memory.
    __device__ void multiply_keys(Logits& logits, unsigned k_rows) const {
        clear(logits);
#pragma unroll
        for (int d = 0; d < kSteps; ++d) multiply_keys(logits, k_rows + key_offset(), d);
    }

    // Hides keys from `seqlen` on and, if causal, those after a row; `row` and `key` are the first of the warp.
    static __device__ void mask(Logits& logits, int row, int key, int seqlen, bool causal) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const int end = causal ? min(row + m * 16 + h * 8 + lane / 4 + 1, seqlen) : seqlen;
                const int visible = end - key - lane % 4 * 2;  // of this lane's columns
#pragma unroll
                for (int n = 0; n < Keys / 8; ++n) {
                    if (n * 8 >= visible) logits[m][n][2 * h] = -INFINITY;
                    if (n * 8 + 1 >= visible) logits[m][n][2 * h + 1] = -INFINITY;
                }
            }
        }
    }

    // Takes the logits into the rows' maxima and, unless they are the First, rescales what there is where a maximum has grown.
    template <bool First>
    __device__ void raise_maxima(const Logits& logits) {
        float raised[RowTiles][2];
        bool grown = false;
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                float best[Keys / 8];  // as a tree: a chain would take twice as long
#pragma unroll
                for (int n = 0; n < Keys / 8; ++n) best[n] = fmaxf(logits[m][n][2 * h], logits[m][n][2 * h + 1]);
#pragma unroll
                for (int step = 1; step < Keys / 8; step *= 2) {
#pragma unroll
                    for (int n = 0; n + step < Keys / 8; n += 2 * step) best[n] = fmaxf(best[n], best[n + step]);
                }
                float maximum = fmaxf(row_max[m][h], best[0]);
                maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffff, maximum, 1));
                maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffff, maximum, 2));
                raised[m][h] = maximum;
                if constexpr (First) row_max[m][h] = maximum;
                grown |= (maximum - row_max[m][h]) * scale > kGrowth;  // false for NaN, where both are -inf
            }
        }
        if constexpr (!First) {
            if (!__any_sync(0xffffffff, grown)) return;
#pragma unroll
            for (int m = 0; m < RowTiles; ++m) {
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    const float shrink = exp2_of<Fast>((row_max[m][h] - finite_max(raised[m][h])) * scale);  // 0 at first
                    row_max[m][h] = raised[m][h];
                    row_sum[m][2 * h] *= shrink;
                    row_sum[m][2 * h + 1] *= shrink;
#pragma unroll
                    for (int d = 0; d < kColumns; ++d) {
                        output[m][d][2 * h] *= shrink;
                        output[m][d][2 * h + 1] *= shrink;
                    }
                }
            }
        }
    }

    // Turns the logits `now` into probabilities, adds them up, and adds their product with the Keys values at `v_rows`; with
    // More, also the logits `next` of the Keys keys at `k_rows`. All that is one stretch of code without a branch, in which
    // exponentials of 16 keys, 16 columns of Q K^T and 16 keys of P V take turns: neither the tensor cores nor the
    // special-function units wait until the other have done.
    template <bool More>
    __device__ void advance(const Logits& now, unsigned v_rows, Logits& next, unsigned k_rows) {
        const unsigned v_address = v_rows + row_offset();
        const unsigned k_address = k_rows + key_offset();
        float base[RowTiles][2];
#pragma unroll
        for (int m = 0; m < RowTiles; ++m) {
            base[m][0] = finite_max(row_max[m][0]) * scale;
            base[m][1] = finite_max(row_max[m][1]) * scale;
        }
        if constexpr (More) clear(next);
        constexpr int kTurns = Keys / 16;
        constexpr unsigned kOnes = std::is_same_v<T, __half> ? 0x3c003c00 : 0x3f803f80;
#pragma unroll
        for (int j = 0; j < kTurns; ++j) {
            unsigned left[RowTiles][4];
#pragma unroll
            for (int m = 0; m < RowTiles; ++m) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {  // rows 0-7 and 8-15 of columns 0-7, then of 8-15
                    const float(&pair)[4] = now[m][2 * j + i / 2];
                    const float a = exp2_of<Fast>(fmaf(pair[i % 2 * 2], scale, -base[m][i % 2]));
                    const float b = exp2_of<Fast>(fmaf(pair[i % 2 * 2 + 1], scale, -base[m][i % 2]));
                    DEBUG_ASSERT(!(fmaxf(a, b) > exp2f(kGrowth + 0.01f)));
                    left[m][i] = pack<T>(a, b);
                }
                // The sum is of the rounded probabilities that V is multiplied by: where one key has all the weight, rounding
                // cancels. The tensor cores have room for it, the other pipes have not.
                multiply_add<T>(row_sum[m], left[m], kOnes, kOnes);
            }
            if constexpr (More) {
#pragma unroll
                for (int d = j * kSteps / kTurns; d < (j + 1) * kSteps / kTurns; ++d) multiply_keys(next, k_address, d);
            }
#pragma unroll
            for (int d = 0; d < kSteps; ++d) {
                unsigned right[4];
                load_matrices_transposed(right, v_address + (j * 16 * Stride + d * 16) * 2);
#pragma unroll
                for (int m = 0; m < RowTiles; ++m) {
                    multiply_add<T>(output[m][2 * d], left[m], right[0], right[1]);
                    multiply_add<T>(output[m][2 * d + 1], left[m], right[2], right[3]);
                }
            }
        }
    }
};

// --------------------------------------------------------------------------------------------------------- the key loop

// A block's walk over keys [begin, end) with BlockN keys a tile, split between its KeyGroups key groups of warps.
//
// With Ahead, logits are one tile ahead: turn i multiplies Q with K i + 1 while it multiplies P i with V i. Without, it needs
// the registers of one tile of logits less. Turn i starts a group of copies that goes where the tiles were that turn i - 1 was
// the last to read: V i + Stages - 1 and the K that is needed together with it.
template <typename T, int D, int BlockM, int BlockN, int RowGroups, int KeyGroups, int Stages, int Pad, bool Ahead, bool Fast>
struct KeyLoop {
    static constexpr int kThreads = RowGroups * KeyGroups * 32;
    static constexpr int kStride = D + Pad;
    static constexpr int kTileBytes = BlockN * kStride * 2;
    static constexpr int kWarpRows = BlockM / RowGroups;
    static constexpr int kWarpKeys = BlockN / KeyGroups;
    using Share = WarpShare<T, D, kWarpRows / 16, kWarpKeys, kStride, Fast>;
    using Logits = typename Share::Logits;

    // Shared memory: Stages tiles of K, Stages tiles of V, and Q, at first in place of the last V if it moves to registers.
    static constexpr int kQ = (2 * Stages - (Share::kKeepQ ? 1 : 0)) * kTileBytes;
    static constexpr int kBytes = max_of(2 * Stages * kTileBytes, kQ + BlockM * kStride * 2);

    // `begun()` is called once the first copies are under way.
    template <typename Begun>
    static __device__ Share run(const SdpaArgs& args, const Tile& tile, unsigned shared, int row_group, int key_group, int begin,
                                int end, const Begun& begun) {
        using Copy = TileCopy<T, BlockN, D, kStride, kThreads>;
        const unsigned v_tiles = shared + Stages * kTileBytes;
        const int count = end - begin;
        TileCopy<T, BlockM, D, kStride, kThreads> q(
            head_pointer(static_cast<const T*>(args.q), args.q_stride, tile) + tile.first_row * args.q_stride[2],
            args.q_stride[2], args.seqlen - tile.first_row);
        Copy k(head_pointer(static_cast<const T*>(args.k), args.k_stride, tile) + begin * args.k_stride[2], args.k_stride[2],
               count);
        q.start(shared + kQ);
        k.start(shared);
        cp_async_commit();
        Copy v(head_pointer(static_cast<const T*>(args.v), args.v_stride, tile) + begin * args.v_stride[2], args.v_stride[2],
               count);
#pragma unroll
        for (int i = 0; i < Stages - 1; ++i) {
            if (Ahead || i > 0) k.start(shared + (i + Ahead) * kTileBytes);
            v.start(v_tiles + i * kTileBytes);
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
            k.start(shared + (index + Stages - 1 + Ahead) % Stages * kTileBytes);
            v.start(v_tiles + (index + Stages - 1) % Stages * kTileBytes);
            cp_async_commit();
            const unsigned v_rows = v_tiles + index % Stages * kTileBytes + keys_offset;
            const unsigned k_rows = shared + (index + Ahead) % Stages * kTileBytes + keys_offset;
            if constexpr (Ahead) {
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
        if constexpr (Ahead) {
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

// ------------------------------------------------------------------------------------------------------ merging shares

// Relaxed: what a thread wrote before is not made visible by it, and it does not wait for that.
__device__ inline void cluster_arrive() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}

__device__ inline void cluster_wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

__device__ inline unsigned cluster_rank() {
    unsigned rank = 0;
#if __CUDA_ARCH__ >= 900
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
    return rank;
}

// Shares of the same rows over different keys, held by the Groups key groups of each of the Ranks blocks of a cluster, become
// the output. Each share is the owner of some columns: it gets those columns of the other shares through its block's shared
// memory, one tile of 16x8 as 32 times 16 bytes, together with everybody's maxima and sums. All send, then all receive.
template <typename Share, int RowGroups, int Groups, int Ranks>
struct Merge {
    static constexpr int kShares = Groups * Ranks;
    static constexpr int kOwned = ceil_div(Share::kColumns, kShares);  // tiles wide; the last owners may have fewer
    static constexpr int kRows = Share::kRows;
    static constexpr int kTiles = RowGroups * kShares * kRows * 8;  // offset of the tiles: behind (maximum, sum) of each row
    static constexpr int kBarrier = kTiles + RowGroups * Groups * (kShares - 1) * kOwned * Share::kRowTiles * 512;
    static constexpr int kBytes = kBarrier + (Ranks > 1 ? 16 : 0);

    unsigned area;  // address in shared memory, the same in all blocks
    int row_group;
    int group;
    int rank;

    __device__ int share() const { return rank * Groups + group; }

    __device__ unsigned statistics(int of) const { return area + (row_group * kShares + of) * kRows * 8; }

    __device__ unsigned tile(int owner_group, int owner, int sender, int column, int m) const {
        const int slot = sender < owner ? sender : sender - 1;  // an owner sends itself nothing
        const int row_of_slots = (row_group * Groups + owner_group) * (kShares - 1) + slot;
        return area + kTiles + ((row_of_slots * kOwned + column) * Share::kRowTiles + m) * 512 + threadIdx.x % 32 * 16;
    }

    // Between blocks, a store carries its own completion: the receiver's mbarrier counts the bytes that have arrived. A barrier
    // of the cluster would have to wait until the stores are acknowledged.
    static __device__ unsigned in_block(unsigned address, int rank) {
        if constexpr (Ranks > 1) {
            unsigned remote;
            asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
            return remote;
        }
        return address;
    }

    __device__ void store(unsigned address, int rank, const float (&x)[4]) const {
        if constexpr (Ranks > 1) {
            asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, [%5];"
                         ::"r"(in_block(address, rank)), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]),
                         "r"(in_block(area + kBarrier, rank)) : "memory");
        } else {
            asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};"
                         ::"r"(address), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]) : "memory");
        }
    }

    __device__ void store(unsigned address, int rank, float x, float y) const {
        if constexpr (Ranks > 1) {
            asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];"
                         ::"r"(in_block(address, rank)), "f"(x), "f"(y), "r"(in_block(area + kBarrier, rank)) : "memory");
        } else {
            asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(x), "f"(y) : "memory");
        }
    }

    // At the start, by all threads of all blocks: makes the mbarrier ready and says that this block runs. A cluster_wait is due
    // before send.
    __device__ void prepare() const {
        if constexpr (Ranks > 1) {
            if (threadIdx.x == 0) {
                int tiles = 0;
#pragma unroll
                for (int d = 0; d < Share::kColumns; ++d) tiles += d / kOwned / Groups == rank;
                const int bytes = kTiles + RowGroups * (kShares - 1) * tiles * Share::kRowTiles * 512;
                asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(area + kBarrier) : "memory");
                asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(area + kBarrier), "r"(bytes)
                             : "memory");
                asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
            }
            __syncwarp();
            cluster_arrive();
        }
    }

    // Until all that others send to this block is there.
    __device__ void wait() const {
        if constexpr (Ranks > 1) {
            unsigned done = 0;
            while (done == 0) {
                asm volatile("{\n.reg .pred p;\n"
                             "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], 0;\n"
                             "selp.u32 %0, 1, 0, p;\n}" : "=r"(done) : "r"(area + kBarrier) : "memory");
            }
        } else {
            __syncthreads();
        }
    }

    __device__ void send(const Share& mine) const {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int to = 0; to < Ranks; ++to) {
            if (lane % 4 != to % 4) continue;  // a quad's lanes have the same numbers: each tells other blocks
#pragma unroll
            for (int m = 0; m < Share::kRowTiles; ++m) {
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    const unsigned local = statistics(share()) + (m * 16 + h * 8 + lane / 4) * 8;
                    store(local, to, mine.row_max[m][h], mine.row_sum[m][2 * h]);
                }
            }
        }
#pragma unroll
        for (int d = 0; d < Share::kColumns; ++d) {
            const int owner = d / kOwned;
            if (owner == share()) continue;
#pragma unroll
            for (int m = 0; m < Share::kRowTiles; ++m) {
                store(tile(owner % Groups, owner, share(), d % kOwned, m), owner / Groups, mine.output[m][d]);
            }
        }
    }

    // After wait. `o`: the warp's first row in global memory, of which `rows` exist.
    template <typename T, bool Fast>
    __device__ void receive(const Share& mine, T* o, int64_t row_stride, int rows) const {
        const int lane = threadIdx.x % 32;
        float owned[kOwned][Share::kRowTiles][4] = {};
#pragma unroll
        for (int d = 0; d < Share::kColumns; ++d) {  // registers can't be indexed by what is known only at run time
            if (d / kOwned != share()) continue;
#pragma unroll
            for (int m = 0; m < Share::kRowTiles; ++m) {
#pragma unroll
                for (int i = 0; i < 4; ++i) owned[d % kOwned][m][i] = mine.output[m][d][i];
            }
        }
#pragma unroll
        for (int m = 0; m < Share::kRowTiles; ++m) {
            float weight[kShares][2];
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                float maxima[kShares];
                float sums[kShares];
                float maximum = -INFINITY;
#pragma unroll
                for (int p = 0; p < kShares; ++p) {
                    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(maxima[p]), "=f"(sums[p])
                                 : "r"(statistics(p) + (m * 16 + h * 8 + lane / 4) * 8) : "memory");
                    maximum = fmaxf(maximum, maxima[p]);
                }
                const float base = finite_max(maximum);
                float sum = 0.0f;
#pragma unroll
                for (int p = 0; p < kShares; ++p) {
                    weight[p][h] = exp2_of<Fast>((maxima[p] - base) * mine.scale);  // 0 for a share without keys
                    sum += weight[p][h] * sums[p];
                }
                const float inverse = __fdividef(1.0f, sum);
#pragma unroll
                for (int p = 0; p < kShares; ++p) weight[p][h] *= inverse;
            }
#pragma unroll
            for (int j = 0; j < kOwned; ++j) {
                const int d = share() * kOwned + j;
                if (d >= Share::kColumns) break;
                float merged[4] = {};
#pragma unroll
                for (int p = 0; p < kShares; ++p) {
                    float x[4] = {owned[j][m][0], owned[j][m][1], owned[j][m][2], owned[j][m][3]};
                    if (p != share()) {
                        asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(x[0]), "=f"(x[1]), "=f"(x[2]), "=f"(x[3])
                                     : "r"(tile(group, share(), p, j, m)) : "memory");
                    }
#pragma unroll
                    for (int i = 0; i < 4; ++i) merged[i] += weight[p][i / 2] * x[i];
                }
#pragma unroll
                for (int h = 0; h < 2; ++h) {
                    const int row = m * 16 + h * 8 + lane / 4;
                    if (row >= rows) continue;
                    *reinterpret_cast<unsigned*>(o + row * row_stride + d * 8 + lane % 4 * 2) =
                        pack<T>(merged[2 * h], merged[2 * h + 1]);
                }
            }
        }
    }
};

}  // namespace
}  // namespace kgate
