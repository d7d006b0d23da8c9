// decode: a few queries against many keys, where every byte of K and V is read once and nothing else counts.
//
// Idea     The heads that share one of K and V are rows of one tile: 16 query rows, of one head after the other, so
//          that the tensor cores take what is read only once. The keys are split between the warps of a block, and
//          between the blocks of a cluster where there are fewer heads than SMs. Each warp copies its own
//          tiles, by the tensor memory accelerator, and waits for nobody: no barrier before the last key. Partial
//          results are merged in the block through shared memory, in the cluster by stores to each other's, in the
//          same launch.
// Bound    The memory, which is busy 89 % of the time. To copy 268 MB of keys and values to shared memory and do
//          nothing with them took an H100 86 to 91 us (2.95 to 3.13 TB/s), in copies of 4 to 16 KB with 32 KB or more
//          in flight on each SM; here they take 90 us, 99 % of the rate that speed_of_light measures. Ratios to the
//          fastest SDPA (H100, fp16, graph timer, hot cache) by gates (benchmarks/h100/perf-profiled-2026-11-28.json),
//          and over knobs in joint races (decode-knobs-2026-11-28.json, and with a cold cache
//          decode-knobs-cold-2026-11-28.json):
//                                               gate   joint   COPY 1   INTERLEAVE 1   neither STREAM nor PROMOTE
//              8x32 (8 heads of keys) x1x8192x128   0.947  0.953   0.965       0.957          0.981
//              1x32 (8) x1x65536x128                0.961  0.960   0.971       0.955          0.970
//              64x32 (8) x1x1024x128                0.974  0.979   0.984       0.979          0.997
//          Copies that fetch 256 bytes at a time into L2, and are the first to leave it, gain 1 to 3 %, as much with a
//          cold cache. Tiles of 16 or 64 keys, 2 to 12 warps, 2 to 6 stages, twice or four times the blocks are slower.
// Tiles    16 query rows a block, BLOCK_N keys a warp and tile, STAGES of them in flight.
// Shared   NUM_WARPS * STAGES * 2 * BLOCK_N * D * 2 bytes (by cp.async D + 8 instead of D), in whose place the partial
//          results are merged, and 11 KB at D = 128 for what the cluster's blocks send.
// Limits   fp16 or bf16, D 64, 80, 96 or 128, sm_80 or newer; before sm_90, where there are neither clusters nor the
//          accelerator, keys are split between warps only, and copied by cp.async. More than 16 rows of one K and V
//          are worked on as several blocks, which meet in L2. COPY 1 copies rows of 80 and 96 as 2 does.

#ifndef BLOCK_N  // knob: keys per tile of a warp, 16, 32 or 64; 0 chooses by architecture
#define BLOCK_N 0
#endif
#ifndef NUM_WARPS  // knob: warps per block, which split its keys
#define NUM_WARPS 4
#endif
#ifndef STAGES  // knob: K and V tiles in flight, of each warp; 0 chooses as many as fit, up to 3
#define STAGES 0
#endif
#ifndef SPLIT_KV  // knob: blocks of a cluster, which split the keys: 1, 2, 4, 8 or 16; 0 chooses by problem
#define SPLIT_KV 0
#endif
#ifndef COPY  // knob: 0 for cp.async, 1 for whole rows by the tensor memory accelerator, 2 for 128 bytes of each
#define COPY 2
#endif
#ifndef INTERLEAVE  // knob: 1 for the cluster's blocks to take tiles in turn, 0 for a stretch of keys each
#define INTERLEAVE 0
#endif

#ifndef PROMOTE  // knob: bytes that L2 fetches at a time for the accelerator, 128 or 256, or 0 for what a copy needs
#define PROMOTE 256
#endif
#ifndef STREAM  // knob: 1 for keys and values that are the first to leave L2, 0 for such as any other
#define STREAM 1
#endif

#include "attention/decode/decode_merge.cuh"
#include "attention/decode/decode_ring.cuh"
#include "attention/decode/decode_warp.cuh"
#include "cuda/cluster.cuh"
#include "cuda/exp2.cuh"
#include "cuda/head_dim.cuh"
#include "cuda/launch.cuh"
#include "cuda/tile_walk.cuh"

