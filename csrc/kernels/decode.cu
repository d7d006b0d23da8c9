// decode: a few queries against many keys, where every byte of K and V is read once and nothing else counts.
//
// Idea     The heads that share one of K and V are rows of one tile: 16 query rows, of one head after the other, so that
//          the tensor cores take what is read only once. The keys are split between the warps of a block, and between
//          the blocks of a cluster where there are fewer heads than SMs. Each warp copies its own tiles and waits for
//          nobody: no barrier before the last key. Partial results are merged in the block through shared memory, in
//          the cluster through distributed shared memory, in the same launch.
// Tiles    16 query rows a block, BLOCK_N keys a warp and tile, STAGES of them in flight: as many bytes as the memory
//          needs in flight on each SM.
// Shared   NUM_WARPS * STAGES * 2 * BLOCK_N * (D + 8) * 2 bytes, in whose place the partial results are merged.
// Limits   fp16 or bf16, D 64, 80, 96 or 128, sm_80 or newer; before sm_90, where there are no clusters, keys are split
//          between warps only. More than 16 rows of one K and V are worked on as several blocks, which meet in L2.

#ifndef BLOCK_N  // knob: keys per tile of a warp, 16 or 32
#define BLOCK_N 16
#endif
#ifndef NUM_WARPS  // knob: warps per block, which split its keys
#define NUM_WARPS 4
#endif
#ifndef STAGES  // knob: K and V tiles in flight, of each warp; 0 chooses as many as fit, up to 5
#define STAGES 0
#endif
#ifndef SPLIT_KV  // knob: blocks of a cluster, which split the keys: 1, 2, 4, 8 or 16; 0 chooses by problem
#define SPLIT_KV 0
#endif
#ifndef COPY  // knob: 0 for cp.async, 1 for a bulk copy a row, 2 for tiles by the tensor memory accelerator
#define COPY 2
#endif
#ifndef INTERLEAVE  // knob: 1 for the cluster's blocks to take tiles in turn, 0 for a stretch of keys each
#define INTERLEAVE 0
#endif
#ifndef EVICT_FIRST  // knob: 1 to tell L2 that K and V are read once
#define EVICT_FIRST 0
#endif
#ifndef L2_PREFETCH  // knob: bytes that L2 fetches at once, 0, 128 or 256
#define L2_PREFETCH 0
#endif
#ifndef PROGRAMMATIC  // knob: 1 to start while the stream's last kernel ends, and to let the next do so at once, 2 when
                      // all copies are on their way, 3 when all keys are done; 0 for none
#define PROGRAMMATIC 1
#endif
#ifndef AHEAD  // knob: tiles of each warp that L2 fetches while the stream's last kernel ends
#define AHEAD 0
#endif

#include <algorithm>

#include "attention/decode_ring.cuh"
#include "attention/decode_warp.cuh"
#include "cuda/cluster.cuh"
#include "cuda/dependent.cuh"
#include "cuda/exp2.cuh"
#include "cuda/head_dim.cuh"
#include "cuda/launch.cuh"
#include "cuda/tile_walk.cuh"

