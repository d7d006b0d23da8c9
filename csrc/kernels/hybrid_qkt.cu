// hybrid_qkt: cuBLAS for the logits; one kernel for the softmax and the product with V.
//
// Idea     The second half of FlashAttention on logits that a GEMM left in memory. A lane loads them from where the
//          tensor cores want the probabilities, in fp32, so that they pass through registers only: max, exp2, rounding
//          to 16 bits, mma. The output is divided by the row's sum at the end. Against the cublas rung it saves a
//          launch, and of the 12 bytes for each pair of a query and a key the 4 of the probabilities.
// Tiles    A block takes BLOCK_M query rows of one head. NUM_WARPS = BLOCK_M / 16 row groups times key groups, each of
//          which takes its share of every tile of BLOCK_N keys (128 at D = 64, else 64, unless told) and owns the
//          maximum, sum and output of its rows over its keys; key groups are combined once, at the end. Rows of up to
//          KEPT_KEYS keys are loaded whole, all at once, and need no running maximum.
// Stages   A ring of tiles of V, filled by cp.async one tile less than it has ahead: STAGES, or fewer where they would
//          not fit 40 KB (two blocks then fit an SM of sm_89). Longer rows load the next tile's logits into registers
//          before this tile's are used. Under the causal mask tiles above the diagonal are not read.
// Shared   Ring * BLOCK_N * (D + PAD) * 2 bytes for V; at the end the output of all warps in its place, in fp32, half
//          of its columns at a time where D is above 64. Defaults: 36 KB at D = 64 and at D = 128.
// Registers Output D / 2 a lane, logits of two tiles BLOCK_N / key groups, or those of all that are kept, before the
//          output.
// Memory   Workspace: 32 MiB for cuBLAS, and the logits: 4 * rows * keys for each head of a chunk (logit_chunks.cuh).
// Limits   fp16 or bf16, D 64, 80, 96 or 128, sm_80 or newer, row strides of at least D.
// Result   1.40 times cuDNN's latency at 1x8x512x64 on an H200, causal 1.29 (benchmarks/h200/perf-2026-11-21.json). It
//          does less than the cublas rung and is a tenth faster there, slower with larger heads (without a record), and
//          slower than the mma rung: one block of eight warps an SM with mma.sync leaves the tensor cores waiting for
//          memory, where Hopper's GEMM keeps many tiles in flight by TMA and multiplies by wgmma.

#ifndef BLOCK_M  // knob: query rows per block
#define BLOCK_M 32
#endif
#ifndef BLOCK_N  // knob: keys per tile; 0 chooses by the head dimension
#define BLOCK_N 0
#endif
#ifndef NUM_WARPS  // knob: warps per block; more than BLOCK_M / 16 split the keys of a tile between them
#define NUM_WARPS 8
#endif
#ifndef STAGES  // knob: most V tiles in flight
#define STAGES 4
#endif
#ifndef KEPT_KEYS  // knob: rows of up to this many keys have all their logits in registers at once; 0 for none
#define KEPT_KEYS (2048 * NUM_WARPS / BLOCK_M)
#endif

#include "attention/hybrid_tile.cuh"
#include "attention/key_groups.cuh"
#include "cuda/conversions.cuh"
#include "cuda/cp_async.cuh"
#include "cuda/debug_assert.cuh"
#include "cuda/exp2.cuh"
#include "cuda/knobs.cuh"
#include "cuda/launch.cuh"
#include "cuda/mma_sync.cuh"
#include "cuda/tile_walk.cuh"
#include "gemm/cublas.cuh"  // library: cublas

