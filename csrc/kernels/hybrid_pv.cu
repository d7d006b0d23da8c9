// hybrid_pv: one kernel for the logits and the softmax, which leaves 16-bit exponentials in memory; cuBLAS for P V.
//
// Idea     A GEMM's operand can't be rescaled once it is written, and a row's maximum is known only when all its keys
//          have been seen. So the kernel sweeps over the keys twice: the first sweep keeps nothing but each row's
//          maximum, the second computes the same logits again and writes exp(x - max), and in the end the sums, by
//          which a small kernel divides what the GEMM returns in fp32 (gemm_rung.cuh says why last). A product on
//          tensor cores is cheaper than to write logits in fp32 and read them back: 4 bytes move for each pair of a
//          query and a key, a third of what the cublas rung moves. Rows of up to KEPT_KEYS keys take one sweep: their
//          logits wait in registers for the maximum.
// Tiles    A block takes BLOCK_M query rows of one head, Q in registers. NUM_WARPS = BLOCK_M / 16 row groups times key
//          groups, each of which takes its share of a tile of BLOCK_N keys: of 128 at D = 64, else of 64, unless told.
//          Each lane keeps a maximum and a sum of its own for the keys it sees, so that no sweep exchanges anything;
//          lanes and key groups are combined once after each.
// Stages   A ring of tiles of K, filled by cp.async one tile less than it has ahead, through both sweeps without a
//          break: STAGES tiles, or fewer where they would not fit 40 KB (two blocks then fit an SM of sm_89). Under the
//          causal mask tiles above the diagonal are not computed, but filled with zeros as far as the GEMM reads.
// Shared   (ring * BLOCK_N + BLOCK_M) * (D + PAD) * 2 bytes, and 8 bytes a row and key group. Defaults: 42 KB at D =
//          64, 44 KB at D = 128.
// Registers Q fragments D / 4 a lane, logits BLOCK_N / (2 * key groups), or KEPT_KEYS / (2 * key groups) if they are
//          kept.
// Memory   Workspace: 32 MiB for cuBLAS, and for each head of a chunk (logit_chunks.cuh) the exponentials, 2 * rows *
//          keys bytes, the undivided output, 4 * rows * D, and the sums, 4 * rows.
// Limits   fp16 or bf16, D 64, 80, 96 or 128, sm_80 or newer, row strides of Q, K and V that are at least D. Twice the
//          Q K^T of other rungs, and three launches that wait for each other.
// Result   1.49 times cuDNN's latency at 1x8x512x64 on an H200, causal 1.37 (benchmarks/h200/perf-2026-11-21.json).
//          Slower than the mma rung, and at 512 rows hardly faster than the cublas rung, from which it saves a launch
//          and two thirds of the traffic: its own kernel multiplies by mma.sync, where Hopper's GEMM keeps many tiles
//          in flight by TMA and multiplies by wgmma. Where a row's logits are kept in registers it saves a pass over
//          them; where they are not, it computes Q K^T twice, which costs more than the traffic that it saves.

#ifndef BLOCK_M  // knob: query rows per block
#define BLOCK_M 32
#endif
#ifndef BLOCK_N  // knob: keys per tile; 0 chooses by the head dimension
#define BLOCK_N 0
#endif
#ifndef NUM_WARPS  // knob: warps per block; more than BLOCK_M / 16 split the keys of a tile between them
#define NUM_WARPS 8
#endif
#ifndef STAGES  // knob: most K tiles in flight
#define STAGES 4
#endif
#ifndef KEPT_KEYS  // knob: rows of up to this many keys keep their logits in registers; 0 for none
#define KEPT_KEYS (2048 * NUM_WARPS / BLOCK_M)
#endif

#include "attention/hybrid_tile.cuh"
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

static_assert(keys_fit(128),
              "BLOCK_N / (16 * NUM_WARPS / BLOCK_M), the keys per warp, must be a multiple of 16 from 16 to 128.");

template <int D>
struct Layout : Ring<D> {  // of shared memory, in bytes
    static constexpr int kQ = Ring<D>::kRingBytes;
    static constexpr int kMax = kQ + BLOCK_M * Ring<D>::kStride * 2;  // (key groups, BLOCK_M) row maxima
    static constexpr int kSum = kMax + kKeyGroups * BLOCK_M * 4;      // (key groups, BLOCK_M) row sums
    static constexpr int kBytes = kSum + kKeyGroups * BLOCK_M * 4;
};

