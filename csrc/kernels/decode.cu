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
#ifndef SPLIT_KV  // knob: blocks of a cluster, which split the keys: 1, 2, 4 or 8; 0 chooses by problem
#define SPLIT_KV 0
#endif

#include <algorithm>

#include "attention/decode_warp.cuh"
#include "cuda/cluster.cuh"
#include "cuda/exp2.cuh"
#include "cuda/head_dim.cuh"
#include "cuda/launch.cuh"
#include "cuda/tile_walk.cuh"

namespace kgate {

static_assert(BLOCK_N == 16 || BLOCK_N == 32, "BLOCK_N must be 16 or 32.");
static_assert(NUM_WARPS >= 1 && NUM_WARPS <= 16, "NUM_WARPS must be 1 to 16.");
static_assert(STAGES == 0 || (STAGES >= 2 && STAGES <= 8),
              "STAGES must be 2 to 8, as a tile is used while the next ones are on their way, or 0, which chooses.");
static_assert(SPLIT_KV == 0 || SPLIT_KV == 1 || SPLIT_KV == 2 || SPLIT_KV == 4 || SPLIT_KV == 8,
              "SPLIT_KV must be 1, 2, 4 or 8, the blocks of a cluster, or 0.");

constexpr bool kClusters = kTargets[0] >= 900;
static_assert(kClusters || SPLIT_KV <= 1, "SPLIT_KV must be 0 or 1 before sm_90: there are no clusters.");
constexpr int kThreads = NUM_WARPS * 32;
constexpr int kRows = 16;

template <typename T, int D>
struct DecodePlan {
    static constexpr int kFit = (kMostShared - 2048) / (NUM_WARPS * 2 * BLOCK_N * (D + 8) * 2);
    static constexpr int kStages = STAGES != 0 ? STAGES : max_of(min_of(kFit, 5), 2);
    using Warp = DecodeWarp<T, D, BLOCK_N, kStages, USE_FAST_EXP>;
    static constexpr int kOutputStride = D + 8;  // floats: stores of pairs are free of bank conflicts
    static constexpr int kOutputBytes = kRows * kOutputStride * 4;  // of one partial result
    // Behind the rings, or the partial outputs in their place: base and sum of each row, of each warp, of the block,
    // and of all blocks of the cluster.
    static constexpr int kStatistics = max_of(NUM_WARPS * Warp::kRingBytes, NUM_WARPS * kOutputBytes);
    static constexpr int kOfBlock = kStatistics + NUM_WARPS * kRows * 8;
    static constexpr int kOfCluster = kOfBlock + kRows * 8;
    static constexpr int kBytes = kOfCluster + 8 * kRows * 8;
    static_assert(kBytes <= kMostShared, "NUM_WARPS * STAGES tiles must fit in shared memory: lower one of them.");
};

struct DecodeArgs {
    SdpaArgs of;
    int group;       // query heads that share one of K and V
    int rows;        // of them: group * seqlen
    int row_tiles;   // of 16 rows
    float scale;     // in the log2 domain, > 0
    unsigned flip;   // negates q where the scale is negative
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
    extern __shared__ __align__(128) unsigned char shared[];
    const unsigned address = shared_address(shared);
    const int lane = threadIdx.x % 32;
    const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0);
    const SdpaArgs& of = args.of;

    const int rank = Splits > 1 ? static_cast<int>(cluster_rank()) : 0;
    const int unit = blockIdx.x / Splits;
    const int first_row = unit % args.row_tiles * kRows;
    const int kv_head = unit / args.row_tiles % of.kv_heads;
    const int batch = unit / args.row_tiles / of.kv_heads;
    const auto row_of = [&](auto* base, const int64_t(&stride)[3], int row) {
        return base + batch * stride[0] + (kv_head * args.group + row / of.seqlen) * stride[1] +
               row % of.seqlen * stride[2];
    };

    const int each = ceil_div(ceil_div(of.kv_seqlen, BLOCK_N), Splits) * BLOCK_N;
    const int begin = min(rank * each, of.kv_seqlen);
    const int end = min(begin + each, of.kv_seqlen);
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
    const T* const k = static_cast<const T*>(of.k) + batch * of.k_stride[0] + kv_head * of.k_stride[1];
    const T* const v = static_cast<const T*>(of.v) + batch * of.v_stride[0] + kv_head * of.v_stride[1];
    partial.run(address + warp * Warp::kRingBytes, k, v, of.k_stride[2], of.v_stride[2], begin + warp * BLOCK_N,
                NUM_WARPS * BLOCK_N, end, seen, args.scale);

