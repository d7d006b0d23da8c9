// wmma: FlashAttention on tensor cores through nvcuda::wmma, 16x16x16 tiles, 16-bit inputs, fp32 accumulation and
// softmax.
//
// Idea     The portable way to tensor cores. Where an accumulator's elements live in a warp is left open by wmma, so a
//          row can't be reduced in registers: the logits go through a patch of shared memory that belongs to the warp,
//          are exponentiated there by two lanes a row, and come back as a 16-bit operand. The output stays in
//          accumulators; to rescale its rows the warp loads a second accumulator, filled with the row factors: two
//          fragments of one type have one layout, whatever it is, and can be multiplied element by element.
// Tiles    A block takes BLOCK_M query rows of one head. Its warps form BLOCK_M / 16 row groups of 16 rows, times
//          KEY_GROUPS = 16 * NUM_WARPS / BLOCK_M key groups, each of which takes its share of every tile of BLOCK_N
//          keys. A warp owns the maximum, sum and output of its rows over its keys; key groups are combined once, at
//          the end. With few heads and rows the key groups are what keeps an SM's four tensor cores busy.
// Choice   A build holds three tiles, and a call takes the one that fits its grid: wmma_tiles.cuh says which.
// Stages   A ring of STAGES tiles of K and V, filled by cp.async STAGES - 1 tiles ahead, by all warps or by
//          NUM_PRODUCER_WARPS more that do nothing else. Q is loaded once, into fragments, through the ring's last
//          place. Masks are applied only in tiles that the diagonal or the end of the sequence crosses; tiles above the
//          diagonal are never loaded, and a warp skips the part of a tile that lies above its own diagonal.
// Shared   K, V: 2 * STAGES * BLOCK_N * (D + PAD) * 2 bytes. Patches: NUM_WARPS * 16 * (keys + 4) * 4 with keys =
//          BLOCK_N / KEY_GROUPS. At the end the output, in place of them all. 128 to 156 KB for the smallest grids, 70
//          to 102 KB for the largest. PAD = 8 is free of bank conflicts for every D. In a patch, P overwrites the first
//          half of each row of logits, the row factors the second half.
// Registers Q fragments D / 4 and accumulators D / 2 a lane, logits keys / 2.
// Producers Four of them, one on each scheduler, gain 6 to 10 % for tiles of 64 rows and lose as much for 32 x 128, on
//          an H200; a single one can't issue the copies fast enough and doubles the time. So the default has none.
// Limits   fp16 or bf16, D 64, 80, 96 or 128, sm_80 or newer. A fragment of K or V feeds 16 rows only, so shared-memory
//          bandwidth, not the tensor cores, is the bound for long sequences.
// Result   With the tile that it takes at 1x8x512x64, 1.06 times cuDNN's latency there on an H200, causal 0.99
//          (benchmarks/h200/perf-2026-11-21.json). At 2x8x2048x64 the best tile takes 122 us
//          (benchmarks/h200/wmma-tiles.json).

#ifndef BLOCK_M  // knob: query rows per block; 0 for the kernel's own choice by head_dim and grid
#define BLOCK_M 0
#endif
#ifndef BLOCK_N  // knob: keys per tile; 0 as for BLOCK_M
#define BLOCK_N 0
#endif
#ifndef NUM_WARPS  // knob: computing warps per block; 0 as for BLOCK_M; more than BLOCK_M / 16 split a tile's keys
#define NUM_WARPS 0
#endif
#ifndef NUM_PRODUCER_WARPS  // knob: further warps that only copy; 0: all warps copy
#define NUM_PRODUCER_WARPS 0
#endif
#ifndef STAGES  // knob: K and V tiles in flight, 1 to 3; 0 as for BLOCK_M
#define STAGES 0
#endif

#include "attention/key_groups.cuh"
#include "attention/wmma/wmma_fragment.cuh"
#include "attention/wmma/wmma_tiles.cuh"
#include "cuda/conversions.cuh"
#include "cuda/cp_async.cuh"
#include "cuda/debug_assert.cuh"
#include "cuda/exp2.cuh"
#include "cuda/knobs.cuh"
#include "cuda/launch.cuh"
#include "cuda/tile_walk.cuh"