template <typename T, int D, int Kept>
__global__ void __launch_bounds__(kThreads, 1) exponentials(const __grid_constant__ TileArgs all) {
    using L = Layout<D>;
    const SdpaArgsV1& args = all.sdpa;
    const LogitChunk& chunk = all.chunk;
    constexpr int kSteps = D / 16;
    constexpr int kTiles8 = L::kWarpKeys / 8;

    extern __shared__ __align__(128) unsigned char shared[];
    T* const k_smem = reinterpret_cast<T*>(shared);          // (kStages, kKeys, kStride)
    T* const q_smem = reinterpret_cast<T*>(shared + L::kQ);  // (BLOCK_M, kStride)
    float* const max_smem = reinterpret_cast<float*>(shared + L::kMax);
    float* const sum_smem = reinterpret_cast<float*>(shared + L::kSum);

    const int lane = threadIdx.x % 32, group = lane / 4, quad = lane % 4;
    const int row_group = threadIdx.x / 32 % kRowGroups;
    const int key_group = threadIdx.x / 32 / kRowGroups;

    const int blocks = ceil_div(chunk.rows, BLOCK_M);  // of a slice
    const int slice = blockIdx.x / blocks;
    const int block_row = blockIdx.x % blocks * BLOCK_M;  // within the chunk
    const int end_row = chunk.row + chunk.rows;
    const int first_row = chunk.row + block_row + row_group * 16;  // of this warp
    const int keys = args.causal ? min(chunk.keys, chunk.row + block_row + BLOCK_M) : chunk.keys;
    const T* const q = chunk_pointer(static_cast<const T*>(args.q), args.q_stride, chunk, slice);
    const T* const k = chunk_pointer(static_cast<const T*>(args.k), args.k_stride, chunk, slice);
    const int key_tiles = ceil_div(keys, L::kKeys);

    copy_rows_async<T, BLOCK_M, D, L::kStride, kThreads>(q_smem, q, args.q_stride[2], chunk.row + block_row, end_row);
    cp_async_commit();
    const int turns = Kept > 0 ? key_tiles : 2 * key_tiles;
    const auto copy_tile = [&](int turn) {
        if (turn < turns) {
            T* const tile = k_smem + turn % L::kStages * L::kTile;
            copy_rows_async<T, L::kKeys, D, L::kStride, kThreads>(tile, k, args.k_stride[2],
                                                                  turn % key_tiles * L::kKeys, args.seqlen);
        }
        cp_async_commit();
    };
#pragma unroll
    for (int i = 0; i < L::kStages - 1; ++i) copy_tile(i);

    cp_async_wait<L::kStages - 1>();  // Q is the oldest group; the kStages - 1 after it may be pending
    __syncthreads();
    unsigned q_frag[kSteps][4];
#pragma unroll
    for (int d = 0; d < kSteps; ++d) {
        load_matrices(q_frag[d], q_smem + (row_group * 16 + lane % 16) * L::kStride + d * 16 + lane / 16 * 8);
    }

    const float scale = args.scale * kLog2E;
    // The warp's logits of one turn's tile, masked; rows group and group + 8, keys first_key + 8 j + 2 quad and the
    // next.
    const auto compute = [&](int turn, float (&x)[kTiles8][4]) {
#pragma unroll
        for (int j = 0; j < kTiles8; ++j) x[j][0] = x[j][1] = x[j][2] = x[j][3] = 0.0f;
        // Besides Q, kStages - 1 + turn groups are committed and group `turn` must be complete: kStages - 2 may be
        // pending.
        cp_async_wait<L::kStages - 2>();
        __syncthreads();  // all threads' copies are visible, and tile turn - 1 has no reader left: its buffer is free
        copy_tile(turn + L::kStages - 1);
        const int first_key = turn % key_tiles * L::kKeys + key_group * L::kWarpKeys;
        const T* const tile = k_smem + turn % L::kStages * L::kTile + key_group * L::kWarpKeys * L::kStride;
#pragma unroll
        for (int d = 0; d < kSteps; ++d) {
#pragma unroll
            for (int j = 0; j < kTiles8; j += 2) {
                unsigned k_frag[4];  // 16 keys: matrices (keys 0-7, d 0-7), (0-7, 8-15), (8-15, 0-7), (8-15, 8-15)
                const int key = j * 8 + lane / 16 * 8 + lane % 8;
                load_matrices(k_frag, tile + key * L::kStride + d * 16 + lane / 8 % 2 * 8);
                multiply_add<T>(x[j], q_frag[d], k_frag[0], k_frag[1]);
                multiply_add<T>(x[j + 1], q_frag[d], k_frag[2], k_frag[3]);
            }
        }
        const int end_key = first_key + L::kWarpKeys;
        const bool masked = end_key > args.seqlen || (args.causal && end_key - 1 > first_row);
#pragma unroll
        for (int j = 0; j < kTiles8; ++j) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                x[j][i] *= scale;
                if (masked) {
                    const int key = first_key + j * 8 + quad * 2 + i % 2;
                    const int last = args.causal ? first_row + group + i / 2 * 8 : args.seqlen - 1;
                    if (key > last || key >= args.seqlen) x[j][i] = -INFINITY;
                }
            }
        }
    };

    // First sweep: this lane's maximum of two rows.
    float row_max[2] = {-INFINITY, -INFINITY};
    const auto raise_maximum = [&](const float (&x)[kTiles8][4]) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