namespace kgate {

static_assert(keys_fit(64),
              "BLOCK_N / (16 * NUM_WARPS / BLOCK_M), the keys per warp, must be a multiple of 16 from 16 to 64.");

template <int D>
struct Layout : Ring<D> {  // of shared memory, in bytes
    // The epilogue, in place of the tiles.
    static constexpr int kParts = D > 64 ? 2 : 1;  // the output's columns in two parts, for the sake of space
    static constexpr int kColumns = D / kParts;
    static constexpr int kOutputStride = kColumns + 4;               // floats
    static constexpr int kMax = NUM_WARPS * 16 * kOutputStride * 4;  // (key groups, BLOCK_M) row maxima
    static constexpr int kSum = kMax + NUM_WARPS * 16 * 4;           // (key groups, BLOCK_M) row sums
    static constexpr int kBytes = max_of(Ring<D>::kRingBytes, kSum + NUM_WARPS * 16 * 4);
};

template <typename T, int D, int Kept>
__global__ void __launch_bounds__(kThreads, kThreads <= 256 ? 2 : 1)
    softmax_output(const __grid_constant__ TileArgs all) {
    using L = Layout<D>;
    const SdpaArgsV1& args = all.sdpa;
    const LogitChunk& chunk = all.chunk;
    constexpr int kSteps = L::kWarpKeys / 16;

    extern __shared__ __align__(128) unsigned char shared[];
    T* const v_smem = reinterpret_cast<T*>(shared);  // (kStages, kKeys, kStride)

    const int lane = threadIdx.x % 32, group = lane / 4, quad = lane % 4;
    const int row_group = threadIdx.x / 32 % kRowGroups;
    const int key_group = threadIdx.x / 32 / kRowGroups;

    const int blocks = ceil_div(chunk.rows, BLOCK_M);  // of a slice
    const int slice = blockIdx.x / blocks;
    int block = blockIdx.x % blocks;
    if (args.causal) block = blocks - 1 - block;  // the longest rows start first, so that none of them is the straggler
    const int block_row = block * BLOCK_M;        // within the chunk
    const int keys = args.causal ? min(chunk.keys, chunk.row + block_row + BLOCK_M) : chunk.keys;
    const int key_tiles = ceil_div(keys, L::kKeys);
    const T* const v = chunk_pointer(static_cast<const T*>(args.v), args.v_stride, chunk, slice);

    // The two rows of this lane. Rows behind the chunk's last are read as that one and never written.
    const float* logits[2];
    int last_key[2], last_pair[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const int row = min(block_row + row_group * 16 + group + r * 8, chunk.rows - 1);
        logits[r] = in_workspace<const float>(args, all.pairs) + slice * slice_elements(chunk) +
                    static_cast<int64_t>(row) * chunk.ld;
        last_key[r] = args.causal ? chunk.row + row : chunk.keys - 1;
        last_pair[r] = min(last_key[r], chunk.keys - 2);  // where the two that are read at once begin
    }

    const auto copy_tile = [&](int index) {
        if (index < key_tiles) {
            T* const tile = v_smem + index % L::kStages * L::kTile;
            copy_rows_async<T, L::kKeys, D, L::kStride, kThreads>(tile, v, args.v_stride[2], index * L::kKeys,
                                                                  args.seqlen);
        }
        cp_async_commit();
    };
    // x[s][2 r + h][i]: of keys 16 s + 8 h + 2 quad + i of the warp's share, in row r; the order of an mma's A operand.
    const auto load = [&](int index, float (&x)[kSteps][4][2]) {
        const int first_key = index * L::kKeys + key_group * L::kWarpKeys;
#pragma unroll
        for (int s = 0; s < kSteps; ++s) {
#pragma unroll
            for (int part = 0; part < 4; ++part) {
                const int r = part / 2;
                const int key = first_key + s * 16 + part % 2 * 8 + quad * 2;
                float2 two = make_float2(-INFINITY, -INFINITY);
                if (key <= last_pair[r]) two = *reinterpret_cast<const float2*>(logits[r] + key);
                x[s][part][0] = two.x;
                x[s][part][1] = key + 1 <= last_key[r] ? two.y : -INFINITY;
            }
        }
        if (chunk.keys % 2 == 0) return;
#pragma unroll
        for (int s = 0; s < kSteps; ++s) {  // the last key has no neighbour that anybody has written
#pragma unroll
            for (int part = 0; part < 4; ++part) {
                const int key = first_key + s * 16 + part % 2 * 8 + quad * 2;
                if (key == chunk.keys - 1 && key <= last_key[part / 2]) x[s][part][0] = logits[part / 2][key];
            }
        }
    };

#pragma unroll
    for (int i = 0; i < L::kStages - 1; ++i) copy_tile(i);

    float output[D / 8][4];
    const auto clear_output = [&] {
#pragma unroll
        for (int d = 0; d < D / 8; ++d) output[d][0] = output[d][1] = output[d][2] = output[d][3] = 0.0f;
    };
    float row_max[2] = {-INFINITY, -INFINITY};  // the same in the four lanes of a row
    float row_sum[2] = {0.0f, 0.0f};            // of this lane's keys
    const auto raise_maximum = [&](int r, const float (&x)[kSteps][4][2], float maximum) {
#pragma unroll
        for (int s = 0; s < kSteps; ++s) {
            maximum = fmaxf(
                maximum, fmaxf(fmaxf(x[s][2 * r][0], x[s][2 * r][1]), fmaxf(x[s][2 * r + 1][0], x[s][2 * r + 1][1])));
        }
        return maximum;
    };
    const auto exponentiate = [&](int r, const float (&x)[kSteps][4][2], float base, unsigned (&p_frag)[kSteps][4]) {
#pragma unroll
        for (int s = 0; s < kSteps; ++s) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const float low = exp2_of<USE_FAST_EXP>(x[s][2 * r + h][0] - base);
                const float high = exp2_of<USE_FAST_EXP>(x[s][2 * r + h][1] - base);
                row_sum[r] += low + high;
                p_frag[s][r + 2 * h] = pack<T>(low, high);
            }
        }
    };
    const auto add_tile = [&](int index, const unsigned (&p_frag)[kSteps][4]) {  // output += P V
        // kStages - 1 + index groups are committed and group `index` must be complete: kStages - 2 may be pending.
        cp_async_wait<L::kStages - 2>();
        __syncthreads();  // all threads' copies are visible, and tile index - 1 has no reader left: its buffer is free
        copy_tile(index + L::kStages - 1);
        const T* const tile = v_smem + index % L::kStages * L::kTile + key_group * L::kWarpKeys * L::kStride;
#pragma unroll
        for (int s = 0; s < kSteps; ++s) {
#pragma unroll
            for (int d = 0; d < D / 8; d += 2) {  // transposed (keys 0-7, d 0-7), (8-15, 0-7), (0-7, 8-15), both 8-15
                unsigned v_frag[4];
                load_matrices_transposed(v_frag, tile + (s * 16 + lane % 16) * L::kStride + d * 8 + lane / 16 * 8);
                multiply_add<T>(output[d], p_frag[s], v_frag[0], v_frag[1]);
                multiply_add<T>(output[d + 1], p_frag[s], v_frag[2], v_frag[3]);
            }
        }
    };

    if constexpr (Kept > 0) {
        float x[Kept][kSteps][4][2];
        unsigned p_frag[Kept][kSteps][4];
#pragma unroll
        for (int index = 0; index < Kept; ++index) load(index, x[index]);  // behind the last key nothing is read
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            float maximum = -INFINITY;
#pragma unroll
            for (int index = 0; index < Kept; ++index) maximum = raise_maximum(r, x[index], maximum);
            row_max[r] = quad_max(maximum);
            const float base = finite_max(row_max[r]);  // the key group may have no key of the row
#pragma unroll
            for (int index = 0; index < Kept; ++index) exponentiate(r, x[index], base, p_frag[index]);
        }
        clear_output();
