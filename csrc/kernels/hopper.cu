// hopper: FlashAttention-3 on sm_90a: TMA copies, wgmma multiplies, and the roles are given to different warpgroups.
//
// Idea     One thread of a producer warpgroup keeps a ring of K and V tiles full, by TMA, and leaves its registers to
//          the consumers. Each consumer warpgroup has 64 query rows of a tile; Q stays in shared memory, for wgmma
//          reads it there. A turn issues the product of Q with the next K and that of the weights with V, and turns the
//          new logits into weights while the second is still under way. Named barriers pass the issuing from warpgroup
//          to warpgroup, so that one's exponentials run under the others' products.
// Tiles    BLOCK_M query rows, 64 a consumer warpgroup, BLOCK_N keys, STAGES of K and of V in flight. 0 chooses: three
//          warpgroups take a quarter longer for a tile of half as many rows more, so D = 64 has them where the busiest
//          SM is done earlier by that: at 4x16x4096x64 0.858 of the fastest SDPA, with two 0.949 (causal 0.869, 0.892);
//          at 2x8x2048x64 1.182, with two 0.936.
// Blocks   With PERSISTENT one block an SM, which goes from tile to tile: the next Q, K and V are under way while the
//          output is still being stored. Causal tiles are handed out longest first, to and fro, of SECTION_MB of K and
//          V at a time. Both are chosen by how much K and V of all heads are (number_tiles): up to 100 MB one block an
//          SM and no sections, beyond a block a tile in sections of 32 MB. Ratios to the fastest SDPA (cuDNN) under the
//          causal mask, H100, fp16, graph timer, hot cache (benchmarks/h100/hopper-knobs-2026-11-28.json):
//                                 MB    an SM, 32 MB   an SM, all   a tile, 32 MB
//              4x16x4096x128     134        1.035          0.878         0.869
//              2x16x4096x128      67        0.904          0.770         0.804
//              4x16x4096x64       67        0.900          0.874         0.923
//              4x8x2048x128       34        0.735          0.734         0.809
//              2x8x2048x128       17        0.598          0.597         0.632
// Softmax  In the log2 domain; masks only on tiles that a diagonal or the end of the keys crosses. An output is left
//          alone until its maximum has grown 256-fold, which gains 7 to 12 % at D = 64. The greatest weight is then no
//          power of two; where one key has all the weight, its rounding must cancel, and is added to the sum (each
//          lane's greatest). To add up all rounded weights by the tensor cores, as mma does, took 12 to 19 % more.
// Output   Through shared memory by TMA, which leaves out rows and columns that do not exist.
// Limits   fp16 or bf16, D 64 or 128, sm_90a; 80 and 96 take as long as 128.
// Bound    By the tensor cores at D = 128: they are busy 81 % of the time at 4x16x4096x128 on an H100, a turn's
//          products take 2048 cycles, its exponentials half of that. At D = 64 both take as long.

#ifndef BLOCK_M  // knob: query rows per tile, 128 or 192, 64 for each consumer warpgroup; 0 chooses by problem
#define BLOCK_M 0
#endif
#ifndef BLOCK_N  // knob: keys per tile, 64, 128, 176 or 192; 0 for 128
#define BLOCK_N 0
#endif
#ifndef STAGES  // knob: K and V tiles in flight; 0 chooses as many as fit, up to 4
#define STAGES 0
#endif
#ifndef PERSISTENT  // knob: 1 for one block an SM that goes from tile to tile, 0 for one a tile; 2 chooses by problem
#define PERSISTENT 2
#endif
#ifndef PING_PONG  // knob: 1 for warpgroups that take turns at issuing products, 0 for none
#define PING_PONG 1
#endif
#ifndef LAZY_RESCALE  // knob: 1 to rescale the output only where a row's maximum has grown 256-fold, 0 for every tile
#define LAZY_RESCALE 1
#endif
#ifndef SECTION_MB  // knob: MB of K and V whose causal tiles are ordered by length together; 0 chooses by problem
#define SECTION_MB 0
#endif

#include "attention/pipeline/pipeline_tiles.cuh"
#include "attention/pipeline/products16.cuh"
#include "attention/pipeline/warpgroup_pipeline.cuh"
#include "cuda/exp2.cuh"
#include "cuda/head_dim.cuh"
#include "cuda/launch.cuh"

#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#error "hopper is for sm_90a: wgmma and setmaxnreg are instructions of that architecture alone."
#endif