namespace kgate {

static_assert(BLOCK_N == 16 || BLOCK_N == 32, "BLOCK_N must be 16 or 32.");
static_assert(NUM_WARPS >= 1 && NUM_WARPS <= 16, "NUM_WARPS must be 1 to 16.");
static_assert(STAGES == 0 || (STAGES >= 2 && STAGES <= 8),
              "STAGES must be 2 to 8, as a tile is used while the next ones are on their way, or 0, which chooses.");
static_assert(SPLIT_KV == 0 || SPLIT_KV == 1 || SPLIT_KV == 2 || SPLIT_KV == 4 || SPLIT_KV == 8 || SPLIT_KV == 16,
              "SPLIT_KV must be 1, 2, 4, 8 or 16, the blocks of a cluster, or 0.");
static_assert(COPY >= 0 && COPY <= 2, "COPY must be 0, 1 or 2.");

constexpr bool kClusters = kTargets[0] >= 900;
static_assert(kClusters || SPLIT_KV <= 1, "SPLIT_KV must be 0 or 1 before sm_90: there are no clusters.");
constexpr DecodeCopy kCopy = kClusters ? static_cast<DecodeCopy>(COPY) : ByChunk;
constexpr int kThreads = NUM_WARPS * 32;
constexpr int kRows = 16;

template <typename T, int D>
struct DecodePlan {
    template <int Stages>
    using RingOf = DecodeRing<D, BLOCK_N, Stages, kCopy, EVICT_FIRST != 0, L2_PREFETCH>;
    // Behind the rings, in whose place the partial results are merged: base and sum of each row, of each warp and of
    // each block of the cluster; outputs that blocks of the cluster send; barriers.
    static constexpr int kOthers =
        NUM_WARPS * kRows * 8 + 16 * kRows * 8 + (kRows * D / 2 + 16) * 8 + NUM_WARPS * 8 * 8;
    static constexpr int kFit = (kMostShared - kOthers) / (NUM_WARPS * RingOf<1>::kBytes);
    static constexpr int kStages = STAGES != 0 ? STAGES : max_of(min_of(kFit, 3), 2);
    using Ring = RingOf<kStages>;
    using Warp = DecodeWarp<T, D, BLOCK_N, Ring, USE_FAST_EXP>;
    static constexpr int kOutputStride = D + 8;  // floats: stores of pairs are free of bank conflicts
    static_assert(kRows * kOutputStride * 4 <= Ring::kBytes, "a partial result must fit in its warp's ring.");
    static constexpr int kOfWarps = NUM_WARPS * Ring::kBytes;
    static constexpr int kOfBlocks = kOfWarps + NUM_WARPS * kRows * 8;
    static constexpr int kReceived = kOfBlocks + 16 * kRows * 8;
    static constexpr int kBarriers = kReceived + (kRows * D / 2 + 16) * 8;
    static constexpr int kBytes = kBarriers + NUM_WARPS * kStages * 8;
    static_assert(kBytes <= kMostShared, "NUM_WARPS * STAGES tiles must fit in shared memory: lower one of them.");
};

struct DecodeArgs {
    CUtensorMap k, v;  // where tiles are copied whole
    SdpaArgs of;
    int group;      // query heads that share one of K and V
    int rows;       // of them: group * seqlen
    int row_tiles;  // of 16 rows
    float scale;    // in the log2 domain, > 0
    unsigned flip;  // negates q where the scale is negative
};

// A partial result's weight among those whose greatest base is `greatest`. One that has seen no key has no base.
template <bool Fast>
__device__ float weight_of(float base, float greatest) {
    return exp2_of<Fast>(base - finite_max(greatest));
}

// Merges `Count` partial results: `statistic(i)` is base and sum of row's i-th, `output(i)` a pair of its columns.
// Gives the sum as well.
template <int Count, typename Statistic, typename Output>
__device__ float2 merge_pair(float2& total, const Statistic& statistic, const Output& output) {
    float greatest = -INFINITY;
#pragma unroll
    for (int i = 0; i < Count; ++i) greatest = fmaxf(greatest, statistic(i).x);
    float2 pair = {0.0f, 0.0f};
    total = {greatest, 0.0f};
#pragma unroll
    for (int i = 0; i < Count; ++i) {
        const float2 one = statistic(i);
        const float weight = weight_of<USE_FAST_EXP>(one.x, greatest);
        const float2 columns = output(i);
        total.y += weight * one.y;
        pair.x += weight * columns.x;
        pair.y += weight * columns.y;
    }
    return pair;
}

template <typename T, int D, int Splits>
__global__ void
#if __CUDA_ARCH_LIST__ >= 900
__cluster_dims__(Splits, 1, 1)
#endif
    __launch_bounds__(kThreads) decode_attention(const __grid_constant__ DecodeArgs args) {
    using Plan = DecodePlan<T, D>;
    using Warp = typename Plan::Warp;
    using Ring = typename Plan::Ring;
    extern __shared__ __align__(1024) unsigned char shared[];
    const unsigned address = shared_address(shared);
    const int lane = threadIdx.x % 32;
    const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0);
    const SdpaArgs& of = args.of;
    if constexpr (Splits > 1) cluster_arrive();