namespace kgate {

static_assert(BLOCK_N == 0 || BLOCK_N == 16 || BLOCK_N == 32 || BLOCK_N == 64, "BLOCK_N must be 16, 32, 64, or 0.");
static_assert(NUM_WARPS >= 1 && NUM_WARPS <= 16, "NUM_WARPS must be 1 to 16.");
static_assert(STAGES == 0 || (STAGES >= 2 && STAGES <= 8),
              "STAGES must be 2 to 8, as a tile is used while the next ones are on their way, or 0, which chooses.");
static_assert(SPLIT_KV == 0 || SPLIT_KV == 1 || SPLIT_KV == 2 || SPLIT_KV == 4 || SPLIT_KV == 8 || SPLIT_KV == 16,
              "SPLIT_KV must be 1, 2, 4, 8 or 16, the blocks of a cluster, or 0.");
static_assert(COPY >= 0 && COPY <= 2, "COPY must be 0, 1 or 2.");
static_assert(PROMOTE == 0 || PROMOTE == 128 || PROMOTE == 256, "PROMOTE must be 0, 128 or 256.");
static_assert(STREAM == 0 || STREAM == 1, "STREAM must be 0 or 1.");
static_assert(INTERLEAVE == 0 || INTERLEAVE == 1, "INTERLEAVE must be 0 or 1.");

constexpr bool kClusters = kTargets[0] >= 900;
static_assert(kClusters || SPLIT_KV <= 1, "SPLIT_KV must be 0 or 1 before sm_90: there are no clusters.");
constexpr int kBlockN = BLOCK_N != 0 ? BLOCK_N : kClusters && !kSmallShared ? 32 : 16;
constexpr int kThreads = NUM_WARPS * 32;
constexpr int kRows = kDecodeRows;
constexpr int kLeastKeys = 256;  // of a block, for its share of the merging not to outweigh them

template <typename T, int D>
struct DecodePlan {
    static constexpr DecodeCopy kCopy = !kClusters || COPY == 0 ? ByChunk : COPY == 1 && D % 64 == 0 ? ByRow : ByPanel;
    template <int Stages>
    using RingOf = DecodeRing<D, kBlockN, Stages, kCopy, STREAM != 0>;
    template <int RingBytes>
    using MergeOf = DecodeMerge<D, NUM_WARPS, RingBytes, USE_FAST_EXP>;
    static constexpr int kFit =
        (kMostShared - MergeOf<0>::kBytes - NUM_WARPS * 8 * 8) / (NUM_WARPS * RingOf<1>::kBytes);
    static constexpr int kStages = STAGES != 0 ? STAGES : max_of(min_of(kFit, 3), 2);
    using Ring = RingOf<kStages>;
    using Warp = DecodeWarp<T, D, kBlockN, Ring, USE_FAST_EXP>;
    using Merge = MergeOf<Ring::kBytes>;
    static constexpr int kBarriers = Merge::kBytes;  // behind the rings, and what is merged
    static constexpr int kBytes = kBarriers + NUM_WARPS * kStages * 8;
    static_assert(kBytes <= kMostShared,
                  "NUM_WARPS * STAGES * BLOCK_N must be less: so many tiles do not fit in shared memory.");
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

