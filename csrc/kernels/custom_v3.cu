// custom_v3: FlashAttention on CUDA cores. No tensor core is used; all arithmetic after loading is fp32.
//
// Idea     One block takes BLOCK_M query rows of one head and walks over the keys, BLOCK_N at a time, with the
//          streaming softmax of FlashAttention (Dao et al., 2022, algorithm 1). Each warp owns ROWS = BLOCK_M /
//          NUM_WARPS query rows for the whole walk: their running maximum, sum and output never leave its registers,
//          and no warp waits for another except to share K and V.
// Tiles    Logits: a lane holds the keys lane, lane + 32, ... for all ROWS rows, so a K element is loaded and converted
//          once for ROWS multiply-adds, and Q comes as a 128-bit broadcast. Output: a lane holds column pairs lane,
//          lane + 32, ... for all ROWS rows; V comes as conflict-free pairs, P as a 128-bit broadcast of four keys from
//          the warp's own patch of shared memory, through which it changes hands between the two layouts.
// Stages   A ring of STAGES tiles of K and V, filled by cp.async STAGES - 1 tiles ahead. Masks are applied only in
//          tiles that the diagonal or the end of the sequence crosses; tiles above the diagonal are never loaded.
//          Below 2048 keys two and three stages take the same time on an H100. From there on three are worth it under
//          the causal mask only: 222 us against 264 at 1x8x2048x64, 718 against 757 at 4096, but without a mask 316
//          against 291 and 1179 against 1141. It is not the copies, for one stage is within 2 % of two there. Three
//          stages leave room for three blocks on a multiprocessor instead of four, so that, it seems, short causal
//          blocks fill in where others end, and equal ones need another wave.
// Shared   K, V: 2 * STAGES * BLOCK_N * (D + PAD) * 2 bytes; Q: BLOCK_M * D * 4; P: BLOCK_M * BLOCK_N * 4. Defaults: 52
//          KB at D = 64, 71 KB with three stages, 92 KB at D = 128. Where a multiprocessor has 100 KB (sm_86, sm_89,
//          sm_120) tiles are half as wide, and D = 128 has one stage: 30 to 42 KB, so that two or three blocks fit. PAD
//          = 8 puts the rows that eight lanes load together on different banks for every D served.
// Registers ROWS * (BLOCK_N / 32 + 2 * ceil(D / 64) + 2) floats of state a lane: 48 at D = 64, 64 at D = 128.
// Limits   fp16 or bf16, D 64, 80, 96 or 128 (80 and 96 cost as much arithmetic with V as 128 does), sm_80 or newer.
//          Bound by the fp32 pipes: 2 * S * S * D multiply-adds a head, of which an SM does 128 a cycle.
// Result   3.15 times the latency of SDPA's fastest backend (cuDNN) at 1x8x512x64 on an H200, causal 3.06: 28 us, a
//          quarter of what the fp32 pipes could do (benchmarks/h200/perf-2026-11-21.json).

#ifndef BLOCK_M  // knob: query rows per block
#define BLOCK_M 32
#endif
#ifndef BLOCK_N  // knob: keys per tile; 0 for 64, or 32 where a multiprocessor has less than 164 KB of shared memory
#define BLOCK_N 0
#endif
#ifndef NUM_WARPS  // knob: warps per block, BLOCK_M / NUM_WARPS rows each
#define NUM_WARPS 4
#endif
#ifndef STAGES  // knob: K and V tiles in flight, 1 to 3; 0 for the kernel's own choice by head_dim, keys and mask
#define STAGES 0
#endif
#ifndef UNROLL  // knob: steps that the loops of both products are unrolled by, 1 to 8
#define UNROLL 2
#endif

#include "cuda/conversions.cuh"
#include "cuda/cp_async.cuh"
#include "cuda/debug_assert.cuh"
#include "cuda/exp2.cuh"
#include "cuda/knobs.cuh"
#include "cuda/launch.cuh"
#include "cuda/tile_walk.cuh"

