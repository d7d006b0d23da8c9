#ifndef BLOCK_M  // knob: query rows per block
#define BLOCK_M 128
#endif
#ifndef BLOCK_N  // knob: keys per tile
#define BLOCK_N 64
#endif
#ifndef NUM_WARPS  // knob: warps per block, each with 16 or 32 rows
#define NUM_WARPS 4
#endif
#ifndef STAGES  // knob: K and V tiles in flight; 1 has one buffer each, filled while the other is in use
#define STAGES 2
#endif
#ifndef SPLIT_KV  // knob: shares into which a tile's keys are split, each with warps of its own
#define SPLIT_KV 1
#endif
#ifndef PAD  // knob: 16-bit elements of padding per Q, K and V row in shared memory
#define PAD 8
#endif
#ifndef USE_FAST_EXP  // knob: 1 for the hardware's exp2, 0 for exp2f with subnormals
#define USE_FAST_EXP 1
#endif
#ifndef HEAD_DIM  // knob: the only head dimension to compile, 0 for all
#define HEAD_DIM 0
#endif
#ifndef MIN_BLOCKS
#define MIN_BLOCKS 1
#endif

#include "mma_tile.cuh"

namespace kgate {

constexpr int kThreads = NUM_WARPS * 32;
constexpr int kRowGroups = NUM_WARPS / SPLIT_KV;
constexpr int kWarpRows = BLOCK_M / kRowGroups;
constexpr int kWarpKeys = BLOCK_N / SPLIT_KV;

template <typename T, int D>
struct Plan {
    static constexpr int kStride = D + PAD;
    static constexpr int kTileBytes = BLOCK_N * kStride * 2;
    static constexpr int kRingBytes = STAGES * 2 * kTileBytes;  // (STAGES, K or V, BLOCK_N, kStride)
    static constexpr int kQBytes = BLOCK_M * kStride * 2;
    using Share = WarpShare<T, D, kWarpRows / 16, kWarpKeys, kStride, USE_FAST_EXP>;
    using Shares = Merge<Share, kRowGroups, SPLIT_KV, 1>;
    // Where memory is scarce, Q lies in the last stage's place until it is in registers.
    static constexpr bool kQInRing =
        kOldestArchitecture < 900 && Share::kKeepQ && kQBytes <= (STAGES == 1 ? 1 : 2) * kTileBytes;
    static constexpr int kQ = kQInRing ? kRingBytes - (STAGES == 1 ? 1 : 2) * kTileBytes : kRingBytes;
    static constexpr int kLoopBytes = kRingBytes + (kQInRing ? 0 : kQBytes);
    static constexpr int kBytes = SPLIT_KV > 1 ? max_of(kLoopBytes, Shares::kBytes) : max_of(kLoopBytes, kQBytes);
};

// Blocks in the order of their start; the SMs get one each in turn. Causal tiles: heaviest first, and every second round of
// SMs backwards, so that the SM that got the heaviest tile of one round gets the lightest of the next.
__device__ inline Tile find_mma_tile(const SdpaArgs& args) {
    Tile tile = find_tile(args, BLOCK_M);
    if (args.causal) {
        unsigned sms;
        asm("mov.u32 %0, %%nsmid;" : "=r"(sms));
        const unsigned first = blockIdx.x / sms * sms;  // of this round
        const unsigned last = min(first + sms, gridDim.x) - 1;
        const unsigned rank = blockIdx.x / sms % 2 == 0 ? blockIdx.x : first + (last - blockIdx.x);
        const int slices = args.batch * args.heads;
        const int slice = rank % slices;
        tile.batch = slice / args.heads;
        tile.head = slice % args.heads;
        tile.first_row = (gridDim.x - 1 - rank) / slices * BLOCK_M;
        tile.keys = min(args.seqlen - tile.first_row, BLOCK_M) + tile.first_row;
    }
    return tile;
}

template <typename T, int D>
__global__ void __launch_bounds__(kThreads, MIN_BLOCKS) mma_attention(const __grid_constant__ SdpaArgs args) {
    using P = Plan<T, D>;
    using Share = typename P::Share;
    extern __shared__ __align__(128) unsigned char shared[];
    const unsigned ring = shared_address(shared);
    const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0);  // as the compiler sees: the same in all lanes
    const int row_group = warp % kRowGroups;
    const int key_group = warp / kRowGroups;

    const Tile tile = find_mma_tile(args);
    const T* const q = head_pointer(static_cast<const T*>(args.q), args.q_stride, tile);
    const T* const k = head_pointer(static_cast<const T*>(args.k), args.k_stride, tile);
    const T* const v = head_pointer(static_cast<const T*>(args.v), args.v_stride, tile);
    const int key_tiles = ceil_div(tile.keys, BLOCK_N);

    const auto copy_keys = [&](int index) {
        if (index < key_tiles) {
            copy_tile_async<T, BLOCK_N, D, P::kStride, kThreads>(ring + index % STAGES * 2 * P::kTileBytes, k,
                                                                 args.k_stride[2], index * BLOCK_N, args.seqlen);
        }
        cp_async_commit();
    };
    const auto copy_values = [&](int index) {
        if (index < key_tiles) {
            copy_tile_async<T, BLOCK_N, D, P::kStride, kThreads>(ring + (index % STAGES * 2 + 1) * P::kTileBytes, v,
                                                                 args.v_stride[2], index * BLOCK_N, args.seqlen);
        }
        cp_async_commit();
    };

