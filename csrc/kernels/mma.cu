// mma: FlashAttention-2 through mma.sync m16n8k16 and ldmatrix, 16-bit inputs, fp32 accumulation, softmax in registers.
//
// Idea     The accumulator's layout is known here, so a row is reduced by two shuffles, and P goes from the logits'
//          registers into the product with V without touching memory. What is left is to keep the tensor cores fed: few
//          instructions beside theirs, and few bytes of shared memory for each product.
// Tiles    A block of NUM_WARPS warps takes BLOCK_M query rows of one head, a warp 16 or 32 of them: with 32, each
//          fragment of K or V is used twice. SPLIT_KV groups of warps split each tile of BLOCK_N keys, whose results
//          are merged once, at the end, through shared memory. By default, on sm_90: 128 rows, 32 a warp, if that makes
//          a block for every SM, D is 64 or 128, and no mask unbalances them; else 64 rows, as two groups of two warps:
//          half the work per block, done in half the time. Before sm_90: 64 rows, 16 a warp. Causal tiles start
//          heaviest first.
// Stages   cp.async, one group a tile, one barrier a tile. If registers allow it, the logits are a tile ahead: their
//          product, exponentials, the product with V and the new logits' maxima are one stretch of code without a
//          branch. A warp is one of two that a scheduler has, and waits for most of what it issues: what it has between
//          two waits counts.
// Softmax  In the log2 domain, scale * log2(e) folded into one multiply-add. A lane compares its own logits with a
//          limit; only when one is above it, a maximum having grown by a factor of 256, do the lanes of a row agree on
//          a new one. Row sums are of the rounded P, on the tensor cores, as a column of ones beside V: the error of
//          rounding P cancels where one key dominates, and nothing has to be reduced across lanes.
// Shared   2 * STAGES * BLOCK_N * (D + PAD) * 2 bytes, and Q in the place of the last V until it is in registers. Where
//          32 rows a warp leave no registers for Q, it stays in shared memory. Defaults: 50 or 72 KB at D = 64, up to
//          102 KB at 128; before sm_90 36 to 45 KB, two blocks an SM. A row stride of D + 8 elements is free of bank
//          conflicts for every D.
// Registers Output D / 2, logits BLOCK_N / 2 (twice if ahead), Q D / 4 a lane, for each 16 rows: up to 255, two blocks
//          an SM.
// Limits   fp16 or bf16, D 64, 80, 96 or 128, sm_80 or newer. mma.sync reaches about 62 % of what wgmma reaches on
//          Hopper.
// Result   On an H200 0.84 of SDPA's fastest backend (cuDNN) at 1x8x512x64 and 0.91 at 2x8x2048x64 causal; of its flash
//          backend 0.76 and 0.58 there, 0.82 without the mask and 0.90 at 2x8x2048x128
//          (benchmarks/h200/perf-2026-11-21.json). cuDNN, on wgmma, is ahead on long sequences without a mask.

#ifndef BLOCK_M  // knob: query rows per block; 0 chooses by architecture and problem
#define BLOCK_M 0
#endif
#ifndef BLOCK_N  // knob: keys per tile; 0 chooses by architecture and head dimension
#define BLOCK_N 0
#endif
#ifndef NUM_WARPS  // knob: warps per block, each with 16 or 32 rows
#define NUM_WARPS 4
#endif
#ifndef STAGES  // knob: K and V tiles in flight; 0 chooses by architecture, problem and head dimension
#define STAGES 0
#endif
#ifndef SPLIT_KV  // knob: parts into which a tile's keys are split, each with warps of its own; 0 chooses by BLOCK_M
#define SPLIT_KV 0
#endif

#include "attention/mma/key_loop.cuh"
#include "attention/mma/merge.cuh"
#include "cuda/exp2.cuh"
#include "cuda/knobs.cuh"
#include "cuda/launch.cuh"
#include "cuda/mma_sync.cuh"
#include "cuda/tile_walk.cuh"