namespace kgate {

static_assert(NUM_WARPS >= 1 && NUM_WARPS <= 32, "NUM_WARPS must be 1 to 32: a block holds at most 1024 threads.");
static_assert(BLOCK_M % NUM_WARPS == 0 && BLOCK_M / NUM_WARPS >= 1 && BLOCK_M / NUM_WARPS <= 16,
              "BLOCK_M must be 1 to 16 times NUM_WARPS: each warp keeps its rows in registers.");
static_assert(BLOCK_N % 32 == 0 && BLOCK_N >= 0 && BLOCK_N <= 128,
              "BLOCK_N must be 32, 64, 96 or 128, as a lane takes every 32nd key, or 0 to leave it to the kernel.");
static_assert(STAGES >= 0 && STAGES <= 3, "STAGES must be 1, 2 or 3, or 0 to leave it to the kernel.");
static_assert(UNROLL >= 1 && UNROLL <= 8, "UNROLL must be 1 to 8.");

constexpr int kUnroll = UNROLL;  // pragmas don't see macros
constexpr int kThreads = NUM_WARPS * 32;
constexpr int kRows = BLOCK_M / NUM_WARPS;
constexpr int kBlockN = BLOCK_N != 0 ? BLOCK_N : kSmallShared ? 32 : 64;
constexpr int kLaneKeys = kBlockN / 32;

template <int D>
constexpr int kDefaultStages = STAGES != 0              ? STAGES
                               : kSmallShared && D > 96 ? 1
                                                        : 2;

template <int D, int kStages>
struct Layout {  // of shared memory, in bytes
    static constexpr int kStride = D + PAD;
    static constexpr int kTile = kBlockN * kStride;  // elements of one K or V tile
    static constexpr int kQ = kStages * 2 * kTile * 2;
    static constexpr int kP = kQ + BLOCK_M * D * 4;
    static constexpr int kBytes = kP + BLOCK_M * kBlockN * 4;
};

template <typename T, int D, int kStages>
__global__ void __launch_bounds__(kThreads, 1)  // without the 1, ptxas caps the registers and spills
    custom_v3(const __grid_constant__ SdpaArgsV1 args) {
    using L = Layout<D, kStages>;
    constexpr int kLanePairs = ceil_div(D, 64);
    extern __shared__ __align__(16) unsigned char shared[];
    T* const kv_smem = reinterpret_cast<T*>(shared);                 // (kStages, K or V, kBlockN, kStride)
    float* const q_smem = reinterpret_cast<float*>(shared + L::kQ);  // (BLOCK_M, D), scaled
    float* const p_smem = reinterpret_cast<float*>(shared + L::kP);  // (BLOCK_M, kBlockN)

    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const Tile tile = find_tile(args, BLOCK_M);
    const T* const q = head_pointer(static_cast<const T*>(args.q), args.q_stride, tile);
    const T* const k = head_pointer(static_cast<const T*>(args.k), args.k_stride, tile);
    const T* const v = head_pointer(static_cast<const T*>(args.v), args.v_stride, tile);
    T* const o = head_pointer(static_cast<T*>(args.o), args.o_stride, tile);
    const int key_tiles = ceil_div(tile.keys, kBlockN);

    const auto copy_tile = [&](int index) {
        if (index < key_tiles) {
            T* const target = kv_smem + index % kStages * 2 * L::kTile;
            copy_rows_async<T, kBlockN, D, L::kStride, kThreads>(target, k, args.k_stride[2], index * kBlockN,
                                                                 args.seqlen);
            copy_rows_async<T, kBlockN, D, L::kStride, kThreads>(target + L::kTile, v, args.v_stride[2],
                                                                 index * kBlockN, args.seqlen);
        }
        cp_async_commit();
    };
#pragma unroll
    for (int i = 0; i < kStages - 1; ++i) copy_tile(i);

    // Q is converted and scaled here, once, while the first tiles of K and V are under way.
    const float scale = args.scale * kLog2E;
    for (int chunk = threadIdx.x; chunk < BLOCK_M * D / 8; chunk += kThreads) {
        const int row = chunk / (D / 8);
        const int column = chunk % (D / 8) * 8;
        float values[8] = {};
        if (tile.first_row + row < args.seqlen) load_8(q + (tile.first_row + row) * args.q_stride[2] + column, values);
#pragma unroll
        for (int i = 0; i < 8; ++i) values[i] *= scale;
        float4* const target = reinterpret_cast<float4*>(q_smem + row * D + column);
        target[0] = make_float4(values[0], values[1], values[2], values[3]);
        target[1] = make_float4(values[4], values[5], values[6], values[7]);
    }

    const int first_row = tile.first_row + warp * kRows;  // of this warp
    const float* const q_warp = q_smem + warp * kRows * D;
    float* const p_warp = p_smem + warp * kRows * kBlockN;
    // Column pairs past D repeat the last one, so that no lane branches; they are not stored.
    int column[kLanePairs];
#pragma unroll
    for (int i = 0; i < kLanePairs; ++i) column[i] = min(2 * (lane + 32 * i), D - 2);

    float row_max[kRows];  // the same in all lanes
    float row_sum[kRows];  // of this lane's keys only: summed over lanes once, at the end
    float2 output[kRows][kLanePairs];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        row_max[r] = -INFINITY;
        row_sum[r] = 0.0f;
#pragma unroll
        for (int i = 0; i < kLanePairs; ++i) output[r][i] = make_float2(0.0f, 0.0f);
    }