    // First of all the copies, which take longest.
    const int rank = Splits > 1 ? static_cast<int>(cluster_rank()) : 0;
    const unsigned unit = blockIdx.x / Splits;
    const unsigned head = unit / args.row_tiles;
    const int first_row = (unit - head * args.row_tiles) * kRows;
    const int batch = head / of.kv_heads;
    const int kv_head = head - batch * of.kv_heads;
    constexpr bool kInterleaved = INTERLEAVE != 0 && Splits > 1;
    const int each = kInterleaved ? NUM_WARPS * kBlockN : ceil_div(ceil_div(of.kv_seqlen, kBlockN), Splits) * kBlockN;
    const int begin = min(rank * each, of.kv_seqlen);
    const int end = kInterleaved ? of.kv_seqlen : min(begin + each, of.kv_seqlen);
    const int first = begin + warp * kBlockN;
    constexpr int kStep = NUM_WARPS * kBlockN * (kInterleaved ? Splits : 1);
    const DecodeSource source = {static_cast<const T*>(of.k) + batch * of.k_stride[0] + kv_head * of.k_stride[1],
                                 static_cast<const T*>(of.v) + batch * of.v_stride[0] + kv_head * of.v_stride[1],
                                 of.k_stride[2],
                                 of.v_stride[2],
                                 &args.k,
                                 &args.v,
                                 {batch, kv_head, 0, 0},
                                 end};
    if constexpr (Ring::kSwizzled) {
        if (threadIdx.x == 0) {
            prefetch_map(args.k);
            prefetch_map(args.v);
        }
    }
    Ring ring(address + warp * Ring::kBytes, address + Plan::kBarriers + warp * Plan::kStages * 8, source);
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
    partial.template run<Plan::kStages>(ring, first, kStep, end, seen, args.scale);

    const typename Plan::Merge merge = {shared, address, min(kRows, args.rows - first_row)};
    merge.put(partial, warp);
    __syncwarp();
    if constexpr (Splits > 1) cluster_wait();  // all blocks of the cluster run, and can be sent to
    __syncthreads();

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
        for (int i = threadIdx.x; i < merge.pairs(); i += kThreads) {
            float2 total;
            const float2 pair = merge.of_block(i, total);
            store(i, pair, total);
        }
    } else {
        merge.template send<Splits>(rank);
        __syncwarp();
        cluster_sync();
        merge.template receive<Splits>(rank, store);
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
        if (int code = make_maps(call)) return code;
        const int64_t units = static_cast<int64_t>(args.batch) * args.kv_heads * call.row_tiles;
        if constexpr (!kClusters) {
            return launch_split<1>(call, units, stream);
        } else {
            int multiprocessors = 0;
            if (int code = count_multiprocessors(multiprocessors)) return code;
            int splits = SPLIT_KV;
            if (splits == 0) {
                splits = 1;
                while (splits < 8 && units * splits * 10 < multiprocessors * int64_t{9} &&
                       args.kv_seqlen >= kLeastKeys * splits) {
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

    static int make_maps(DecodeArgs& call) {
        constexpr DecodeCopy kCopy = DecodePlan<T, D>::kCopy;
        if constexpr (kCopy != ByChunk) {
            const auto make = [&](CUtensorMap& map, const char* name, const void* pointer, const int64_t (&stride)[3]) {
                const TensorExtents keys = {call.of.batch, call.of.kv_heads, call.of.kv_seqlen, D, call.of.dtype};
                constexpr auto kPromotion = PROMOTE == 256   ? CU_TENSOR_MAP_L2_PROMOTION_L2_256B
                                            : PROMOTE == 128 ? CU_TENSOR_MAP_L2_PROMOTION_L2_128B
                                                             : CU_TENSOR_MAP_L2_PROMOTION_NONE;
                return kCopy == ByRow ? make_row_map(map, name, pointer, stride, keys, kBlockN, kPromotion)
                                      : make_tensor_map(map, name, pointer, stride, keys, kBlockN, kPromotion);
            };
            if (int code = make(call.k, "k", call.of.k, call.of.k_stride)) return code;
            return make(call.v, "v", call.of.v, call.of.v_stride);
        }
        return 0;
    }

    template <int Splits>
    static int launch_split(const DecodeArgs& call, int64_t units, void* stream) {
        constexpr auto kKernel = decode_attention<T, D, Splits>;
        if constexpr (Splits > 8) {
            if (planning == nullptr) {
                cudaFuncSetAttribute(kKernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
            }
        }
        return kgate::launch<kKernel>(call, units * Splits, kThreads, DecodePlan<T, D>::kBytes, stream);
    }
};

constexpr uint32_t kFeatures = GroupedHeads | KvSeqlen | Lse;

}  // namespace kgate

KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::kFeatures; }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::Decode, HEAD_DIM, kgate::kFeatures>(args, stream);
}