#pragma unroll
        for (int index = 0; index < Kept; ++index) {
            if (index < key_tiles) add_tile(index, p_frag[index]);
        }
    } else {
        clear_output();
        float next[kSteps][4][2];
        load(0, next);
        for (int index = 0; index < key_tiles; ++index) {
            float x[kSteps][4][2];
            memcpy(x, next, sizeof(x));
            if (index + 1 < key_tiles) load(index + 1, next);
            unsigned p_frag[kSteps][4];
            float shrink[2];
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const float maximum = quad_max(raise_maximum(r, x, row_max[r]));
                const float base = finite_max(maximum);  // the key group may have seen no key of the row yet
                shrink[r] = exp2_of<USE_FAST_EXP>(row_max[r] - base);
                row_max[r] = maximum;
                row_sum[r] *= shrink[r];
                exponentiate(r, x, base, p_frag);
            }
            // Once the maxima have settled, most tiles change none of them.
            if (__any_sync(0xffffffff, shrink[0] != 1.0f || shrink[1] != 1.0f)) {
#pragma unroll
                for (int d = 0; d < D / 8; ++d) {
#pragma unroll
                    for (int i = 0; i < 4; ++i) output[d][i] *= shrink[i / 2];
                }
            }
            add_tile(index, p_frag);
        }
    }

    cp_async_wait<0>();
    __syncthreads();                                              // V has no reader left: the output takes its place
    float* const output_smem = reinterpret_cast<float*>(shared);  // (key groups, BLOCK_M, kOutputStride), a part
    float* const max_smem = reinterpret_cast<float*>(shared + L::kMax);
    float* const sum_smem = reinterpret_cast<float*>(shared + L::kSum);
    T* const o = chunk_pointer(static_cast<T*>(args.o), args.o_stride, chunk, slice);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const float sum = quad_sum(row_sum[r]);
        if (quad == 0) {
            max_smem[key_group * BLOCK_M + row_group * 16 + group + r * 8] = row_max[r];
            sum_smem[key_group * BLOCK_M + row_group * 16 + group + r * 8] = sum;
        }
    }