namespace kgate {

template <typename T, int D, int M, int N, int Warps, int Stages>
__global__ void __launch_bounds__((Warps + NUM_PRODUCER_WARPS) * 32, 1)
    wmma_attention(const __grid_constant__ SdpaArgsV1 args) {
    using L = Layout<D, M, N, Warps, Stages>;
    constexpr int kRowGroups = L::kRowGroups;
    constexpr int kKeyGroups = L::kKeyGroups;
    constexpr int kWarpKeys = L::kWarpKeys;
    constexpr int kPatchStride = L::kPatchStride;
    constexpr int kSteps = D / 16;
    constexpr int kKeySteps = kWarpKeys / 16;
    constexpr int kLaneKeys = kWarpKeys / 2;
    using Accumulator = wmma::fragment<wmma::accumulator, 16, 16, 16, float>;
    using Left = wmma::fragment<wmma::matrix_a, 16, 16, 16, T, wmma::row_major>;
    using Right = wmma::fragment<wmma::matrix_b, 16, 16, 16, T, wmma::row_major>;
    using RightTransposed = wmma::fragment<wmma::matrix_b, 16, 16, 16, T, wmma::col_major>;

    extern __shared__ __align__(128) unsigned char shared[];
    T* const kv_smem = reinterpret_cast<T*>(shared);  // (Stages, K or V, N, kStride)
    T* const q_smem = kv_smem + L::kQ;                // (M, kStride), read once, before the last stage is first filled

    const int warp = threadIdx.x / 32;
    const int row_group = warp % kRowGroups;
    const int key_group = warp / kRowGroups;
    const int lane_row = threadIdx.x % 16;  // the softmax gives two lanes to a row
    const int lane_half = threadIdx.x % 32 / 16;
    const bool copies = NUM_PRODUCER_WARPS == 0 || warp >= Warps;
    const bool computes = NUM_PRODUCER_WARPS == 0 || warp < Warps;
    float* const patch = reinterpret_cast<float*>(shared + L::kPatches) + warp * L::kPatch;  // (16, kPatchStride)

    const Tile tile = find_tile(args, M);
    const T* const q = head_pointer(static_cast<const T*>(args.q), args.q_stride, tile);
    const T* const k = head_pointer(static_cast<const T*>(args.k), args.k_stride, tile);
    const T* const v = head_pointer(static_cast<const T*>(args.v), args.v_stride, tile);
    const int key_tiles = ceil_div(tile.keys, N);

    const int copier = static_cast<int>(threadIdx.x) - L::kFirstCopier;
    const auto copy_tile = [&](int index) {
        if (copies && index < key_tiles) {
            T* const target = kv_smem + index % Stages * 2 * L::kTile;
            copy_rows_async<T, N, D, L::kStride, L::kCopiers>(target, k, args.k_stride[2], index * N, args.seqlen,
                                                              copier);
            copy_rows_async<T, N, D, L::kStride, L::kCopiers>(target + L::kTile, v, args.v_stride[2], index * N,
                                                              args.seqlen, copier);
        }
        cp_async_commit();
    };
    if (copies) {
        copy_rows_async<T, M, D, L::kStride, L::kCopiers>(q_smem, q, args.q_stride[2], tile.first_row, args.seqlen,
                                                          copier);
    }
    cp_async_commit();
#pragma unroll
    for (int i = 0; i < Stages - 1; ++i) copy_tile(i);

    cp_async_wait<Stages - 1>();  // Q is the oldest group; the Stages - 1 after it may be pending
    __syncthreads();
    Left q_frag[kSteps];
    if (computes) {
#pragma unroll
        for (int d = 0; d < kSteps; ++d)
            load_fragment(q_frag[d], q_smem + row_group * 16 * L::kStride + d * 16, L::kStride);
    }
    // The ring's last place is filled after the loop's first __syncthreads, when every warp has its fragments.

    Accumulator output[kSteps];
#pragma unroll
    for (int d = 0; d < kSteps; ++d) wmma::fill_fragment(output[d], 0.0f);
    const float scale = args.scale * kLog2E;
    const int first_row = tile.first_row + row_group * 16;  // of this warp
    const int row = first_row + lane_row;
    float row_max = -INFINITY;  // the same in both lanes of a row
    float row_sum = 0.0f;       // of this lane's half of the keys

    // custom_v3.cu waits for its tiles in the same steps. The number of a tile's warps and what is committed before the
    // first one differ, and barriers hidden in a function would be harder to follow than to read twice.
    for (int index = 0; index < key_tiles; ++index) {
        if constexpr (Stages == 1) {
            __syncthreads();  // every warp has done with the only buffer
            copy_tile(index);
            cp_async_wait<0>();
            __syncthreads();
        } else {
            // Besides Q, Stages - 1 + index groups are committed and group `index` must be complete: Stages - 2 may be
            // pending.
            cp_async_wait<Stages - 2>();
            // All threads' copies are visible, and tile index - 1 has no reader left: its buffer is free.
            __syncthreads();
            copy_tile(index + Stages - 1);
        }
        const int first_key = index * N + key_group * kWarpKeys;  // of this warp
        if (!computes) continue;
        // No key for this warp's rows.
        if (first_key >= args.seqlen || (args.causal && first_key > first_row + 15)) continue;
        const T* const k_smem = kv_smem + index % Stages * 2 * L::kTile + key_group * kWarpKeys * L::kStride;
        const T* const v_smem = k_smem + L::kTile;

        // Logits = Q K^T. A row of K is a column of K^T, so K as it lies is the column-major operand.
        Accumulator logits[kKeySteps];
#pragma unroll
        for (int j = 0; j < kKeySteps; ++j) wmma::fill_fragment(logits[j], 0.0f);
#pragma unroll
        for (int d = 0; d < kSteps; ++d) {
#pragma unroll
            for (int j = 0; j < kKeySteps; ++j) {
                RightTransposed k_frag;
                load_fragment(k_frag, k_smem + j * 16 * L::kStride + d * 16, L::kStride);
                wmma::mma_sync(logits[j], q_frag[d], k_frag, logits[j]);
            }
        }
#pragma unroll
        for (int j = 0; j < kKeySteps; ++j) {
            wmma::store_matrix_sync(patch + j * 16, logits[j], kPatchStride, wmma::mem_row_major);
        }
        __syncwarp();

        float* const patch_row = patch + lane_row * kPatchStride;
        float p[kLaneKeys];
#pragma unroll
        for (int j = 0; j < kLaneKeys; j += 4) {
            const float4 four = *reinterpret_cast<const float4*>(patch_row + lane_half * kLaneKeys + j);
            p[j] = four.x * scale;
            p[j + 1] = four.y * scale;
            p[j + 2] = four.z * scale;
            p[j + 3] = four.w * scale;
        }
        if (first_key + kWarpKeys > args.seqlen || (args.causal && first_key + kWarpKeys - 1 > first_row)) {
            const int keys =
                (args.causal ? min(row + 1, args.seqlen) : args.seqlen) - first_key - lane_half * kLaneKeys;
#pragma unroll
            for (int j = 0; j < kLaneKeys; ++j) {
                if (j >= keys) p[j] = -INFINITY;
            }
        }
        float maximum = row_max;
#pragma unroll
        for (int j = 0; j < kLaneKeys; ++j) maximum = fmaxf(maximum, p[j]);
        maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffff, maximum, 16));
        const float base = finite_max(maximum);  // a row may have no key yet in this warp's share
        const float shrink = exp2_of<USE_FAST_EXP>(row_max - base);
        DEBUG_ASSERT(maximum >= row_max);
        DEBUG_ASSERT(shrink >= 0.0f && shrink <= 1.0f);
        row_max = maximum;
        row_sum *= shrink;
        [[maybe_unused]] const float earlier_sum = row_sum;
#pragma unroll
        for (int j = 0; j < kLaneKeys; ++j) {
            p[j] = exp2_of<USE_FAST_EXP>(p[j] - base);
            row_sum += p[j];
        }
        DEBUG_ASSERT(isfinite(row_sum) && row_sum >= earlier_sum && row_sum >= 0.0f);
        // Once the maxima have settled, most tiles change none of them.
        const bool rescale = __any_sync(0xffffffff, shrink != 1.0f);