    // One partial result a warp becomes one a block.
    float* const outputs = reinterpret_cast<float*>(shared);
    float2* const of_warps = reinterpret_cast<float2*>(shared + Plan::kStatistics);
    float2* const of_block = reinterpret_cast<float2*>(shared + Plan::kOfBlock);
    __syncthreads();  // the rings have no reader left
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int row = lane / 4 + 8 * h;
        float* const target = outputs + (warp * kRows + row) * Plan::kOutputStride + lane % 4 * 2;
#pragma unroll
        for (int d = 0; d < D / 8; ++d) {
            *reinterpret_cast<float2*>(target + d * 8) = make_float2(partial.output[d][2 * h], partial.output[d][2 * h + 1]);
        }
        const float sum = partial.row_sum[h];
        if (lane % 4 == 0) of_warps[warp * kRows + row] = make_float2(sum > 0.0f ? partial.base[h] : -INFINITY, sum);
    }
    __syncthreads();
    constexpr int kPairs = kRows * D / 2;
    for (int i = threadIdx.x; i < kPairs; i += kThreads) {
        const int row = i / (D / 2);
        const int column = i % (D / 2) * 2;
        float* const first = outputs + row * Plan::kOutputStride + column;
        float2 total;
        const float2 pair = merge_pair<NUM_WARPS>(
            total, [&](int w) { return of_warps[w * kRows + row]; },
            [&](int w) { return *reinterpret_cast<const float2*>(first + w * kRows * Plan::kOutputStride); });
        *reinterpret_cast<float2*>(first) = pair;
        if (column == 0) of_block[row] = total;
    }

    // And one a block becomes the answer: each block of the cluster has a part of it.
    float2* const of_cluster = reinterpret_cast<float2*>(shared + Plan::kOfCluster);
    if constexpr (Splits > 1) {
        cluster_sync();
        for (int i = threadIdx.x; i < Splits * kRows; i += kThreads) {
            of_cluster[i] = load_remote(address_in_block(address + Plan::kOfBlock + i % kRows * 8, i / kRows));
        }
    }
    __syncthreads();
    const float2* const statistics = Splits > 1 ? of_cluster : of_block;
    constexpr int kEach = (kPairs + Splits - 1) / Splits;
    for (int i = rank * kEach + threadIdx.x; i < min((rank + 1) * kEach, kPairs); i += kThreads) {
        const int row = i / (D / 2);
        const int column = i % (D / 2) * 2;
        if (first_row + row >= args.rows) break;  // nor do those behind it exist
        const unsigned offset = (row * Plan::kOutputStride + column) * 4;
        float2 total;
        const float2 pair = merge_pair<Splits>(
            total, [&](int s) { return statistics[s * kRows + row]; },
            [&](int s) {
                if constexpr (Splits > 1) return load_remote(address_in_block(address + offset, s));
                return *reinterpret_cast<const float2*>(shared + offset);
            });
        const float inverse = total.y > 0.0f ? 1.0f / total.y : 0.0f;
        T* const o = row_of(static_cast<T*>(of.o), of.o_stride, first_row + row);
        *reinterpret_cast<unsigned*>(o + column) = pack<T>(pair.x * inverse, pair.y * inverse);
        if (of.lse != nullptr && column == 0) {
            *row_of(of.lse, of.lse_stride, first_row + row) =
                total.y > 0.0f ? (total.x + log2f(total.y)) / kLog2E : -INFINITY;
        }
    }
    __syncwarp();
    if constexpr (Splits > 1) cluster_sync();  // nobody reads this block's shared memory any more
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
                default: return launch_split<8>(call, units, stream);
            }
        }
    }

    template <int Splits>
    static int launch_split(const DecodeArgs& call, int64_t units, void* stream) {
        return kgate::launch<decode_attention<T, D, Splits>>(call, units * Splits, kThreads, DecodePlan<T, D>::kBytes,
                                                             stream);
    }
};

constexpr uint32_t kFeatures = GroupedHeads | KvSeqlen | Lse;

}  // namespace kgate

KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::kFeatures; }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::Decode, HEAD_DIM, kgate::kFeatures>(args, stream);
}
