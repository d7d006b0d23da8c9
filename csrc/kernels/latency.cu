// latency: attention for small problems, where 64 to 128 blocks have to share one set of heads. One launch.
//
// Idea     1x8x512x64 has 64 tiles of 64 query rows, half of what an H200 has SMs. On sm_90 a tile is therefore given
//          to a cluster of SPLIT_KV blocks that split the keys and merge what they have through distributed shared
//          memory; before, to 8 warps, 4 row groups times 2 key groups, that merge through their own. On sm_90a, at D
//          64 and 128, a block is one warpgroup that multiplies with wgmma (warpgroup.cuh), and all its keys up to a
//          window are copied at once, by a handful of instructions (tma.cuh). Code that runs once is bound by fetching
//          its instructions: it is kept short, and a block with one window of keys, as here, has code of its own,
//          without the loop's branches. So are first looks at constants and at the output's page: they wait for nothing
//          while the keys are under way. Elsewhere the loop is that of mma.cu.
// Tiles    BLOCK_M query rows a cluster. With wgmma 64, and windows of 256 keys in STAGES tiles, at D = 128, where
//          these would spill, of 128 in half as many. With mma.sync 16 rows a warp, tiles of BLOCK_N keys, STAGES of
//          them in flight.
// Merging  The partial result of some keys is a maximum and a sum a row, and an unscaled output. Each block owns some
//          of the columns; it is sent the others' part of those by st.async, whose arrival its mbarrier counts: a
//          barrier of the cluster would wait for acknowledgements first. With wgmma, maxima and sums go ahead of the
//          output (cluster_merge.cuh).
// Shared   With wgmma Q, a window of K and V, and room for what others send: 81 KB at D = 64, 97 KB at D = 128. With
//          mma.sync 2 * STAGES * BLOCK_N * (D + PAD) * 2 bytes, Q in the place of the last V, and that room on sm_90:
//          55 KB at D = 80, 66 KB at D = 96. Before sm_90 34 to 45 KB.
// Registers up to 255 at 4 warps, 128 at 8: two blocks an SM either way.
// Limits   fp16 or bf16, D 64, 80, 96 or 128, sm_80 or newer; sm_90 without the a needs WGMMA=0. Right for any length,
//          but made for short ones: mma.cu is faster as soon as its blocks fill the GPU.
// Result   The fastest rung at 1x8x512x64: 0.45 of SDPA's fastest backend (cuDNN) on an H200, causal as well
//          (benchmarks/h200/perf-2026-11-21.json), and 0.44 on another one, whose cuDNN was 3 % slower
//          (benchmarks/h200/latency-another-h200-2026-11-21.json).

#ifndef BLOCK_M  // knob: query rows per cluster of blocks; 0 chooses by architecture
#define BLOCK_M 0
#endif
#ifndef BLOCK_N  // knob: keys per tile; 0 chooses by architecture and head dimension
#define BLOCK_N 0
#endif
#ifndef STAGES  // knob: K and V tiles in flight
#define STAGES 2
#endif
#ifndef NUM_WARPS  // knob: warps per block; more than BLOCK_M / 16 split the block's keys; 0 chooses by architecture
#define NUM_WARPS 0
#endif
#ifndef SPLIT_KV  // knob: blocks of a cluster, which split the keys; 1 without clusters, 0 chooses by architecture
#define SPLIT_KV 0
#endif
#ifndef WGMMA  // knob: 1 for wgmma where the architecture and the head dimension have it, 0 for mma.sync everywhere
#define WGMMA 1
#endif

#include "attention/mma/key_loop.cuh"
#include "attention/mma/merge.cuh"
#include "attention/warpgroup/cluster_merge.cuh"
#include "attention/warpgroup/warpgroup.cuh"
#include "cuda/cluster.cuh"
#include "cuda/debug_assert.cuh"
#include "cuda/exp2.cuh"
#include "cuda/knobs.cuh"
#include "cuda/launch.cuh"
#include "cuda/mbarrier.cuh"
#include "cuda/mma_sync.cuh"
#include "cuda/tile_walk.cuh"
#include "cuda/tma.cuh"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900 && !defined(__CUDA_ARCH_FEAT_SM90_ALL) && WGMMA
#error "WGMMA must be 0 for sm_90: wgmma is an instruction of sm_90a."
#endif

