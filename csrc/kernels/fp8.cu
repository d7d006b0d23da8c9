// fp8: attention of e4m3 numbers with a scale a head, on the pipeline of hopper.cu. Its answer is bfloat16.
//
// Idea     Twice the products a second, and half the bytes. wgmma takes 8-bit operands only along their rows, so a first
//          launch transposes V into the workspace, the keys of each 32 in an order by which weights need not change lanes
//          between the two products (products8.cuh). Logits are as exact as their inputs; weights are rounded to e4m3,
//          multiplied by 2^8 before, so that what is far below the greatest is still a normal number. The scales of q and
//          k go into the softmax's, that of v into the last division.
// Tiles    BLOCK_M query rows, 64 a consumer warpgroup, 128 keys, STAGES of K and of V in flight. 0 chooses.
// Limits   e4m3, D 64 or 128, sm_90a.

#ifndef BLOCK_M  // knob: query rows per tile, 128 or 192, 64 for each consumer warpgroup; 0 chooses by head dimension
#define BLOCK_M 0
#endif
#ifndef STAGES  // knob: K and V tiles in flight; 0 chooses as many as fit, up to 5
#define STAGES 0
#endif
#ifndef PERSISTENT  // knob: 1 for one block an SM that goes from tile to tile, 0 for a block a tile
#define PERSISTENT 1
#endif
#ifndef PING_PONG  // knob: 1 for warpgroups that take turns at issuing products, 0 for none
#define PING_PONG 1
#endif
#ifndef SECTION_MB  // knob: MB of K and V whose causal tiles are ordered by length together
#define SECTION_MB 32
#endif

#include "attention/pipeline_tiles.cuh"
#include "attention/products8.cuh"
#include "attention/warpgroup_pipeline.cuh"
#include "cuda/debug_assert.cuh"
#include "cuda/exp2.cuh"
#include "cuda/head_dim.cuh"
#include "cuda/launch.cuh"

#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#error "fp8 is for sm_90a: wgmma and setmaxnreg are instructions of that architecture alone."
#endif