    for (int index = 0; index < key_tiles; ++index) {
        if constexpr (kStages == 1) {
            __syncthreads();  // every warp has done with the only buffer
            copy_tile(index);
            cp_async_wait<0>();
            __syncthreads();
        } else {
            // kStages - 1 + index groups are committed and group `index` must be complete: kStages - 2 may be pending.
            cp_async_wait<kStages - 2>();
            // All threads' copies are visible, and tile index - 1 has no reader left: its buffer is free.
            __syncthreads();
            copy_tile(index + kStages - 1);
        }
        const int first_key = index * kBlockN;
        if (args.causal && first_key > first_row + kRows - 1) continue;  // above the diagonal for this warp's rows
        const T* const k_smem = kv_smem + index % kStages * 2 * L::kTile;
        const T* const v_smem = k_smem + L::kTile;

        float logits[kRows][kLaneKeys];
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
#pragma unroll
            for (int j = 0; j < kLaneKeys; ++j) logits[r][j] = 0.0f;
        }
#pragma unroll kUnroll
        for (int d = 0; d < D; d += 8) {
            float k_rmem[kLaneKeys][8];
#pragma unroll
            for (int j = 0; j < kLaneKeys; ++j) load_8(k_smem + (lane + 32 * j) * L::kStride + d, k_rmem[j]);
#pragma unroll
            for (int half = 0; half < 8; half += 4) {
#pragma unroll
                for (int r = 0; r < kRows; ++r) {
                    const float4 q_rmem = *reinterpret_cast<const float4*>(q_warp + r * D + d + half);
#pragma unroll
                    for (int j = 0; j < kLaneKeys; ++j) {
                        logits[r][j] += q_rmem.x * k_rmem[j][half];
                        logits[r][j] += q_rmem.y * k_rmem[j][half + 1];
                        logits[r][j] += q_rmem.z * k_rmem[j][half + 2];
                        logits[r][j] += q_rmem.w * k_rmem[j][half + 3];
                    }
                }
            }
        }

        if (first_key + kBlockN > args.seqlen || (args.causal && first_key + kBlockN - 1 > first_row)) {
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                const int keys = args.causal ? min(first_row + r + 1, args.seqlen) : args.seqlen;
#pragma unroll
                for (int j = 0; j < kLaneKeys; ++j) {
                    if (first_key + lane + 32 * j >= keys) logits[r][j] = -INFINITY;
                }
            }
        }

#pragma unroll
        for (int r = 0; r < kRows; ++r) {
            float maximum = row_max[r];
#pragma unroll
            for (int j = 0; j < kLaneKeys; ++j) maximum = fmaxf(maximum, logits[r][j]);
#pragma unroll
            for (int mask = 16; mask > 0; mask /= 2)
                maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffff, maximum, mask));
            const float base = finite_max(maximum);
            const float shrink = exp2_of<USE_FAST_EXP>(row_max[r] - base);
            DEBUG_ASSERT(maximum >= row_max[r]);
            DEBUG_ASSERT(shrink >= 0.0f && shrink <= 1.0f);
            row_max[r] = maximum;
            row_sum[r] *= shrink;
            [[maybe_unused]] const float earlier_sum = row_sum[r];