namespace kgate {

static_assert(STAGES >= 2 && STAGES <= 4, "STAGES must be 2, 3 or 4: a tile is used while the next is on its way.");
static_assert(WGMMA == 0 || WGMMA == 1, "WGMMA must be 0 or 1.");
static_assert(SPLIT_KV == 0 || SPLIT_KV == 1 || SPLIT_KV == 2 || SPLIT_KV == 4 || SPLIT_KV == 8,
              "SPLIT_KV must be 1, 2, 4 or 8, the blocks of a cluster, or 0.");

constexpr bool kDefaults = BLOCK_M == 0 && BLOCK_N == 0 && NUM_WARPS == 0 && STAGES == 2 && SPLIT_KV == 0 && PAD == 8;
constexpr bool kClusters = kTargets[0] >= 900;
constexpr int kBlocks = SPLIT_KV != 0 ? SPLIT_KV : kClusters ? 2 : 1;  // of a cluster
static_assert(kClusters || kBlocks == 1, "SPLIT_KV must be 0 or 1 before sm_90: there are no clusters.");

constexpr int kBlockM = BLOCK_M != 0 ? BLOCK_M : 64;
constexpr int kWarps = NUM_WARPS != 0 ? NUM_WARPS : kClusters ? 4 : 8;
constexpr int kThreads = kWarps * 32;
constexpr int kResident = kClusters || kWarps > 8 ? 1 : 2;  // blocks an SM
constexpr int kRegisters = 65536 / (kResident * kThreads) < 255 ? 65536 / (kResident * kThreads) : 255;
constexpr int kRowGroups = max_of(kBlockM / 16, 1);
constexpr int kKeyGroups = max_of(kWarps / kRowGroups, 1);
static_assert(kWarps >= 1 && kWarps <= 32, "NUM_WARPS must be 1 to 32, or 0: a block holds at most 1024 threads.");
static_assert(kBlockM % 16 == 0 && kRowGroups * kKeyGroups == kWarps,
              "NUM_WARPS must be a multiple of BLOCK_M / 16, and BLOCK_M of 16: each warp takes 16 rows.");

template <typename T, int D>
struct Plan {
    static constexpr int kBlockN = BLOCK_N != 0 ? BLOCK_N : kClusters || D <= 80 ? 64 : 32;
    static_assert(kBlockN % (16 * kKeyGroups) == 0 && kBlockN / kKeyGroups <= 128,
                  "BLOCK_N / (16 * NUM_WARPS / BLOCK_M), the keys per warp, must be a multiple of 16 up to 128.");
    using Loop = KeyLoop<T, D, kBlockM, kBlockN, kRowGroups, kKeyGroups, STAGES, PAD, kRegisters, USE_FAST_EXP>;
    using Partial = typename Loop::Partial;
    using PartialExchange = Merge<Partial, kRowGroups, kKeyGroups, kBlocks>;
    // Other blocks write here while this one may still read K and V; without clusters a barrier makes that room free.
    static constexpr int kExchange = kBlocks > 1 ? Loop::kBytes : 0;
    static constexpr int kBytes = max_of(Loop::kBytes, kExchange + PartialExchange::kBytes);
    static_assert(kClusters || !kDefaults || !kSmallShared || 2 * (kBytes + 1024) <= kMostShared + 1024,
                  "The default tiles must leave room for two blocks an SM.");
};

template <typename T, int D>
__global__ void
#if __CUDA_ARCH_LIST__ >= 900
__cluster_dims__(kBlocks, 1, 1)
#endif
    __launch_bounds__(kThreads, kResident) latency_attention(const __grid_constant__ SdpaArgsV1 args) {
    using P = Plan<T, D>;
    extern __shared__ __align__(1024) unsigned char shared[];
    const unsigned address = shared_address(shared);
    const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0);  // as the compiler sees: the same in all lanes
    const int row_group = warp % kRowGroups;
    const int key_group = warp / kRowGroups;
    const int rank = kBlocks > 1 ? cluster_rank() : 0;
    const typename P::PartialExchange exchange = {address + P::kExchange, row_group, key_group, rank};

    const Tile tile = find_tile(args, kBlockM, blockIdx.x / kBlocks);
    const int each = ceil_div(ceil_div(tile.keys, 16), kBlocks) * 16;
    const int begin = min(rank * each, tile.keys);  // of this block's keys, of which there may be none
    const int end = min(begin + each, tile.keys);
    typename P::Partial partial = P::Loop::run(args, tile, address, row_group, key_group, begin, end, [&] {
        exchange.prepare();
        prefetch_output_page(head_pointer(static_cast<const T*>(args.o), args.o_stride, tile));
    });