    // Groups of copies, in this order: Q and K 0, V 0, K 1, V 1, ... Each commit makes one, even when nothing is copied.
    copy_tile_async<T, BLOCK_M, D, P::kStride, kThreads>(ring + P::kQ, q, args.q_stride[2], tile.first_row, args.seqlen);
    copy_keys(0);
#pragma unroll
    for (int i = 0; i < STAGES - 1; ++i) {
        if (i > 0) copy_keys(i);
        copy_values(i);
    }
    cp_async_wait<STAGES == 1 ? 0 : 2 * STAGES - 3>();
    __syncthreads();
    const int first_row = tile.first_row + row_group * kWarpRows;  // of this warp
    Share share(ring + P::kQ + row_group * kWarpRows * P::kStride * 2, Scale(args.scale));
    if constexpr (P::kQInRing) __syncthreads();  // every warp has its fragments of Q

    for (int index = 0; index < key_tiles; ++index) {
        if (index > 0) {
            cp_async_wait<STAGES == 1 ? 0 : 2 * (STAGES - 2)>();
            __syncthreads();  // all threads' copies are visible, and the buffers of tile index - 1 have no reader left
        }
        if constexpr (STAGES == 1) {
            copy_values(index);
        } else {
            copy_keys(index + STAGES - 1);
            copy_values(index + STAGES - 1);
        }
        const int first_key = index * BLOCK_N + key_group * kWarpKeys;  // of this warp
        const bool active = first_key < args.seqlen && !(args.causal && first_key > first_row + kWarpRows - 1);
        const unsigned k_tile = ring + index % STAGES * 2 * P::kTileBytes + key_group * kWarpKeys * P::kStride * 2;
        typename Share::Logits logits;
        if (active) share.multiply_keys(logits, k_tile);
        if constexpr (STAGES == 1) {
            cp_async_wait<0>();
            __syncthreads();  // V is visible, and K has no reader left
            copy_keys(index + 1);
        } else if (index == 0) {
            cp_async_wait<2 * (STAGES - 1)>();
            __syncthreads();
        }
        if (!active) continue;
        if (first_key + kWarpKeys > args.seqlen || (args.causal && first_key + kWarpKeys - 1 > first_row)) {
            Share::mask(logits, first_row, first_key, args.seqlen, args.causal);
        }
        share.raise_maxima(logits);
        share.multiply_values(logits, k_tile + P::kTileBytes);
    }

    share.finish_sums();
    T* const o = head_pointer(static_cast<T*>(args.o), args.o_stride, tile) + first_row * args.o_stride[2];
    const int rows = args.seqlen - first_row;
    cp_async_wait<0>();
    if constexpr (SPLIT_KV > 1) {
        const typename P::Shares shares = {ring, row_group, key_group, 0};
        __syncthreads();  // K, V and Q have no reader left: the shares take their place
        shares.send(share);
        __syncthreads();
        shares.template receive<T, USE_FAST_EXP>(share, o, args.o_stride[2], rows);
    } else {
        if constexpr (P::kQInRing) __syncthreads();
        // Through the warp's own rows of Q, so that 16 bytes are stored at once.
        const unsigned rows_at = ring + P::kQ + row_group * kWarpRows * P::kStride * 2;
        const int lane = threadIdx.x % 32;
        __syncwarp();
#pragma unroll
        for (int m = 0; m < kWarpRows / 16; ++m) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const float inverse = __fdividef(1.0f, share.row_sum[m][h]);
                const unsigned target = rows_at + ((m * 16 + h * 8 + lane / 4) * P::kStride + lane % 4 * 2) * 2;
#pragma unroll
                for (int d = 0; d < Share::kColumns; ++d) {
                    const unsigned pair = pack<T>(share.output[m][d][2 * h] * inverse, share.output[m][d][2 * h + 1] * inverse);
                    asm volatile("st.shared.b32 [%0], %1;" ::"r"(target + d * 16), "r"(pair) : "memory");
                }
            }
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < kWarpRows * Share::kColumns / 32; ++i) {
            const int chunk = i * 32 + lane;
            const int row = chunk / Share::kColumns;
            const int column = chunk % Share::kColumns * 8;
            if (row >= rows) break;
            uint4 eight;
            asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];" : "=r"(eight.x), "=r"(eight.y), "=r"(eight.z), "=r"(eight.w)
                         : "r"(rows_at + (row * P::kStride + column) * 2) : "memory");
            *reinterpret_cast<uint4*>(o + row * args.o_stride[2] + column) = eight;
        }
    }
}

template <typename T, int D>
struct Mma {
    static int launch(const SdpaArgs& args, void* stream) {
        const int64_t blocks = static_cast<int64_t>(ceil_div(args.seqlen, BLOCK_M)) * args.batch * args.heads;
        return kgate::launch<mma_attention<T, D>>(args, blocks, kThreads, Plan<T, D>::kBytes, stream);
    }
};

}  // namespace kgate

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::Mma, HEAD_DIM>(args, stream);
}