#pragma unroll
            for (int j = 0; j < kLaneKeys; ++j) {
                const float p = exp2_of<USE_FAST_EXP>(logits[r][j] - base);
                row_sum[r] += p;
                p_warp[r * kBlockN + lane + 32 * j] = p;
            }
            DEBUG_ASSERT(isfinite(row_sum[r]) && row_sum[r] >= earlier_sum && row_sum[r] >= 0.0f);
#pragma unroll
            for (int i = 0; i < kLanePairs; ++i) {
                output[r][i].x *= shrink;
                output[r][i].y *= shrink;
            }
        }
        __syncwarp();  // P passes from the lane that owns a key to all lanes

#pragma unroll kUnroll
        for (int n = 0; n < kBlockN; n += 4) {
            float2 v_rmem[4][kLanePairs];
#pragma unroll
            for (int j = 0; j < 4; ++j) {
#pragma unroll
                for (int i = 0; i < kLanePairs; ++i) {
                    using Pair2 = typename Pair<T>::type;
                    v_rmem[j][i] =
                        Pair<T>::to_float(*reinterpret_cast<const Pair2*>(v_smem + (n + j) * L::kStride + column[i]));
                }
            }
#pragma unroll
            for (int r = 0; r < kRows; ++r) {
                const float4 p = *reinterpret_cast<const float4*>(p_warp + r * kBlockN + n);
#pragma unroll
                for (int i = 0; i < kLanePairs; ++i) {
                    output[r][i].x += p.x * v_rmem[0][i].x;
                    output[r][i].y += p.x * v_rmem[0][i].y;
                    output[r][i].x += p.y * v_rmem[1][i].x;
                    output[r][i].y += p.y * v_rmem[1][i].y;
                    output[r][i].x += p.z * v_rmem[2][i].x;
                    output[r][i].y += p.z * v_rmem[2][i].y;
                    output[r][i].x += p.w * v_rmem[3][i].x;
                    output[r][i].y += p.w * v_rmem[3][i].y;
                }
            }
        }
        // The next tile's P is written after the next __syncthreads: no lane still reads this one's.
    }
    cp_async_wait<0>();

#pragma unroll
    for (int r = 0; r < kRows; ++r) {
        float sum = row_sum[r];
#pragma unroll
        for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(0xffffffff, sum, mask);
        const int row = first_row + r;
        if (row >= args.seqlen) break;
        DEBUG_ASSERT(isfinite(sum) && sum > 0.0f);  // every row attends to one key at least
        const float inverse = 1.0f / sum;
#pragma unroll
        for (int i = 0; i < kLanePairs; ++i) {
            if (2 * (lane + 32 * i) >= D) continue;
            using Pair2 = typename Pair<T>::type;
            *reinterpret_cast<Pair2*>(o + row * args.o_stride[2] + column[i]) =
                Pair<T>::from_float(output[r][i].x * inverse, output[r][i].y * inverse);
        }
    }
}

template <typename T, int D>
struct CustomV3 {
    template <int kStages>
    static int launch_with(const SdpaArgsV1& args, void* stream) {
        const int64_t blocks = static_cast<int64_t>(ceil_div(args.seqlen, BLOCK_M)) * args.batch * args.heads;
        return kgate::launch<custom_v3<T, D, kStages>>(args, blocks, kThreads, Layout<D, kStages>::kBytes, stream);
    }
    static int launch(const SdpaArgsV1& args, void* stream) {
        if constexpr (STAGES == 0 && D == 64 && !kSmallShared && Layout<D, 3>::kBytes <= kMostShared) {
            if (args.causal && args.seqlen >= 2048) return launch_with<3>(args, stream);
        }
        return launch_with<kDefaultStages<D>>(args, stream);
    }
};

constexpr uint32_t kFeatures = SharedHeads;

}  // namespace kgate

KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::kFeatures; }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::CustomV3, HEAD_DIM, kgate::kFeatures>(args, stream);
}