    if constexpr (kBlocks > 1) {
        cluster_wait();  // all blocks of the cluster run, and are ready to be sent to
    } else {
        __syncthreads();  // K and V have no reader left
    }
    exchange.send(partial);
    exchange.wait();
    const int first_row = tile.first_row + row_group * 16;  // of this warp
    T* const o = head_pointer(static_cast<T*>(args.o), args.o_stride, tile) + first_row * args.o_stride[2];
    exchange.template receive<T, USE_FAST_EXP>(partial, o, args.o_stride[2], args.seqlen - first_row);
}

// ------------------------------------------------------------------------------------------------------------ on wgmma

template <int D>
constexpr bool kUsesWgmma = WGMMA && kTargets[0] == 900 && D % kPanelColumns == 0;

// Division of 0 <= n < 2^31 by a number that all threads of a launch share, in a tenth of the time of n / by.
struct FastDivmod {
    unsigned multiplier;
    unsigned char shift = 31;

    explicit FastDivmod(int64_t by) {
        while ((int64_t{1} << (shift - 31)) < by) ++shift;
        multiplier = static_cast<unsigned>((uint64_t{1} << shift) / by + 1);
    }
};
__device__ inline unsigned divide(unsigned n, unsigned multiplier, unsigned shift) {
    return static_cast<unsigned>(static_cast<uint64_t>(n) * multiplier >> shift);
}

// What a block needs at its start and at its end. Each first look at a line of the constant bank costs some 100 cycles:
// the first parameter of a kernel for sm_90 shares its line with what every store looks up, and these 48 bytes fill
// that line.
struct WarpgroupArgs {
    int seqlen;
    int heads;
    int tiles;          // of a head
    float scale;        // LogScale::log2
    unsigned by_tiles;  // FastDivmod::multiplier: by `tiles`,
    unsigned by_batch;  // and by the tiles of all heads
    unsigned char tiles_shift, batch_shift;
    bool negate;  // LogScale::negate
    bool causal;
    void* o;
    int64_t row_stride;  // of o
};
static_assert(sizeof(WarpgroupArgs) == 48,
              "The first parameter must fill its line of the constant bank, and no other.");

struct WarpgroupTensors {
    int64_t o_stride[2];
    CUtensorMap q, k, v;
};

template <typename T, int D>
struct WarpgroupPlan {
    static constexpr int kBlockN = BLOCK_N != 0 ? BLOCK_N : 256 / STAGES;
    static constexpr int kTiles = D == 64 ? STAGES : STAGES / 2;
    static_assert(!WGMMA || BLOCK_M == 0 || BLOCK_M == 64,
                  "BLOCK_M must be 0 or 64 with WGMMA: that is what the instruction takes.");
    static_assert(!WGMMA || NUM_WARPS == 0 || NUM_WARPS == 4,
                  "NUM_WARPS must be 0 or 4 with WGMMA: the warps of a warpgroup.");
    static_assert(kBlockN * STAGES == 256 || (D == 64 && kBlockN * STAGES == 128),
                  "BLOCK_N * STAGES must be 256 with WGMMA, at D = 64 also 128; BLOCK_N = 0 sees to it.");
    using Loop = WarpgroupLoop<T, D, kBlockN, kTiles, USE_FAST_EXP>;
    using PartialExchange = ClusterMerge<T, D / 8, kBlocks, USE_FAST_EXP>;
    static constexpr int kExchange = Loop::kBytes;  // other blocks write here while this one may still read K and V
    static constexpr int kBytes = kExchange + PartialExchange::kBytes;
};

// As find_tile, without its divisions.
__device__ inline Tile find_warpgroup_tile(const WarpgroupArgs& args, unsigned index) {
    const unsigned slice = divide(index, args.by_tiles, args.tiles_shift);
    const unsigned batch = divide(index, args.by_batch, args.batch_shift);
    int tile = index - slice * args.tiles;
    if (args.causal) tile = args.tiles - 1 - tile;
    const int first_row = tile * 64;
    const int keys = args.causal ? min(args.seqlen - first_row, 64) + first_row : args.seqlen;
    return {static_cast<int>(batch), static_cast<int>(slice - batch * args.heads), first_row, keys};
}