#pragma unroll
            for (int j = 0; j < kTiles8; ++j) row_max[r] = fmaxf(row_max[r], fmaxf(x[j][2 * r], x[j][2 * r + 1]));
        }
    };
    float kept[Kept > 0 ? Kept : 1][kTiles8][4];
    if constexpr (Kept > 0) {
#pragma unroll
        for (int turn = 0; turn < Kept; ++turn) {
            if (turn < key_tiles) {
                compute(turn, kept[turn]);
                raise_maximum(kept[turn]);
            }
        }
    } else {
        for (int turn = 0; turn < key_tiles; ++turn) {
            compute(turn, kept[0]);
            raise_maximum(kept[0]);
        }
    }

    // Between the sweeps: over the lanes of a row, then over the key groups.
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const float maximum = quad_max(row_max[r]);
        if (quad == 0) max_smem[key_group * BLOCK_M + row_group * 16 + group + r * 8] = maximum;
    }
    __syncthreads();
    float base[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const int row = row_group * 16 + group + r * 8;
        float maximum = -INFINITY;
#pragma unroll
        for (int g = 0; g < kKeyGroups; ++g) maximum = fmaxf(maximum, max_smem[g * BLOCK_M + row]);
        base[r] = finite_max(maximum);  // a row behind the last may have no key
    }

    // Second sweep: the same logits, kept or computed again, written as exponentials; this lane's sum of two rows.
    T* const p = in_workspace<T>(args, all.pairs) + slice * slice_elements(chunk);
    float row_sum[2] = {0.0f, 0.0f};
    const auto write = [&](int index, const float (&x)[kTiles8][4]) {
        const int first_key = index * L::kKeys + key_group * L::kWarpKeys;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int row = first_row + group + r * 8 - chunk.row;
#pragma unroll
            for (int j = 0; j < kTiles8; ++j) {
                const int key = first_key + j * 8 + quad * 2;
                const float low = exp2_of<USE_FAST_EXP>(x[j][2 * r] - base[r]);
                const float high = exp2_of<USE_FAST_EXP>(x[j][2 * r + 1] - base[r]);
                const typename Pair<T>::type both = Pair<T>::from_float(low, high);
                const float2 rounded = Pair<T>::to_float(both);
                row_sum[r] += rounded.x + rounded.y;
                if (row < chunk.rows && key < chunk.ld) {
                    // Not memcpy to p: two bytes are all that T promises of an address, and it would store them one by
                    // one.
                    *reinterpret_cast<typename Pair<T>::type*>(p + static_cast<int64_t>(row) * chunk.ld + key) = both;
                }
            }
        }
    };
    if constexpr (Kept > 0) {
#pragma unroll
        for (int index = 0; index < Kept; ++index) {
            if (index < key_tiles) write(index, kept[index]);
        }
    } else {
        for (int index = 0; index < key_tiles; ++index) {
            compute(key_tiles + index, kept[0]);
            write(index, kept[0]);
        }
    }
    cp_async_wait<0>();

#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const float sum = quad_sum(row_sum[r]);
        if (quad == 0) sum_smem[key_group * BLOCK_M + row_group * 16 + group + r * 8] = sum;
    }
    __syncthreads();
    for (int row = threadIdx.x; row < min(BLOCK_M, chunk.rows - block_row); row += kThreads) {
        float sum = 0.0f;
#pragma unroll
        for (int g = 0; g < kKeyGroups; ++g) sum += sum_smem[g * BLOCK_M + row];
        DEBUG_ASSERT(sum > 0.99f && sum < keys * 1.01f + 1.0f);  // the largest of at most `keys` terms is 1
        in_workspace<float>(args, all.sums)[static_cast<int64_t>(slice) * chunk.rows + block_row + row] = sum;
    }

    // What the tiles did not cover.
    const int covered = key_tiles * L::kKeys;
    if (covered < chunk.ld) {
        const int words = (chunk.ld - covered) / 8;  // of 16 bytes
        for (int i = threadIdx.x; i < BLOCK_M * words; i += kThreads) {
            const int row = block_row + i / words;
            if (row >= chunk.rows) break;
            T* const line = p + static_cast<int64_t>(row) * chunk.ld;
            *reinterpret_cast<uint4*>(line + covered + i % words * 8) = make_uint4(0, 0, 0, 0);
        }
    }
}

Workspace workspace_of(const SdpaArgsV1& args) { return {args, 2, true}; }

template <typename T, int D>
struct HybridPv {
    static int launch(const SdpaArgsV1& args, void* stream) {
        const Workspace workspace = workspace_of(args);
        return for_each_gemm_chunk(args, workspace, stream, [&](CublasCall& cublas, const LogitChunk& chunk) {
            constexpr auto kKeeping = exponentials<T, D, Layout<D>::kKeptTiles>, kSweeping = exponentials<T, D, 0>;
            if (int code = launch_tiles<Layout<D>, kKeeping, kSweeping>(args, workspace, chunk, stream)) return code;
            return multiply_and_divide<T, D>(cublas, args, workspace, chunk, chunk.ld, stream);
        });
    }
};

constexpr uint32_t kFeatures = SharedHeads;

}  // namespace kgate

KGATE_EXPORT int64_t kgate_sdpa_workspace(const kgate::SdpaArgs* args) { return kgate::workspace_of(*args).bytes; }

KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::kFeatures; }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::HybridPv, HEAD_DIM, kgate::kFeatures>(args, stream);
}