    // First of all, what takes longest.
    const int rank = Splits > 1 ? static_cast<int>(cluster_rank()) : 0;
    const unsigned unit = blockIdx.x / Splits;
    const unsigned head = unit / args.row_tiles;
    const int first_row = (unit - head * args.row_tiles) * kRows;
    const int batch = head / of.kv_heads;
    const int kv_head = head - batch * of.kv_heads;
    constexpr bool kInterleaved = INTERLEAVE != 0 && Splits > 1;
    const int each = kInterleaved ? NUM_WARPS * BLOCK_N : ceil_div(ceil_div(of.kv_seqlen, BLOCK_N), Splits) * BLOCK_N;
    const int begin = min(rank * each, of.kv_seqlen);
    const int end = kInterleaved ? of.kv_seqlen : min(begin + each, of.kv_seqlen);
    const int first = begin + warp * BLOCK_N;
    constexpr int kStep = NUM_WARPS * BLOCK_N * (kInterleaved ? Splits : 1);
    const DecodeSource source = {static_cast<const T*>(of.k) + batch * of.k_stride[0] + kv_head * of.k_stride[1],
                                 static_cast<const T*>(of.v) + batch * of.v_stride[0] + kv_head * of.v_stride[1],
                                 of.k_stride[2],
                                 of.v_stride[2],
                                 &args.k,
                                 &args.v,
                                 {batch, kv_head, 0, 0},
                                 end};
    if constexpr (kCopy == ByTile) {
        if (threadIdx.x == 0) {
            prefetch_map(args.k);
            prefetch_map(args.v);
        }
    }
    Ring ring(address + warp * Ring::kBytes, address + Plan::kBarriers + warp * Plan::kStages * 8, source);
    if constexpr (PROGRAMMATIC != 0) {
        for (int i = 0; i < AHEAD; ++i) ring.prefetch(first + i * kStep);
    }
    if constexpr (PROGRAMMATIC != 0) wait_for_earlier_kernels();
    if constexpr (PROGRAMMATIC == 1) let_next_kernel_start();
#pragma unroll
    for (int i = 0; i < Plan::kStages; ++i) ring.start(first + i * kStep, i);

    const auto row_of = [&](auto* base, const int64_t (&stride)[3], int row) {
        return base + batch * stride[0] + (kv_head * args.group + row / of.seqlen) * stride[1] +
               row % of.seqlen * stride[2];
    };
    const T* rows[2];
    DecodeRows seen = {{end, end}, end};
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int row = first_row + lane / 4 + 8 * h;
        rows[h] = row < args.rows ? row_of(static_cast<const T*>(of.q), of.q_stride, row) : nullptr;
        if (of.causal) seen.visible[h] = min(end, row % of.seqlen + of.kv_seqlen - of.seqlen + 1);
    }
    if (of.causal) seen.plain = min(end, of.kv_seqlen - of.seqlen + 1);
    Warp partial;
    partial.load_q(rows, args.flip);
    partial.template run<Plan::kStages>(ring, first, kStep, end, seen, args.scale, [] {
        if constexpr (PROGRAMMATIC == 2) let_next_kernel_start();
    });

    if constexpr (PROGRAMMATIC == 3) let_next_kernel_start();
    // One partial result a warp, in place of its ring. Rows that do not exist have none.
    const int own_rows = min(kRows, args.rows - first_row);
    float2* const of_warps = reinterpret_cast<float2*>(shared + Plan::kOfWarps);
    float* const outputs = reinterpret_cast<float*>(shared);
    constexpr int kNextWarp = Ring::kBytes / 4;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int row = lane / 4 + 8 * h;
        if (row >= own_rows) break;
        float* const target = outputs + warp * kNextWarp + row * Plan::kOutputStride + lane % 4 * 2;
#pragma unroll
        for (int d = 0; d < D / 8; ++d) {
            *reinterpret_cast<float2*>(target + d * 8) =
                make_float2(partial.output[d][2 * h], partial.output[d][2 * h + 1]);
        }
        const float sum = partial.row_sum[h];
        if (lane % 4 == 0) of_warps[warp * kRows + row] = make_float2(sum > 0.0f ? partial.base[h] : -INFINITY, sum);
    }
    __syncwarp();
    if constexpr (Splits > 1) cluster_wait();  // all blocks of the cluster run, and can be sent to
    __syncthreads();

    const int pairs = own_rows * (D / 2);
    const auto merge_warps = [&](int i, float2& total) {
        const int row = i / (D / 2);
        const float* const from = outputs + row * Plan::kOutputStride + i % (D / 2) * 2;
        return merge_pair<NUM_WARPS>(
            total, [&](int w) { return of_warps[w * kRows + row]; },
            [&](int w) { return *reinterpret_cast<const float2*>(from + w * kNextWarp); });
    };
    const auto store = [&](int i, float2 pair, float2 total) {
        const int row = first_row + i / (D / 2);
        const int column = i % (D / 2) * 2;
        const float inverse = total.y > 0.0f ? 1.0f / total.y : 0.0f;
        T* const o = row_of(static_cast<T*>(of.o), of.o_stride, row);
        *reinterpret_cast<unsigned*>(o + column) = pack<T>(pair.x * inverse, pair.y * inverse);
        if (of.lse != nullptr && column == 0) {
            *row_of(of.lse, of.lse_stride, row) = total.y > 0.0f ? (total.x + log2f(total.y)) / kLog2E : -INFINITY;
        }
    };
    if constexpr (Splits == 1) {
        for (int i = threadIdx.x; i < pairs; i += kThreads) {
            float2 total;
            const float2 pair = merge_warps(i, total);
            store(i, pair, total);
        }
    } else {
        // Each block of the cluster makes a part of the answer from what all of them send to it.
        const int part = (pairs + Splits - 1) / Splits;
        const unsigned received = address + Plan::kReceived + rank * part * 8;
        const unsigned statistic = address + Plan::kOfBlocks + rank * kRows * 8;
        for (int i = threadIdx.x; i < pairs; i += kThreads) {
            float2 total;
            const float2 pair = merge_warps(i, total);
            const int to = i / part;
            store_remote(address_in_block(received + (i - to * part) * 8, to), pair);
            if (i % (D / 2) == 0) {
#pragma unroll
                for (int s = 0; s < Splits; ++s) store_remote(address_in_block(statistic + i / (D / 2) * 8, s), total);
            }
        }
        __syncwarp();
        cluster_sync();
        const float2* const of_blocks = reinterpret_cast<const float2*>(shared + Plan::kOfBlocks);
        const float2* const all = reinterpret_cast<const float2*>(shared + Plan::kReceived);
        for (int i = threadIdx.x; i < min(part, pairs - rank * part); i += kThreads) {
            const int place = rank * part + i;
            float2 total;
            const float2 pair = merge_pair<Splits>(
                total, [&](int s) { return of_blocks[s * kRows + place / (D / 2)]; },
                [&](int s) { return all[s * part + i]; });
            store(place, pair, total);
        }
    }
}