template <typename T, int D>
__global__ void
#if __CUDA_ARCH_LIST__ >= 900
__cluster_dims__(kBlocks, 1, 1)
#endif
    __launch_bounds__(128, 1) latency_warpgroup(const __grid_constant__ WarpgroupArgs args,
                                                const __grid_constant__ WarpgroupTensors tensors) {
    using P = WarpgroupPlan<T, D>;
    extern __shared__ __align__(1024) unsigned char shared[];
    const unsigned address = shared_address(shared);
    DEBUG_ASSERT(address % 1024 == 0);  // panels are swizzled by address
    const int rank = kBlocks > 1 ? cluster_rank() : 0;
    const typename P::PartialExchange exchange = {address + P::kExchange, rank};

    const Tile tile = find_warpgroup_tile(args, blockIdx.x / kBlocks);
    const int each = ceil_div(ceil_div(tile.keys, 16), kBlocks) * 16;
    const int begin = min(rank * each, tile.keys);  // of this block's keys, of which there may be none
    const int end = min(begin + each, tile.keys);
    const LogScale scale = {args.scale, args.negate};
    const typename P::Loop loop = {address, tensors.q, tensors.k, tensors.v, tile, scale, args.causal, begin, end};
    if (threadIdx.x == 0) {
        loop.prepare_keys();
        mbarrier_fence();
        if (begin < end) loop.load_keys(begin, true);
        loop.prepare_values();
        exchange.prepare();
        mbarrier_fence();
    }
    __syncwarp();
    if constexpr (kBlocks > 1) cluster_arrive();
    __syncthreads();  // the barriers are ready
    T* const o = head_pointer(static_cast<T*>(args.o), tensors.o_stride, tile);
    prefetch_output_page(o);

    typename P::Loop::Partial partial;
    loop.run(partial, [&] {
        partial.finish();
        if constexpr (kBlocks > 1) cluster_wait();  // all blocks of the cluster run, and are ready to be sent to
        exchange.send_statistics(partial.row_max, partial.row_sum);
    });
    exchange.send_output(partial.output);
    const int first_row = tile.first_row + static_cast<int>(threadIdx.x) / 32 * 16;  // of this warp
    exchange.receive(partial.output, partial.row_max, partial.row_sum, scale.log2, o + first_row * args.row_stride,
                     args.row_stride, args.seqlen - first_row);
}

template <typename T, int D>
int launch_warpgroup(const SdpaArgsV1& args, void* stream) {
    using P = WarpgroupPlan<T, D>;
    const int tiles = ceil_div(args.seqlen, 64);
    const int64_t all_heads = static_cast<int64_t>(tiles) * args.heads;
    const float log2 = fmaxf(fabsf(args.scale) * kLog2E, std::numeric_limits<float>::min());
    const FastDivmod by_tiles(tiles);
    const FastDivmod by_batch(all_heads);
    const WarpgroupArgs arguments = {args.seqlen,         args.heads,          tiles,          log2,
                                     by_tiles.multiplier, by_batch.multiplier, by_tiles.shift, by_batch.shift,
                                     args.scale < 0.0f,   args.causal != 0,    args.o,         args.o_stride[2]};
    WarpgroupTensors tensors = {{args.o_stride[0], args.o_stride[1]}, {}, {}, {}};
    if (int code = make_tensor_map(tensors.q, "q", args.q, args.q_stride, args, P::Loop::kRows)) return code;
    if (int code = make_tensor_map(tensors.k, "k", args.k, args.k_stride, args, P::kBlockN)) return code;
    if (int code = make_tensor_map(tensors.v, "v", args.v, args.v_stride, args, P::kBlockN)) return code;
    const int64_t blocks = all_heads * args.batch * kBlocks;
    return kgate::launch<latency_warpgroup<T, D>>(arguments, blocks, 128, P::kBytes, stream, tensors);
}

template <typename T, int D>
struct Latency {
    static int launch(const SdpaArgsV1& args, void* stream) {
        if constexpr (kUsesWgmma<D>) {
            return launch_warpgroup<T, D>(args, stream);
        } else {
            const int64_t tiles = static_cast<int64_t>(ceil_div(args.seqlen, kBlockM)) * args.batch * args.heads;
            return kgate::launch<latency_attention<T, D>>(args, tiles * kBlocks, kThreads, Plan<T, D>::kBytes, stream);
        }
    }
};

constexpr uint32_t kFeatures = SharedHeads;

}  // namespace kgate

KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::kFeatures; }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::Latency, HEAD_DIM, kgate::kFeatures>(args, stream);
}