namespace kgate {

static_assert(NUM_WARPS >= 1 && NUM_WARPS <= 32, "NUM_WARPS must be 1 to 32: a block holds at most 1024 threads.");
static_assert(SPLIT_KV >= 0 && (SPLIT_KV == 0 || NUM_WARPS % max_of(SPLIT_KV, 1) == 0),
              "SPLIT_KV must divide NUM_WARPS: each part of the keys has as many warps. 0 chooses.");
static_assert(STAGES == 0 || (STAGES >= 2 && STAGES <= 4),
              "STAGES must be 2, 3 or 4, as a tile is used while the next is on its way, or 0, which chooses.");

constexpr int kThreads = NUM_WARPS * 32;
constexpr bool kHopper = kTargets[0] >= 900;
constexpr bool kDefaults = BLOCK_M == 0 && BLOCK_N == 0 && NUM_WARPS == 4 && STAGES == 0 && SPLIT_KV == 0 && PAD == 8;
constexpr bool kHasWide = kHopper && BLOCK_M == 0;  // both plans are compiled, and the problem decides

template <typename T, int D, bool Wide>
struct Plan {
    static constexpr int kBlockM = BLOCK_M != 0 ? BLOCK_M : Wide ? 128 : 64;
    static constexpr int kSplit = SPLIT_KV != 0 ? SPLIT_KV : kHopper && kBlockM == NUM_WARPS * 16 ? 2 : 1;
    static constexpr int kBlockN = BLOCK_N != 0 ? BLOCK_N : kHopper ? (Wide && D == 64 ? 32 : 64) : D <= 80 ? 64 : 32;
    static constexpr int kStages = STAGES != 0 ? STAGES : !kHopper || D > 80 ? 2 : 4;
    static constexpr int kRowGroups = max_of(NUM_WARPS / kSplit, 1);
    static constexpr int kWarpRows = kBlockM / kRowGroups;
    static_assert(kRowGroups * kWarpRows == kBlockM && (kWarpRows == 16 || kWarpRows == 32),
                  "BLOCK_M must be 16 or 32 times NUM_WARPS / SPLIT_KV: each warp takes 16 or 32 rows.");
    static_assert(kBlockN % (16 * kSplit) == 0 && kBlockN / kSplit >= 16 && kBlockN / kSplit <= 128,
                  "BLOCK_N / SPLIT_KV, the keys per warp, must be a multiple of 16 from 16 to 128.");
    using Loop = KeyLoop<T, D, kBlockM, kBlockN, kRowGroups, kSplit, kStages, PAD, 255, USE_FAST_EXP>;
    using Partial = typename Loop::Partial;
    using PartialExchange = Merge<Partial, kRowGroups, kSplit, 1>;
    static constexpr int kBytes = kSplit > 1 ? max_of(Loop::kBytes, PartialExchange::kBytes) : Loop::kBytes;
    static_assert(kHopper || !kDefaults || !kSmallShared || 2 * (kBytes + 1024) <= kMostShared + 1024,
                  "The default tiles must leave room for two blocks an SM.");
};

// Causal tiles start heaviest first, those of all heads together: what is started last, and ends last, is short. The
// volatile read lets the kernel ask twice, before and after the loop, instead of holding the answer in registers.
__device__ inline Tile find_mma_tile(const SdpaArgsV1& args, int block_m) {
    unsigned block;
    asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(block));
    Tile tile = find_tile(args, block_m, block);
    if (args.causal) {
        const int slices = args.batch * args.heads;
        const int slice = block % slices;
        tile.batch = slice / args.heads;
        tile.head = slice % args.heads;
        tile.first_row = (gridDim.x - 1 - block) / slices * block_m;
        tile.keys = min(args.seqlen - tile.first_row, block_m) + tile.first_row;
    }
    return tile;
}

template <typename T, int D, bool Wide>
__global__ void __launch_bounds__(kThreads, 1) mma_attention(const __grid_constant__ SdpaArgsV1 args) {
    using P = Plan<T, D, Wide>;
    using Partial = typename P::Partial;
    constexpr int kStride = P::Loop::kStride;
    extern __shared__ __align__(128) unsigned char shared[];
    const unsigned address = shared_address(shared);
    const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0);  // as the compiler sees: the same in all lanes
    const int row_group = warp % P::kRowGroups;
    const int key_group = warp / P::kRowGroups;
    const Tile before = find_mma_tile(args, P::kBlockM);
    Partial partial = P::Loop::run(args, before, address, row_group, key_group, 0, before.keys, [&] {
        prefetch_output_page(head_pointer(static_cast<const T*>(args.o), args.o_stride, before));
    });

    const Tile tile = find_mma_tile(args, P::kBlockM);
    const int first_row = tile.first_row + row_group * P::kWarpRows;  // of this warp
    T* const o = head_pointer(static_cast<T*>(args.o), args.o_stride, tile) + first_row * args.o_stride[2];
    const int rows = args.seqlen - first_row;
    if constexpr (P::kSplit > 1) {
        const typename P::PartialExchange exchange = {address, row_group, key_group, 0};
        __syncthreads();  // K, V and Q have no reader left: the partial results take their place
        exchange.send(partial);
        exchange.wait();
        exchange.template receive<T, USE_FAST_EXP>(partial, o, args.o_stride[2], rows);
    } else {
        if constexpr (Partial::kKeepQ) __syncthreads();  // V, in whose place Q was, has no reader left
        partial.store(address + P::Loop::kQ + row_group * P::kWarpRows * kStride * 2, o, args.o_stride[2], rows);
    }
}

template <typename T, int D>
struct Mma {
    static int launch(const SdpaArgsV1& args, void* stream) {
        if constexpr (kHasWide && (D == 64 || D == 128)) {  // not the rarer two: each plan costs a second of compiling
            int multiprocessors = 0;
            if (int code = count_multiprocessors(multiprocessors)) return code;
            const int64_t blocks =
                static_cast<int64_t>(ceil_div(args.seqlen, Plan<T, D, true>::kBlockM)) * args.batch * args.heads;
            if (!args.causal && blocks >= multiprocessors) return launch_plan<true>(args, stream);
        }
        return launch_plan<false>(args, stream);
    }

    template <bool Wide>
    static int launch_plan(const SdpaArgsV1& args, void* stream) {
        using P = Plan<T, D, Wide>;
        const int64_t blocks = static_cast<int64_t>(ceil_div(args.seqlen, P::kBlockM)) * args.batch * args.heads;
        return kgate::launch<mma_attention<T, D, Wide>>(args, blocks, kThreads, P::kBytes, stream);
    }
};

constexpr uint32_t kFeatures = SharedHeads;

}  // namespace kgate

KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::kFeatures; }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::Mma, HEAD_DIM, kgate::kFeatures>(args, stream);
}