#pragma unroll
    for (int part = 0; part < L::kParts; ++part) {
        if (part > 0) __syncthreads();  // the part before has no reader left
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int row = key_group * BLOCK_M + row_group * 16 + group + r * 8;
            float* const target = output_smem + row * L::kOutputStride + quad * 2;
#pragma unroll
            for (int d = 0; d < L::kColumns / 8; ++d) {
                const float (&x)[4] = output[part * L::kColumns / 8 + d];
                *reinterpret_cast<float2*>(target + d * 8) = make_float2(x[2 * r], x[2 * r + 1]);
            }
        }
        __syncthreads();
        for (int eight = threadIdx.x; eight < BLOCK_M * L::kColumns / 8; eight += kThreads) {
            const int row = eight / (L::kColumns / 8);
            const int column = eight % (L::kColumns / 8) * 8;
            if (block_row + row >= chunk.rows) break;
            float values[8] = {};
            const float sum =
                merge_key_groups<kKeyGroups, BLOCK_M, USE_FAST_EXP>(max_smem, sum_smem, row, [&](int g, float weight) {
                    const float* const source = output_smem + (g * BLOCK_M + row) * L::kOutputStride + column;
#pragma unroll
                    for (int i = 0; i < 8; ++i) values[i] += weight * source[i];
                });
            DEBUG_ASSERT(sum > 0.99f && sum < keys * 1.01f + 1.0f);  // the largest of at most `keys` terms is 1
            const float inverse = 1.0f / sum;
#pragma unroll
            for (int i = 0; i < 8; ++i) values[i] *= inverse;
            T* const line = o + static_cast<int64_t>(chunk.row + block_row + row) * args.o_stride[2];
            store_8(line + part * L::kColumns + column, values);
        }
    }
}

Workspace workspace_of(const SdpaArgsV1& args) { return {args, sizeof(float), false}; }

template <typename T, int D>
struct HybridQkt {
    static int launch(const SdpaArgsV1& args, void* stream) {
        const Workspace workspace = workspace_of(args);
        return for_each_gemm_chunk(args, workspace, stream, [&](CublasCall& cublas, const LogitChunk& chunk) {
            if (int code = cublas.logits<T>(args, chunk, in_workspace<float>(args, workspace.pairs))) return code;
            constexpr auto kKeeping = softmax_output<T, D, Layout<D>::kKeptTiles>, kSweeping = softmax_output<T, D, 0>;
            return launch_tiles<Layout<D>, kKeeping, kSweeping>(args, workspace, chunk, stream);
        });
    }
};

constexpr uint32_t kFeatures = SharedHeads;

}  // namespace kgate

KGATE_EXPORT int64_t kgate_sdpa_workspace(const kgate::SdpaArgs* args) { return kgate::workspace_of(*args).bytes; }

KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::kFeatures; }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::HybridQkt, HEAD_DIM, kgate::kFeatures>(args, stream);
}
