// fp8: attention of e4m3 numbers with a scale a head, on the pipeline of hopper.cu. Its answer is bfloat16.
//
// Idea     Twice the products a second, and half the bytes. wgmma takes 8-bit operands only along their rows, so a
//          first launch transposes V into the workspace, into tiles as shared memory will have them, the keys of each
//          32 in an order by which weights need not change lanes between the two products (products8.cuh). The
//          attention is launched early: its first logits are computed while V is still being transposed.
// Numbers  The tensor cores add 8-bit products with 13 bits: of logits of 280 one was off by 0.12. A sum over thousands
//          of keys whose values do not cancel loses what is added last, so what the tensor cores have added up over
//          PROMOTE_KEYS keys is added to the rest in fp32, which waits in the place of O in shared memory. Without that
//          answers to 8192 keys were off by up to 0.25; with 4096 keys some are WRONG, with 2048 the rms error is at
//          most 5.0 times the reference's on hard draws, where rounding the weights makes it 6.8 on normal ones (9 are
//          allowed). Weights are rounded to e4m3, multiplied by 2^8 before, so that what is far below the greatest is
//          still a normal number, and the greatest itself is exact: where one key has all the weight, an output that
//          is left alone until its maximum has grown some (LAZY_RESCALE of hopper) would be off by up to 2^-4 of it.
//          The scales of q and k go into the softmax's, that of v into the last division.
// Tiles    128 query rows, 64 a consumer warpgroup, BLOCK_N keys, STAGES of K and of V in flight. 0 chooses: with 192
//          keys there are fewer turns, with 128 there is less work beyond the diagonal, which counts where a causal
//          problem is small. An output in accumulators of its own for each tile leaves no registers for 192 keys at
//          D = 128, and takes 3 to 7 % more.
// Turns    None, which is 1 to 4 % faster: of 128 keys the products take 1024 cycles, half of hopper's, and the
//          exponentials as many, so no order hides the one whole under the other. Each warpgroup has its exponentials
//          under its own product with V.
// Limits   e4m3, D 64 or 128, sm_90a.
// Bound    By the instructions between the products: at 4x16x4096x128 the tensor cores are busy 47 % of the time on an
//          H200, the SMs 50 %. Ratios to the fastest SDPA in bfloat16 there, by gates and in a joint race
//          (benchmarks/h200/fp8-profiled-2026-11-28.json, fp8-knobs-2026-11-28.json): 0.76 to 0.77, causal 0.74, at
//          2x8x2048x128 0.86 to 0.87. Promotion every 1024 keys takes 2 to 3 % more, 128 keys a tile 3 to 7 %, 2 stages
//          up to 2 %; a block a tile took 4 %. What was tried earlier and was no better: turns, exponentials by
//          polynomials, three consumer warpgroups. Of 650 us then, builds without the products took 575, without the
//          exponentials 444, without all between the products 382.

#ifndef BLOCK_N  // knob: keys per tile, 128, at head dimension 64 also 192; 0 chooses by problem
#define BLOCK_N 0
#endif
#ifndef STAGES  // knob: K and V tiles in flight; 0 chooses, 3 or as many as fit up to 5
#define STAGES 0
#endif
#ifndef PROMOTE_KEYS  // knob: keys, in whole tiles, after which the tensor cores' sums are added up in fp32
#define PROMOTE_KEYS 2048
#endif
#ifndef PERSISTENT  // knob: 1 for one block an SM that goes from tile to tile, 0 for one a tile; 2 chooses by problem
#define PERSISTENT 2
#endif

#include <algorithm>

#include "attention/pipeline/pipeline_tiles.cuh"
#include "attention/pipeline/products8.cuh"
#include "attention/pipeline/warpgroup_pipeline.cuh"
#include "cuda/exp2.cuh"
#include "cuda/head_dim.cuh"
#include "cuda/launch.cuh"

#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
#error "fp8 is for sm_90a: wgmma and setmaxnreg are instructions of that architecture alone."
#endif