namespace kgate {

static_assert(BLOCK_M == 0 || BLOCK_M == 128 || BLOCK_M == 192, "BLOCK_M must be 128 or 192, or 0.");
static_assert(STAGES == 0 || (STAGES >= 2 && STAGES <= 6), "STAGES must be 2 to 6, or 0.");
static_assert(PERSISTENT == 0 || PERSISTENT == 1, "PERSISTENT must be 0 or 1.");
static_assert(PING_PONG == 0 || PING_PONG == 1, "PING_PONG must be 0 or 1.");
static_assert(HEAD_DIM == 0 || HEAD_DIM == 64 || HEAD_DIM == 128, "HEAD_DIM must be 0 (both), 64 or 128.");
static_assert(SECTION_MB >= 1, "SECTION_MB must be at least 1.");

constexpr int kTileKeys = 128;

template <int D>
struct Fp8Plan {
    static constexpr int kWarpgroups = BLOCK_M != 0 ? BLOCK_M / 64 : 2;
    static constexpr int kFit =
        (227 * 1024 - kWarpgroups * 64 * (kPanelRow + 2 * D) - 512) / ((kTileKeys + D) * kPanelRow);
    static constexpr int kStages = STAGES != 0 ? STAGES : max_of(min_of(kFit, 5), 2);
    using Pipeline = WarpgroupPipeline<Products8<D>, kWarpgroups, kStages, PING_PONG != 0, false, USE_FAST_EXP>;
    static_assert(Pipeline::kBytes <= 227 * 1024, "Q, O and STAGES tiles must fit in 227 KB: lower STAGES.");
};

// ------------------------------------------------------------------------------------------------------- V, transposed

struct TransposeArgs {
    const unsigned char* v;
    unsigned char* transposed;  // (batch, kv_heads, D, tiles * 128), the keys of each 32 as key_at says
    int64_t v_stride[3];
    int kv_heads, kv_seqlen;
    int tiles;  // of 128 keys
};

constexpr int kTransposeThreads = 256;

template <int D>
__global__ void __launch_bounds__(kTransposeThreads) fp8_transpose(const __grid_constant__ TransposeArgs args) {
    __shared__ __align__(16) unsigned char rows[kTileKeys][D];
    const int tile = blockIdx.x % args.tiles;
    const int slice = blockIdx.x / args.tiles;
    const unsigned char* const v = args.v + slice / args.kv_heads * args.v_stride[0] +
                                   slice % args.kv_heads * args.v_stride[1];
    for (int i = threadIdx.x; i < kTileKeys * D / 16; i += kTransposeThreads) {
        const int row = i / (D / 16);
        const int column = i % (D / 16) * 16;
        const int key = tile * kTileKeys + row;
        uint4 chunk = {};  // keys that do not exist: a weight of zero times what is no number would be none
        if (key < args.kv_seqlen) chunk = *reinterpret_cast<const uint4*>(v + key * args.v_stride[2] + column);
        *reinterpret_cast<uint4*>(&rows[row][column]) = chunk;
    }
    __syncthreads();
    const int64_t row_bytes = static_cast<int64_t>(args.tiles) * kTileKeys;
    unsigned char* const target = args.transposed + slice * D * row_bytes + tile * kTileKeys;
    for (int i = threadIdx.x; i < kTileKeys * D / 16; i += kTransposeThreads) {
        const int d = i % D;  // neighbouring threads read neighbouring bytes
        const int place = i / D * 16;
        unsigned words[4];
#pragma unroll
        for (int w = 0; w < 4; ++w) {
            words[w] = 0;
#pragma unroll
            for (int b = 0; b < 4; ++b) {
                const unsigned byte = rows[place / 32 * 32 + key_at(place % 32 + w * 4 + b)][d];
                words[w] |= byte << 8 * b;
            }
        }
        *reinterpret_cast<uint4*>(target + d * row_bytes + place) = make_uint4(words[0], words[1], words[2], words[3]);
    }
}

// ----------------------------------------------------------------------------------------------------------- attention

struct Scales {
    const float *q, *k, *v;  // of each head, or null
};

__device__ inline float scale_of(const float* scales, int head) { return scales == nullptr ? 1.0f : scales[head]; }

template <int D>
__global__ void __launch_bounds__(128 * (Fp8Plan<D>::kWarpgroups + 1), 1)
    fp8_attention(const __grid_constant__ PipelineArgs args, const __grid_constant__ Scales scales) {
    using Pipeline = typename Fp8Plan<D>::Pipeline;
    constexpr int kWarpgroups = Fp8Plan<D>::kWarpgroups;
    extern __shared__ __align__(1024) unsigned char shared[];
    const Pipeline pipeline = {shared_address(shared)};
    DEBUG_ASSERT(pipeline.shared % 1024 == 0);  // panels are swizzled by address
    const int role = __shfl_sync(0xffffffff, threadIdx.x / 128, 0);
    if (threadIdx.x == 0) {
        prefetch_map(args.q);
        prefetch_map(args.k);
        prefetch_map(args.v);
        prefetch_map(args.o);
        pipeline.prepare();
    }
    __syncthreads();
    const auto next_tile = [&](int round, PipelineTile& work) {
        return find_pipeline_tile<Pipeline::kRows, kTileKeys>(args, round, work);
    };
    if (role == 0) {
        leave_registers<kWarpgroups == 2 ? 24 : 32>();
        if (threadIdx.x == 0) pipeline.copy(args.q, args.k, args.v, next_tile);
        return;
    }
    take_registers<kWarpgroups == 2 ? 240 : 160>();
    const int group = role - 1;
    const auto logit_scale = [&](const PipelineTile& work) {
        return args.scale * scale_of(scales.q, work.tile.head) * scale_of(scales.k, work.kv_head);
    };
    pipeline.work_all(args.o, group, args.negate, args.causal, args.kv_seqlen - args.seqlen, args.kv_seqlen, next_tile,
                      logit_scale, [&](const PipelineTile& work, const typename Pipeline::Partial& partial) {
                          store_lse(args, work, group, partial, logit_scale(work), Products8<D>::kLogWeight);
                          return scale_of(scales.v, work.kv_head);
                      });
}

int64_t transposed_bytes(const SdpaArgs& args) {
    return static_cast<int64_t>(args.batch) * args.kv_heads * args.head_dim * ceil_div(args.kv_seqlen, kTileKeys) *
           kTileKeys;
}

template <int D>
int launch_fp8(const SdpaArgs& args, void* stream) {
    using Pipeline = typename Fp8Plan<D>::Pipeline;
    const int tiles = ceil_div(args.kv_seqlen, kTileKeys);
    if (planning == nullptr && args.workspace_bytes < transposed_bytes(args)) {
        return fail(kBadArgument, "The workspace has %lld bytes, and must have %lld (kgate_sdpa_workspace).",
                    static_cast<long long>(args.workspace_bytes), static_cast<long long>(transposed_bytes(args)));
    }
    PipelineArgs call = {};
    int blocks = 0;
    if (int code = number_tiles(call, blocks, args, Pipeline::kRows, D * 2, SECTION_MB, PERSISTENT)) return code;
    const int64_t row_bytes = static_cast<int64_t>(tiles) * kTileKeys;
    const int64_t transposed[3] = {args.kv_heads * D * row_bytes, D * row_bytes, row_bytes};
    const TensorExtents rows = {args.batch, args.heads, args.seqlen, D, Float8E4M3};
    const TensorExtents keys = {args.batch, args.kv_heads, args.kv_seqlen, D, Float8E4M3};
    const TensorExtents values = {args.batch, args.kv_heads, D, static_cast<int>(row_bytes), Float8E4M3};
    const TensorExtents answer = {args.batch, args.heads, args.seqlen, D, BFloat16};
    if (int code = make_tensor_map(call.q, "q", args.q, args.q_stride, rows, 64)) return code;
    if (int code = make_tensor_map(call.k, "k", args.k, args.k_stride, keys, kTileKeys)) return code;
    if (int code = make_tensor_map(call.v, "the workspace", args.workspace, transposed, values, D)) return code;
    if (int code = make_tensor_map(call.o, "o", args.o, args.o_stride, answer, 64)) return code;
    const TransposeArgs transpose = {static_cast<const unsigned char*>(args.v),
                                     static_cast<unsigned char*>(args.workspace),
                                     {args.v_stride[0], args.v_stride[1], args.v_stride[2]},
                                     args.kv_heads,
                                     args.kv_seqlen,
                                     tiles};
    const int64_t slices = static_cast<int64_t>(args.batch) * args.kv_heads;
    if (int code = kgate::launch<fp8_transpose<D>>(transpose, slices * tiles, kTransposeThreads, 0, stream)) {
        return code;
    }
    const Scales scales = {args.q_scale, args.k_scale, args.v_scale};
    return kgate::launch<fp8_attention<D>>(call, blocks, Pipeline::kThreads, Pipeline::kBytes, stream, scales);
}

constexpr uint32_t kFeatures = GroupedHeads | KvSeqlen | Lse | EightBits;

}  // namespace kgate

KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::kFeatures; }

KGATE_EXPORT int64_t kgate_sdpa_workspace(const kgate::SdpaArgs* args) {
    const bool taken = args->dtype == kgate::Float8E4M3 && (args->head_dim == 64 || args->head_dim == 128);
    return taken ? kgate::transposed_bytes(*args) : 0;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    using namespace kgate;
    if (int code = check_arguments(args, kFeatures)) return code;
    if (args->dtype != Float8E4M3) {
        return fail(kUnsupported, "fp8 takes float8_e4m3fn tensors alone. Use hopper or mma for others.");
    }
    if ((HEAD_DIM == 0 || HEAD_DIM == 64) && args->head_dim == 64) return launch_fp8<64>(*args, stream);
    if ((HEAD_DIM == 0 || HEAD_DIM == 128) && args->head_dim == 128) return launch_fp8<128>(*args, stream);
    return fail(kUnsupported, "head_dim %d is not supported%s. Use 64 or 128, padding with zeros if need be.",
                args->head_dim, HEAD_DIM != 0 ? " by this build" : "");
}
