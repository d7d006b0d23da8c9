#ifndef BLOCK_M  // knob: query rows per cluster of blocks; 0 chooses by architecture
#define BLOCK_M 0
#endif
#ifndef BLOCK_N  // knob: keys that a block holds at once; 0 chooses by architecture and head dimension
#define BLOCK_N 0
#endif
#ifndef NUM_WARPS  // knob: warps per block; more than BLOCK_M / 16 split the block's keys between them
#define NUM_WARPS 8
#endif
#ifndef SPLIT_KV  // knob: blocks of a cluster, which split the keys; 1 without clusters, 0 chooses by architecture
#define SPLIT_KV 0
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

#include "mma_tile.cuh"

namespace kgate {

constexpr bool kClusters = kOldestArchitecture >= 900;
constexpr int kBlocks = SPLIT_KV != 0 ? SPLIT_KV : kClusters ? 2 : 1;  // of a cluster
constexpr int kBlockM = BLOCK_M != 0 ? BLOCK_M : 64;
constexpr int kBlockN = BLOCK_N != 0 ? BLOCK_N : kClusters ? 256 : 64;
constexpr int kThreads = NUM_WARPS * 32;
constexpr int kRowGroups = kBlockM / 16;
constexpr int kKeyGroups = NUM_WARPS / kRowGroups;
constexpr int kWarpKeys = kBlockN / kKeyGroups;

template <typename T, int D>
struct Plan {
    static constexpr int kStride = D + PAD;
    static constexpr int kTileBytes = kBlockN * kStride * 2;
    static constexpr int kQBytes = kBlockM * kStride * 2;
    using Share = WarpShare<T, D, 1, kWarpKeys, kStride, USE_FAST_EXP>;
    using Shares = Merge<Share, kRowGroups, kKeyGroups, kBlocks>;
    // Where memory is scarce, Q lies in V's place until it is in registers.
    static constexpr bool kQInV = !kClusters && kQBytes <= kTileBytes;
    static constexpr int kQ = kQInV ? kTileBytes : 2 * kTileBytes;
    static constexpr int kLoopBytes = 2 * kTileBytes + (kQInV ? 0 : kQBytes);
    // Other blocks write here while this one may still read K and V; without clusters a barrier makes that room free.
    static constexpr int kShares = kBlocks > 1 ? kLoopBytes : 0;
    static constexpr int kBytes = max_of(kLoopBytes, kShares + Shares::kBytes);
};

template <typename T, int D>
__global__ void
#if __CUDA_ARCH_LIST__ >= 900
__cluster_dims__(kBlocks, 1, 1)
#endif
    __launch_bounds__(kThreads, 1) latency_attention(const __grid_constant__ SdpaArgs args) {
    using P = Plan<T, D>;
    using Share = typename P::Share;
    if constexpr (kBlocks > 1) cluster_arrive();  // this block runs: its shared memory may be written to
    extern __shared__ __align__(128) unsigned char shared[];
    const unsigned k_tile = shared_address(shared);
    const unsigned v_tile = k_tile + P::kTileBytes;
    const unsigned q_tile = k_tile + P::kQ;
    const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0);  // as the compiler sees: the same in all lanes
    const int row_group = warp % kRowGroups;
    const int key_group = warp / kRowGroups;
    const int rank = kBlocks > 1 ? cluster_rank() : 0;

    const Tile tile = find_tile(args, kBlockM, blockIdx.x / kBlocks);
    const T* const q = head_pointer(static_cast<const T*>(args.q), args.q_stride, tile);
    const T* const k = head_pointer(static_cast<const T*>(args.k), args.k_stride, tile);
    const T* const v = head_pointer(static_cast<const T*>(args.v), args.v_stride, tile);
    const int each = ceil_div(ceil_div(tile.keys, 16), kBlocks) * 16;
    const int end = min((rank + 1) * each, tile.keys);  // of this block's keys, of which there may be none
    const auto copy = [&](unsigned target, const T* source, int64_t row_stride, int first) {
        copy_tile_async<T, kBlockN, D, P::kStride, kThreads>(target, source, row_stride, first, end);
        cp_async_commit();
    };

    int first = rank * each;
    copy_tile_async<T, kBlockM, D, P::kStride, kThreads>(q_tile, q, args.q_stride[2], tile.first_row, args.seqlen);
    copy(k_tile, k, args.k_stride[2], first);
    if constexpr (!P::kQInV) {
        copy(v_tile, v, args.v_stride[2], first);
        cp_async_wait<1>();
    } else {
        cp_async_wait<0>();
    }
    __syncthreads();
    const int first_row = tile.first_row + row_group * 16;  // of this warp
    Share share(q_tile + row_group * 16 * P::kStride * 2, Scale(args.scale));
    if constexpr (P::kQInV) {
        __syncthreads();  // every warp has its fragments of Q
        copy(v_tile, v, args.v_stride[2], first);
    }

    while (true) {
        const int next = first + kBlockN;
        const int first_key = first + key_group * kWarpKeys;  // of this warp
        const bool active = first_key < end && !(args.causal && first_key > first_row + 15);
        typename Share::Logits logits;
        if (active) share.multiply_keys(logits, k_tile + key_group * kWarpKeys * P::kStride * 2);
        if (next < end) {
            __syncthreads();  // K has no reader left
            copy(k_tile, k, args.k_stride[2], next);
        } else {
            cp_async_commit();
        }
        if (active) {
            if (first_key + kWarpKeys > end || (args.causal && first_key + kWarpKeys - 1 > first_row)) {
                Share::mask(logits, first_row, first_key, end, args.causal);
            }
            share.raise_maxima(logits);
        }
        cp_async_wait<1>();
        __syncthreads();  // V is there
        if (active) share.multiply_values(logits, v_tile + key_group * kWarpKeys * P::kStride * 2);
        if (next >= end) break;
        __syncthreads();  // V has no reader left
        copy(v_tile, v, args.v_stride[2], next);
        cp_async_wait<1>();
        __syncthreads();  // K is there
        first = next;
    }

    share.finish_sums();
    T* const o = head_pointer(static_cast<T*>(args.o), args.o_stride, tile) + first_row * args.o_stride[2];
    const typename P::Shares shares = {k_tile + P::kShares, row_group, key_group, rank};
    if constexpr (kBlocks > 1) {
        cluster_wait();  // all blocks of the cluster run
        shares.send(share);
        cluster_arrive();
        cluster_wait();
    } else {
        __syncthreads();  // K and V have no reader left
        shares.send(share);
        __syncthreads();
    }
    shares.template receive<T, USE_FAST_EXP>(share, o, args.o_stride[2], args.seqlen - first_row);
}

template <typename T, int D>
struct Latency {
    static int launch(const SdpaArgs& args, void* stream) {
        const int64_t tiles = static_cast<int64_t>(ceil_div(args.seqlen, kBlockM)) * args.batch * args.heads;
        return kgate::launch<latency_attention<T, D>>(args, tiles * kBlocks, kThreads, Plan<T, D>::kBytes, stream);
    }
};

}  // namespace kgate

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::Latency, HEAD_DIM>(args, stream);
}