namespace kgate {

static_assert(BLOCK_M == 0 || BLOCK_M == 128 || BLOCK_M == 192, "BLOCK_M must be 128, at D = 64 also 192, or 0.");
static_assert(BLOCK_N == 0 || BLOCK_N == 64 || BLOCK_N == 128 || BLOCK_N == 176 || BLOCK_N == 192,
              "BLOCK_N must be 64, 128, 176 or 192, or 0.");
static_assert(STAGES == 0 || (STAGES >= 2 && STAGES <= 6), "STAGES must be 2 to 6, or 0.");
static_assert(PERSISTENT >= 0 && PERSISTENT <= 2, "PERSISTENT must be 0, 1 or 2.");
static_assert(PING_PONG == 0 || PING_PONG == 1, "PING_PONG must be 0 or 1.");
static_assert(LAZY_RESCALE == 0 || LAZY_RESCALE == 1, "LAZY_RESCALE must be 0 or 1.");
static_assert(SECTION_MB >= 0, "SECTION_MB must be at least 1, or 0.");

// Three consumer warpgroups leave 160 registers a thread, which D = 64 and 128 keys fill.
constexpr bool kThreeFit = BLOCK_N <= 128;
static_assert(BLOCK_M != 192 || HEAD_DIM == 64, "BLOCK_M must be 128 or 0 unless HEAD_DIM is 64.");
static_assert(BLOCK_M != 192 || kThreeFit, "BLOCK_N must be at most 128 with BLOCK_M 192: more would spill.");

template <typename T, int D, int Warpgroups>
struct HopperPlan {
    static constexpr int kBlockN = BLOCK_N != 0 ? BLOCK_N : 128;
    static constexpr int kRowBytes = Warpgroups * 64 * D * 2;
    static constexpr int kFit = (227 * 1024 - 2 * kRowBytes - 512) / (2 * kBlockN * D * 2);
    static constexpr int kStages = STAGES != 0 ? STAGES : max_of(min_of(kFit, 4), 2);
    using Pipeline =
        WarpgroupPipeline<Products16<T, D, kBlockN>, Warpgroups, kStages, PING_PONG, LAZY_RESCALE, USE_FAST_EXP>;
    using Ring = typename Pipeline::Ring;
    static_assert(Ring::kBytes <= 227 * 1024,
                  "2 * STAGES * BLOCK_N * D * 2 bytes, and Q, must fit in 227 KB: lower STAGES or BLOCK_N.");
};

template <typename T, int D, int Warpgroups>
__global__ void __launch_bounds__(128 * (Warpgroups + 1), 1)
    hopper_attention(const __grid_constant__ PipelineArgs args) {
    using Plan = HopperPlan<T, D, Warpgroups>;
    using Pipeline = typename Plan::Pipeline;
    extern __shared__ __align__(1024) unsigned char shared[];
    const typename Plan::Ring ring = {shared_address(shared)};
    const int role = __shfl_sync(0xffffffff, threadIdx.x / 128, 0);
    ring.start(args.q, args.k, args.v, args.o);
    const auto next_tile = [&](int round, PipelineTile& work) {
        return find_pipeline_tile<Plan::Ring::kRows, Plan::kBlockN>(args, round, work);
    };
    if (role == 0) {
        leave_registers<Warpgroups == 2 ? 24 : 32>();
        if (threadIdx.x == 0) ring.copy(args.q, args.k, args.v, next_tile);
        return;
    }
    take_registers<Warpgroups == 2 ? 240 : 160>();
    const int group = role - 1;
    const Pipeline pipeline = {ring};
    pipeline.work_all(
        args.o, group, args.negate, args.causal, args.kv_seqlen - args.seqlen, args.kv_seqlen, next_tile,
        [&](const PipelineTile&) { return args.scale; },
        [&](const PipelineTile& work, const float (&row_max)[2], const float (&row_sum)[2]) {
            store_lse(args, work, group, row_max, row_sum, args.scale, 0.0f);
            return 1.0f;
        });
}

template <typename T, int HeadDim>
struct Hopper {
    static constexpr int D = ceil_div(HeadDim, kPanelColumns) * kPanelColumns;  // columns that do not exist are zeros

    static int launch(const SdpaArgs& args, void* stream) {
        if constexpr (BLOCK_M == 192) {
            return launch_rows<3>(args, stream);
        } else if constexpr (BLOCK_M == 0 && D == 64 && kThreeFit) {
            int multiprocessors = 0;
            if (int code = count_multiprocessors(multiprocessors)) return code;
            // A row takes 0.82 of the time where three warpgroups work: 493 us for 575 at 4x16x4096x64 on an H100.
            const int64_t of_three = rows_in_turn(args, 192, multiprocessors) * 82;
            const bool three = of_three <= rows_in_turn(args, 128, multiprocessors) * 100;
            return three ? launch_rows<3>(args, stream) : launch_rows<2>(args, stream);
        } else {
            return launch_rows<2>(args, stream);
        }
    }

    // Query rows that the busiest multiprocessor works on.
    static int64_t rows_in_turn(const SdpaArgs& args, int block_m, int multiprocessors) {
        const int64_t tiles = static_cast<int64_t>(ceil_div(args.seqlen, block_m)) * args.batch * args.heads;
        return (tiles + multiprocessors - 1) / multiprocessors * block_m;
    }

    template <int Warpgroups>
    static int launch_rows(const SdpaArgs& args, void* stream) {
        using Plan = HopperPlan<T, D, Warpgroups>;
        using Ring = typename Plan::Ring;
        PipelineArgs call = {};
        int blocks = 0;
        if (int code = number_tiles(call, blocks, args, Ring::kRows, D * 4, SECTION_MB, PERSISTENT)) return code;
        const TensorExtents rows = {args.batch, args.heads, args.seqlen, HeadDim, args.dtype};
        const TensorExtents keys = {args.batch, args.kv_heads, args.kv_seqlen, HeadDim, args.dtype};
        if (int code = make_tensor_map(call.q, "q", args.q, args.q_stride, rows, 64)) return code;
        if (int code = make_tensor_map(call.k, "k", args.k, args.k_stride, keys, Plan::kBlockN)) return code;
        if (int code = make_tensor_map(call.v, "v", args.v, args.v_stride, keys, Plan::kBlockN)) return code;
        if (int code = make_tensor_map(call.o, "o", args.o, args.o_stride, rows, 64)) return code;
        return kgate::launch<hopper_attention<T, D, Warpgroups>>(call, blocks, Ring::kThreads, Ring::kBytes, stream);
    }
};

constexpr uint32_t kFeatures = GroupedHeads | KvSeqlen | Lse;

}  // namespace kgate

KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::kFeatures; }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::Hopper, HEAD_DIM, kgate::kFeatures>(args, stream);
}