        __syncwarp();  // both lanes of a row have read its logits: P may overwrite them
        T* const p_smem = reinterpret_cast<T*>(patch);  // (16, 2 * kPatchStride), the first kWarpKeys of a row in use
#pragma unroll
        for (int j = 0; j < kLaneKeys; j += 8) {
            const float eight[8] = {p[j], p[j + 1], p[j + 2], p[j + 3], p[j + 4], p[j + 5], p[j + 6], p[j + 7]};
            store_8(p_smem + lane_row * 2 * kPatchStride + lane_half * kLaneKeys + j, eight);
        }
        float* const factors = patch + kWarpKeys / 2;  // (16, 16 of kPatchStride): a row's factor, 16 times
        if (rescale) {
            float4* const target = reinterpret_cast<float4*>(factors + lane_row * kPatchStride + lane_half * 8);
            target[0] = make_float4(shrink, shrink, shrink, shrink);
            target[1] = make_float4(shrink, shrink, shrink, shrink);
        }
        __syncwarp();

        if (rescale) {
            Accumulator factor;
            wmma::load_matrix_sync(factor, factors, kPatchStride, wmma::mem_row_major);
#pragma unroll
            for (int d = 0; d < kSteps; ++d) {
#pragma unroll
                for (int i = 0; i < factor.num_elements; ++i) output[d].x[i] *= factor.x[i];
            }
        }
#pragma unroll
        for (int j = 0; j < kKeySteps; ++j) {
            Left p_frag;
            load_fragment(p_frag, p_smem + j * 16, 2 * kPatchStride);
#pragma unroll
            for (int d = 0; d < kSteps; ++d) {
                Right v_frag;
                load_fragment(v_frag, v_smem + j * 16 * L::kStride + d * 16, L::kStride);
                wmma::mma_sync(output[d], p_frag, v_frag, output[d]);
            }
        }
        // The next tile's logits are stored after the next __syncthreads: no lane still reads this patch.
    }

    cp_async_wait<0>();
    __syncthreads();  // K, V and the patches have no reader left: the output takes their place
    float* const output_smem = reinterpret_cast<float*>(shared);         // (Warps, 16, kOutputStride)
    float* const max_smem = reinterpret_cast<float*>(shared + L::kMax);  // (Warps, 16) = (key groups, M)
    float* const sum_smem = reinterpret_cast<float*>(shared + L::kSum);
    if (computes) {
#pragma unroll
        for (int d = 0; d < kSteps; ++d) {
            wmma::store_matrix_sync(output_smem + warp * L::kOutputWarp + d * 16, output[d], L::kOutputStride,
                                    wmma::mem_row_major);
        }
        row_sum += __shfl_xor_sync(0xffffffff, row_sum, 16);
        if (lane_half == 0) {
            max_smem[warp * 16 + lane_row] = row_max;
            sum_smem[warp * 16 + lane_row] = row_sum;
        }
    }
    __syncthreads();

    T* const o = head_pointer(static_cast<T*>(args.o), args.o_stride, tile);
    for (int chunk = threadIdx.x; chunk < M * D / 8; chunk += L::kThreads) {
        const int block_row = chunk / (D / 8);
        const int column = chunk % (D / 8) * 8;
        if (tile.first_row + block_row >= args.seqlen) break;
        float values[8] = {};
        const float sum =
            merge_key_groups<kKeyGroups, M, USE_FAST_EXP>(max_smem, sum_smem, block_row, [&](int g, float weight) {
                const float* const source = output_smem + (g * M + block_row) * L::kOutputStride + column;
#pragma unroll
                for (int i = 0; i < 8; i += 4) {
                    const float4 four = *reinterpret_cast<const float4*>(source + i);
                    values[i] += weight * four.x;
                    values[i + 1] += weight * four.y;
                    values[i + 2] += weight * four.z;
                    values[i + 3] += weight * four.w;
                }
            });
        DEBUG_ASSERT(isfinite(sum) && sum > 0.0f);  // every row attends to one key at least
        const float inverse = 1.0f / sum;
#pragma unroll
        for (int i = 0; i < 8; ++i) values[i] *= inverse;
        store_8(o + (tile.first_row + block_row) * args.o_stride[2] + column, values);
    }
}