template <typename T, int D>
struct Decode {
    static int launch(const SdpaArgs& args, void* stream) {
        DecodeArgs call = {};
        call.of = args;
        call.group = args.heads / args.kv_heads;
        const int64_t rows = static_cast<int64_t>(call.group) * args.seqlen;
        if (rows > std::numeric_limits<int32_t>::max() - kRows) {
            return fail(kUnsupported, "decode is for few queries, and these are %d. Use mma or hopper.", args.seqlen);
        }
        call.rows = static_cast<int>(rows);
        call.row_tiles = ceil_div(call.rows, kRows);
        call.scale = fmaxf(fabsf(args.scale) * kLog2E, std::numeric_limits<float>::min());
        call.flip = args.scale < 0.0f ? 0x80008000u : 0u;
        if constexpr (kCopy == ByTile) {
            const auto promotion = L2_PREFETCH == 256   ? CU_TENSOR_MAP_L2_PROMOTION_L2_256B
                                   : L2_PREFETCH == 128 ? CU_TENSOR_MAP_L2_PROMOTION_L2_128B
                                                        : CU_TENSOR_MAP_L2_PROMOTION_NONE;
            const TensorExtents keys = {args.batch, args.kv_heads, args.kv_seqlen, D, args.dtype};
            if (int code = make_tensor_map(call.k, "k", args.k, args.k_stride, keys, BLOCK_N, promotion)) return code;
            if (int code = make_tensor_map(call.v, "v", args.v, args.v_stride, keys, BLOCK_N, promotion)) return code;
        }
        const int64_t units = static_cast<int64_t>(args.batch) * args.kv_heads * call.row_tiles;
        if constexpr (!kClusters) {
            return launch_split<1>(call, units, stream);
        } else {
            int multiprocessors = 0;
            if (int code = count_multiprocessors(multiprocessors)) return code;
            int splits = SPLIT_KV;
            if (splits == 0) {
                splits = 1;
                const int tiles = ceil_div(args.kv_seqlen, BLOCK_N * NUM_WARPS);
                while (splits < 8 && units * splits * 10 < multiprocessors * int64_t{9} && tiles >= 4 * splits) {
                    splits *= 2;
                }
            }
            switch (splits) {
                case 1: return launch_split<1>(call, units, stream);
                case 2: return launch_split<2>(call, units, stream);
                case 4: return launch_split<4>(call, units, stream);
                case 8: return launch_split<8>(call, units, stream);
                default: return launch_split<16>(call, units, stream);
            }
        }
    }

    template <int Splits>
    static int launch_split(const DecodeArgs& call, int64_t units, void* stream) {
        constexpr auto kKernel = decode_attention<T, D, Splits>;
        if constexpr (Splits > 8) {
            if (planning == nullptr) {
                cudaFuncSetAttribute(kKernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
            }
        }
        return kgate::launch < kKernel,
               kClusters && PROGRAMMATIC != 0 > (call, units * Splits, kThreads, DecodePlan<T, D>::kBytes, stream);
    }
};

constexpr uint32_t kFeatures = GroupedHeads | KvSeqlen | Lse;

}  // namespace kgate

KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::kFeatures; }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::Decode, HEAD_DIM, kgate::kFeatures>(args, stream);
}