namespace kgate {

static_assert(BLOCK_N == 0 || BLOCK_N == 128 || BLOCK_N == 192, "BLOCK_N must be 128 or 192, or 0.");
static_assert(STAGES == 0 || (STAGES >= 2 && STAGES <= 6), "STAGES must be 2 to 6, or 0.");
static_assert(PROMOTE_KEYS >= 64 && PROMOTE_KEYS <= 65536, "PROMOTE_KEYS must be 64 to 65536.");
static_assert(PERSISTENT >= 0 && PERSISTENT <= 2, "PERSISTENT must be 0, 1 or 2.");
static_assert(HEAD_DIM == 0 || HEAD_DIM == 64 || HEAD_DIM == 128, "HEAD_DIM must be 0 (both), 64 or 128.");

// Keys of a tile, of both kinds where the problem chooses.
constexpr int kNarrow = BLOCK_N != 0 ? BLOCK_N : 128;
constexpr int kWide = BLOCK_N != 0 ? BLOCK_N : 192;

template <int D, int Keys>
struct Fp8Plan {
    static constexpr int kWarpgroups = 2;
    static constexpr int kFit = (227 * 1024 - kWarpgroups * 64 * (kPanelRow + 4 * D) - 512) / (Keys * (kPanelRow + D));
    static constexpr int kStages = STAGES != 0 ? STAGES : max_of(min_of(kFit, 5), 2);
    using Pipeline = WarpgroupPipeline<Products8<D, Keys>, kWarpgroups, kStages, false, false, USE_FAST_EXP>;
    using Ring = typename Pipeline::Ring;
    static_assert(Ring::kBytes <= 227 * 1024, "STAGES tiles must fit in 227 KB with Q and O: lower STAGES or BLOCK_N.");
};

// ------------------------------------------------------------------------------------------------------- V, transposed

struct TransposeArgs {
    const unsigned char* v;
    unsigned char* transposed;  // (batch, kv_heads, tiles), each as the pipeline has it in shared memory
    int64_t v_stride[3];
    int kv_heads, kv_seqlen;
    int tiles;  // of a head
};

template <int D, int Keys>
constexpr int kTransposeThreads = Keys / 16 * (D / 4);

// Each thread takes four columns of 16 keys: 4x4 bytes at a time.
template <int D, int Keys>
__global__ void __launch_bounds__(kTransposeThreads<D, Keys>)
    fp8_transpose(const __grid_constant__ TransposeArgs args) {
    __shared__ __align__(128) unsigned char transposed[Keys * D];
    admit_next_launch();
    const int tile = blockIdx.x % args.tiles;
    const int slice = blockIdx.x / args.tiles;
    const int column = threadIdx.x % (D / 4) * 4;
    const int chunk = threadIdx.x / (D / 4);  // of 16 places
    const unsigned char* const v =
        args.v + slice / args.kv_heads * args.v_stride[0] + slice % args.kv_heads * args.v_stride[1] + column;
    unsigned words[16];  // a key each
#pragma unroll
    for (int i = 0; i < 16; ++i) {
        const int key = tile * Keys + chunk / 2 * 32 + key_at(chunk % 2 * 16 + i);
        words[i] = 0;  // keys that do not exist: a weight of zero times what is no number would be none
        if (key < args.kv_seqlen) words[i] = *reinterpret_cast<const unsigned*>(v + key * args.v_stride[2]);
    }
    unsigned columns[4][4];
#pragma unroll
    for (int w = 0; w < 4; ++w) {
        const unsigned even = __byte_perm(words[4 * w], words[4 * w + 1], 0x5140);
        const unsigned odd = __byte_perm(words[4 * w], words[4 * w + 1], 0x7362);
        const unsigned next_even = __byte_perm(words[4 * w + 2], words[4 * w + 3], 0x5140);
        const unsigned next_odd = __byte_perm(words[4 * w + 2], words[4 * w + 3], 0x7362);
        columns[0][w] = __byte_perm(even, next_even, 0x5410);
        columns[1][w] = __byte_perm(even, next_even, 0x7632);
        columns[2][w] = __byte_perm(odd, next_odd, 0x5410);
        columns[3][w] = __byte_perm(odd, next_odd, 0x7632);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        *reinterpret_cast<uint4*>(&transposed[value_offset<D, Keys>(column + i, chunk)]) =
            make_uint4(columns[i][0], columns[i][1], columns[i][2], columns[i][3]);
    }
    async_fence();
    __syncthreads();
    if (threadIdx.x == 0) {
        store_bytes(args.transposed + static_cast<int64_t>(blockIdx.x) * (Keys * D), shared_address(transposed),
                    Keys * D);
        store_commit();
        store_wait();
    }
}

// ----------------------------------------------------------------------------------------------------------- attention

struct Scales {
    const float *q, *k, *v;  // of each head, or null
};

__device__ inline float scale_of(const float* scales, int head) { return scales == nullptr ? 1.0f : scales[head]; }

template <int D, int Keys>
__global__ void __launch_bounds__(128 * (Fp8Plan<D, Keys>::kWarpgroups + 1), 1)
    fp8_attention(const __grid_constant__ PipelineArgs args, const __grid_constant__ Scales scales,
                  const __grid_constant__ ValueTiles values) {
    using Plan = Fp8Plan<D, Keys>;
    using Pipeline = typename Plan::Pipeline;
    extern __shared__ __align__(1024) unsigned char shared[];
    const typename Plan::Ring ring = {shared_address(shared)};
    const int role = __shfl_sync(0xffffffff, threadIdx.x / 128, 0);
    ring.start(args.q, args.k, args.o);
    const auto next_tile = [&](int round, PipelineTile& work) {
        return find_pipeline_tile<Plan::Ring::kRows, Keys>(args, round, work);
    };
    if (role == 0) {
        leave_registers<24>();
        if (threadIdx.x == 0) {
            ring.copy(args.q, args.k, values, next_tile);
            await_earlier_launch();  // also where there was nothing to copy: the workspace's next writer waits for this
        }
        return;
    }
    take_registers<240>();
    const int group = role - 1;
    const auto logit_scale = [&](const PipelineTile& work) {
        return args.scale * scale_of(scales.q, work.tile.head) * scale_of(scales.k, work.kv_head);
    };
    const Pipeline pipeline = {ring};
    pipeline.work_all(args.o, group, args.negate, args.causal, args.kv_seqlen - args.seqlen, args.kv_seqlen, next_tile,
                      logit_scale, [&](const PipelineTile& work, const float (&row_max)[2], const float (&row_sum)[2]) {
                          constexpr float kOffset = Products8<D, Keys>::kLogWeight;
                          store_lse(args, work, group, row_max, row_sum, logit_scale(work), kOffset);
                          return scale_of(scales.v, work.kv_head);
                      });
}

int64_t transposed_bytes(const SdpaArgs& args, int keys) {
    return static_cast<int64_t>(args.batch) * args.kv_heads * args.head_dim * ceil_div(args.kv_seqlen, keys) * keys;
}

template <int D, int Keys>
int launch_tiles(const SdpaArgs& args, void* stream) {
    using Ring = typename Fp8Plan<D, Keys>::Ring;
    const int tiles = ceil_div(args.kv_seqlen, Keys);
    if (planning == nullptr && args.workspace_bytes < transposed_bytes(args, Keys)) {
        return fail(kBadArgument, "The workspace has %lld bytes, and must have %lld (kgate_sdpa_workspace).",
                    static_cast<long long>(args.workspace_bytes), static_cast<long long>(transposed_bytes(args, Keys)));
    }
    PipelineArgs call = {};
    int blocks = 0;
    if (int code = number_tiles(call, blocks, args, Ring::kRows, D * 2, 0, PERSISTENT)) return code;
    const TensorExtents rows = {args.batch, args.heads, args.seqlen, D, Float8E4M3};
    const TensorExtents keys = {args.batch, args.kv_heads, args.kv_seqlen, D, Float8E4M3};
    const TensorExtents answer = {args.batch, args.heads, args.seqlen, D, BFloat16};
    if (int code = make_tensor_map(call.q, "q", args.q, args.q_stride, rows, 64)) return code;
    if (int code = make_tensor_map(call.k, "k", args.k, args.k_stride, keys, Keys)) return code;
    if (int code = make_tensor_map(call.o, "o", args.o, args.o_stride, answer, 64)) return code;
    const TransposeArgs transpose = {static_cast<const unsigned char*>(args.v),
                                     static_cast<unsigned char*>(args.workspace),
                                     {args.v_stride[0], args.v_stride[1], args.v_stride[2]},
                                     args.kv_heads,
                                     args.kv_seqlen,
                                     tiles};
    const int64_t slices = static_cast<int64_t>(args.batch) * args.kv_heads;
    constexpr int kThreads = kTransposeThreads<D, Keys>;
    if (int code = kgate::launch<fp8_transpose<D, Keys>>(transpose, slices * tiles, kThreads, 0, stream)) return code;
    const ValueTiles values = {transpose.transposed, args.kv_heads, tiles};
    const Scales scales = {args.q_scale, args.k_scale, args.v_scale};
    return kgate::launch<fp8_attention<D, Keys>, true>(call, blocks, Ring::kThreads, Ring::kBytes, stream, scales,
                                                       values);
}

// Narrow tiles for a causal problem that has fewer than 8 tiles of query rows for each multiprocessor.
template <int D>
int launch_fp8(const SdpaArgs& args, void* stream) {
    int multiprocessors = 0;
    if (int code = count_multiprocessors(multiprocessors)) return code;
    const int64_t row_tiles = static_cast<int64_t>(ceil_div(args.seqlen, 128)) * args.batch * args.heads;
    const bool small = row_tiles < int64_t{8} * multiprocessors;
    return args.causal && small ? launch_tiles<D, kNarrow>(args, stream) : launch_tiles<D, kWide>(args, stream);
}

constexpr uint32_t kFeatures = GroupedHeads | KvSeqlen | Lse | EightBits;

}  // namespace kgate

KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::kFeatures; }

KGATE_EXPORT int64_t kgate_sdpa_workspace(const kgate::SdpaArgs* args) {
    using namespace kgate;
    const bool taken = args->dtype == Float8E4M3 && (args->head_dim == 64 || args->head_dim == 128);
    return taken ? std::max(transposed_bytes(*args, kNarrow), transposed_bytes(*args, kWide)) : 0;
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    using namespace kgate;
    if (int code = check_arguments(args, kFeatures)) return code;
    if (args->dtype != Float8E4M3) {
        return fail(kUnsupported, "fp8 takes float8_e4m3fn tensors alone. Use hopper or mma for others.");
    }
    if constexpr (HEAD_DIM == 0 || HEAD_DIM == 64) {
        if (args->head_dim == 64) return launch_fp8<64>(*args, stream);
    }
    if constexpr (HEAD_DIM == 0 || HEAD_DIM == 128) {
        if (args->head_dim == 128) return launch_fp8<128>(*args, stream);
    }
    return fail(kUnsupported, "head_dim %d is not supported%s. Use 64 or 128, padding with zeros if need be.",
                args->head_dim, HEAD_DIM != 0 ? " by this build" : "");
}