template <typename T, int D>
struct Wmma {
    static int launch(const SdpaArgsV1& args, void* stream) {
        constexpr TileShape kMany = tile_shape(D, Many);
        if constexpr (tile_shape(D, Few).m != kMany.m) {
            constexpr TileShape kFew = tile_shape(D, Few);
            constexpr TileShape kSome = tile_shape(D, Some);
            int multiprocessors = 0;
            if (int code = count_multiprocessors(multiprocessors)) return code;
            if (count_blocks(args, kFew.m) <= multiprocessors) {
                return launch_tile<kFew.m, kFew.n, kFew.warps, kFew.stages>(args, stream);
            }
            if (count_blocks(args, kSome.m) <= multiprocessors) {
                return launch_tile<kSome.m, kSome.n, kSome.warps, kSome.stages>(args, stream);
            }
        }
        return launch_tile<kMany.m, kMany.n, kMany.warps, kMany.stages>(args, stream);
    }

private:
    static int64_t count_blocks(const SdpaArgsV1& args, int rows) {
        return static_cast<int64_t>(ceil_div(args.seqlen, rows)) * args.batch * args.heads;
    }

    template <int M, int N, int Warps, int Stages>
    static int launch_tile(const SdpaArgsV1& args, void* stream) {
        using L = Layout<D, M, N, Warps, Stages>;
        return kgate::launch<wmma_attention<T, D, M, N, Warps, Stages>>(args, count_blocks(args, M), L::kThreads,
                                                                        L::kBytes, stream);
    }
};

constexpr uint32_t kFeatures = SharedHeads;

}  // namespace kgate

KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::kFeatures; }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::Wmma, HEAD_DIM, kgate::kFeatures>(args, stream);
}
