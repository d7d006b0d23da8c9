// hybrid_pv: one kernel for the logits and the softmax, which leaves 16-bit probabilities in memory; cuBLAS for P V.
//
// Idea     A GEMM wants its operand normalised, and a row's sum is known only when all its keys have been seen. So the kernel
//          sweeps over the keys twice: the first sweep keeps nothing but each row's maximum and sum, the second computes the
//          same logits again and writes exp(x - max) / sum. A product on tensor cores is cheaper than to write logits in
//          fp32 and read them back: 4 bytes move for each pair of a query and a key, a third of what the cublas rung moves.
//          Rows of up to KEPT_TILES * BLOCK_N keys take one sweep: their logits wait in registers for the sum.
// Tiles    A block takes BLOCK_M query rows of one head, Q in registers. NUM_WARPS = BLOCK_M / 16 row groups times key groups,
//          each of which takes its share of a tile of BLOCK_N keys. Each lane keeps a maximum and a sum of its own for the
//          keys it sees, so the first sweep exchanges nothing; lanes and key groups are combined once, between the sweeps.
// Stages   A ring of tiles of K, filled by cp.async one tile less than it has ahead, through both sweeps without a break:
//          STAGES tiles, or fewer where they would not fit 40 KB (two blocks then fit an SM of sm_89). Under the causal mask tiles
//          above the diagonal are not computed, but filled with zeros as far as the GEMM reads.
// Shared   (ring * BLOCK_N + BLOCK_M) * (D + PAD) * 2 bytes, and 8 bytes a row and key group. Defaults: 42 KB at D = 64,
//          44 KB at D = 128.
// Registers Q fragments D / 4 a lane, logits BLOCK_N / (2 * key groups), times KEPT_TILES if they are kept.
// Memory   Workspace: 32 MiB for cuBLAS, and the probabilities, 2 * rows * keys for each head of a box (boxes.cuh).
// Limits   fp16 or bf16, D 64, 80, 96 or 128, sm_80 or newer, row strides of at least D. Twice the Q K^T of
//          other rungs, and two launches that wait for each other.
// Result   1.35 of SDPA's fastest backend at 1x8x512x64 on an H200 (benchmarks/h200/perf-2026-11-21.json). Where a row's logits
//          are kept in registers it saves a pass over them; where they are not, it computes Q K^T twice by mma.sync, which
//          costs more than the traffic that it saves. Its greatest error can be 2.4 times SDPA's, as the cublas rung's.

#ifndef BLOCK_M  // knob: query rows per block
#define BLOCK_M 32
#endif
#ifndef BLOCK_N  // knob: keys per tile
#define BLOCK_N 64
#endif
#ifndef NUM_WARPS  // knob: warps per block; more than BLOCK_M / 16 split the keys of a tile between them
#define NUM_WARPS 8
#endif
#ifndef STAGES  // knob: most K tiles in flight
#define STAGES 4
#endif
#ifndef PAD  // knob: 16-bit elements of padding per Q and K row in shared memory
#define PAD 8
#endif
#ifndef KEPT_TILES  // knob: rows of up to this many tiles keep their logits in registers; 0 for none
#define KEPT_TILES (2048 * NUM_WARPS / (BLOCK_M * BLOCK_N))
#endif
#ifndef CAUSAL_ROWS  // knob: query rows per GEMM under the causal mask; keys above the diagonal of such a strip are left out
#define CAUSAL_ROWS 1024
#endif
#ifndef WORKSPACE_MIB  // knob: most MiB of probabilities at once
#define WORKSPACE_MIB 512
#endif
#ifndef USE_FAST_EXP  // knob: 1 for the hardware's exp2, 0 for exp2f with subnormals
#define USE_FAST_EXP 1
#endif
#ifndef HEAD_DIM  // knob: the only head dimension to compile, 0 for all
#define HEAD_DIM 0
#endif

#include "cublas.cuh"  // library: cublas
#include "tensor_core.cuh"

namespace kgate {

constexpr int kThreads = NUM_WARPS * 32;
constexpr int kRowGroups = BLOCK_M / 16;
constexpr int kKeyGroups = NUM_WARPS / (kRowGroups > 0 ? kRowGroups : 1);
constexpr int kWarpKeys = BLOCK_N / (kKeyGroups > 0 ? kKeyGroups : 1);

static_assert(NUM_WARPS >= 1 && NUM_WARPS <= 32, "NUM_WARPS must be 1 to 32: a block holds at most 1024 threads.");
static_assert(BLOCK_M >= 16 && BLOCK_M % 16 == 0, "BLOCK_M must be a multiple of 16, the rows of an mma tile.");
static_assert(kRowGroups * kKeyGroups == NUM_WARPS, "NUM_WARPS must be a multiple of BLOCK_M / 16: each warp takes 16 rows.");
static_assert(BLOCK_M % 16 != 0 || kRowGroups * kKeyGroups != NUM_WARPS ||  // already told
                  (kWarpKeys * kKeyGroups == BLOCK_N && kWarpKeys % 16 == 0 && kWarpKeys >= 16 && kWarpKeys <= 128),
              "BLOCK_N / (16 * NUM_WARPS / BLOCK_M), the keys per warp, must be a multiple of 16 from 16 to 128.");
static_assert(STAGES >= 2 && STAGES <= 8, "STAGES must be 2 to 8.");
static_assert(PAD >= 0 && PAD % 8 == 0, "PAD must be a multiple of 8: cp.async writes rows that start on 16 bytes.");
static_assert(KEPT_TILES >= 0 && KEPT_TILES * kWarpKeys <= 256,
              "KEPT_TILES times the keys per warp must be 0 to 256: half as many registers a lane hold their logits.");
static_assert(CAUSAL_ROWS >= 1, "CAUSAL_ROWS must be at least 1.");
static_assert(WORKSPACE_MIB >= 1 && WORKSPACE_MIB <= 65536, "WORKSPACE_MIB must be 1 to 65536.");
static_assert(USE_FAST_EXP == 0 || USE_FAST_EXP == 1, "USE_FAST_EXP must be 0 or 1.");

struct ProbabilityArgs {
    SdpaArgs sdpa;
    Box box;
};

template <int D>
struct Layout {  // of shared memory, in bytes
    static constexpr int kStride = D + PAD;
    static constexpr int kTile = BLOCK_N * kStride;  // elements of a K tile
    static constexpr int kStages = max_of(2, min_of(STAGES, 40 * 1024 / (kTile * 2)));
    static constexpr int kQ = kStages * kTile * 2;
    static constexpr int kMax = kQ + BLOCK_M * kStride * 2;   // (key groups, BLOCK_M) row maxima
    static constexpr int kSum = kMax + kKeyGroups * BLOCK_M * 4;  // (key groups, BLOCK_M) row sums
    static constexpr int kBytes = kSum + kKeyGroups * BLOCK_M * 4;
};

template <typename T, int D, int Kept>
__global__ void __launch_bounds__(kThreads, 1) probabilities(const __grid_constant__ ProbabilityArgs all) {
    using L = Layout<D>;
    const SdpaArgs& args = all.sdpa;
    const Box& box = all.box;
    constexpr int kSteps = D / 16;
    constexpr int kTiles8 = kWarpKeys / 8;

    extern __shared__ __align__(128) unsigned char shared[];
    T* const k_smem = reinterpret_cast<T*>(shared);          // (kStages, BLOCK_N, kStride)
    T* const q_smem = reinterpret_cast<T*>(shared + L::kQ);  // (BLOCK_M, kStride)
    float* const max_smem = reinterpret_cast<float*>(shared + L::kMax);
    float* const sum_smem = reinterpret_cast<float*>(shared + L::kSum);

    const int lane = threadIdx.x % 32, group = lane / 4, quad = lane % 4;
    const int row_group = threadIdx.x / 32 % kRowGroups;
    const int key_group = threadIdx.x / 32 / kRowGroups;

    const int blocks = ceil_div(box.rows, BLOCK_M);  // of a slice
    const int slice = blockIdx.x / blocks;
    const int block_row = blockIdx.x % blocks * BLOCK_M;  // within the box
    const int end_row = box.row + box.rows;
    const int first_row = box.row + block_row + row_group * 16;  // of this warp
    const int keys = args.causal ? min(box.keys, box.row + block_row + BLOCK_M) : box.keys;
    const T* const q = box_pointer(static_cast<const T*>(args.q), args.q_stride, box, slice);
    const T* const k = box_pointer(static_cast<const T*>(args.k), args.k_stride, box, slice);
    const int key_tiles = ceil_div(keys, BLOCK_N);

    copy_rows_async<T, BLOCK_M, D, L::kStride, kThreads>(q_smem, q, args.q_stride[2], box.row + block_row, end_row);
    cp_async_commit();
    const int turns = Kept > 0 ? key_tiles : 2 * key_tiles;
    const auto copy_tile = [&](int turn) {
        if (turn < turns) {
            copy_rows_async<T, BLOCK_N, D, L::kStride, kThreads>(k_smem + turn % L::kStages * L::kTile, k, args.k_stride[2],
                                                                 turn % key_tiles * BLOCK_N, args.seqlen);
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
    // The warp's logits of one turn's tile, masked; rows group and group + 8, keys first_key + 8 j + 2 quad and the next.
    const auto compute = [&](int turn, float (&x)[kTiles8][4]) {
#pragma unroll
        for (int j = 0; j < kTiles8; ++j) x[j][0] = x[j][1] = x[j][2] = x[j][3] = 0.0f;
        // Besides Q, kStages - 1 + turn groups are committed and group `turn` must be complete: kStages - 2 may be pending.
        cp_async_wait<L::kStages - 2>();
        __syncthreads();  // all threads' copies are visible, and tile turn - 1 has no reader left: its buffer is free
        copy_tile(turn + L::kStages - 1);
        const int first_key = turn % key_tiles * BLOCK_N + key_group * kWarpKeys;
        const T* const tile = k_smem + turn % L::kStages * L::kTile + key_group * kWarpKeys * L::kStride;
#pragma unroll
        for (int d = 0; d < kSteps; ++d) {
#pragma unroll
            for (int j = 0; j < kTiles8; j += 2) {  // 16 keys: matrices (keys 0-7, d 0-7), (0-7, 8-15), (8-15, 0-7), (8-15, 8-15)
                unsigned k_frag[4];
                load_matrices(k_frag, tile + (j * 8 + lane / 16 * 8 + lane % 8) * L::kStride + d * 16 + lane / 8 % 2 * 8);
                multiply_add<T>(x[j], q_frag[d], k_frag[0], k_frag[1]);
                multiply_add<T>(x[j + 1], q_frag[d], k_frag[2], k_frag[3]);
            }
        }
        const bool masked = first_key + kWarpKeys > args.seqlen || (args.causal && first_key + kWarpKeys - 1 > first_row);
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

    // First sweep: this lane's maximum and sum of two rows.
    float row_max[2] = {-INFINITY, -INFINITY};
    float row_sum[2] = {0.0f, 0.0f};
    const auto accumulate = [&](const float (&x)[kTiles8][4]) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            float maximum = row_max[r];
#pragma unroll
            for (int j = 0; j < kTiles8; ++j) maximum = fmaxf(maximum, fmaxf(x[j][2 * r], x[j][2 * r + 1]));
            const float base = finite_max(maximum);  // this lane may have seen no key of the row yet
            row_sum[r] *= exp2_of<USE_FAST_EXP>(row_max[r] - base);
            row_max[r] = maximum;
#pragma unroll
            for (int j = 0; j < kTiles8; ++j) {
                row_sum[r] += exp2_of<USE_FAST_EXP>(x[j][2 * r] - base) + exp2_of<USE_FAST_EXP>(x[j][2 * r + 1] - base);
            }
        }
    };
    float kept[Kept > 0 ? Kept : 1][kTiles8][4];
    if constexpr (Kept > 0) {
#pragma unroll
        for (int turn = 0; turn < Kept; ++turn) {
            if (turn < key_tiles) {
                compute(turn, kept[turn]);
                accumulate(kept[turn]);
            }
        }
    } else {
        for (int turn = 0; turn < key_tiles; ++turn) {
            compute(turn, kept[0]);
            accumulate(kept[0]);
        }
    }

    // Between the sweeps: over the lanes of a row, then over the key groups.
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const float maximum = quad_max(row_max[r]);
        const float sum = quad_sum(row_sum[r] * exp2_of<USE_FAST_EXP>(row_max[r] - finite_max(maximum)));
        if (quad == 0) {
            max_smem[key_group * BLOCK_M + row_group * 16 + group + r * 8] = maximum;
            sum_smem[key_group * BLOCK_M + row_group * 16 + group + r * 8] = sum;
        }
    }
    __syncthreads();
    float base[2], inverse[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
        const int row = row_group * 16 + group + r * 8;
        float maximum = -INFINITY, sum = 0.0f;
#pragma unroll
        for (int g = 0; g < kKeyGroups; ++g) maximum = fmaxf(maximum, max_smem[g * BLOCK_M + row]);
        base[r] = finite_max(maximum);
#pragma unroll
        for (int g = 0; g < kKeyGroups; ++g) {
            sum += sum_smem[g * BLOCK_M + row] * exp2_of<USE_FAST_EXP>(max_smem[g * BLOCK_M + row] - base[r]);
        }
        // The largest of at most `keys` terms is 1.
        DEBUG_ASSERT(first_row + group + r * 8 >= end_row || (sum > 0.99f && sum < keys * 1.01f + 1.0f));
        inverse[r] = 1.0f / sum;
    }

    // Second sweep: the same logits, kept or computed again, written as probabilities.
    T* const p = static_cast<T*>(args.workspace) + kCublasBytes / 2 + slice * slice_elements(box);
    const auto write = [&](int index, const float (&x)[kTiles8][4]) {
        const int first_key = index * BLOCK_N + key_group * kWarpKeys;
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const int row = first_row + group + r * 8 - box.row;
#pragma unroll
            for (int j = 0; j < kTiles8; ++j) {
                const int key = first_key + j * 8 + quad * 2;
                if (row < box.rows && key < box.ld) {
                    const float low = exp2_of<USE_FAST_EXP>(x[j][2 * r] - base[r]) * inverse[r];
                    const float high = exp2_of<USE_FAST_EXP>(x[j][2 * r + 1] - base[r]) * inverse[r];
                    *reinterpret_cast<unsigned*>(p + static_cast<int64_t>(row) * box.ld + key) = pack<T>(low, high);
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

    // What the tiles did not cover.
    const int covered = key_tiles * BLOCK_N;
    if (covered < box.ld) {
        const int words = (box.ld - covered) / 8;  // of 16 bytes
        for (int i = threadIdx.x; i < BLOCK_M * words; i += kThreads) {
            const int row = block_row + i / words;
            if (row >= box.rows) break;
            *reinterpret_cast<uint4*>(p + static_cast<int64_t>(row) * box.ld + covered + i % words * 8) = make_uint4(0, 0, 0, 0);
        }
    }
}

Boxes boxes_of(const SdpaArgs& args) { return cut(args, (static_cast<int64_t>(WORKSPACE_MIB) << 20) / 2, CAUSAL_ROWS); }

int64_t workspace_bytes(const Boxes& boxes) { return kCublasBytes + boxes.elements * 2; }

template <typename T, int D>
struct HybridPv {
    static int launch(const SdpaArgs& args, void* stream) {
        const Boxes boxes = boxes_of(args);
        if (int code = check_workspace(args, workspace_bytes(boxes))) return code;
        if (int code = check_row_strides(args)) return code;
        const T* const p = reinterpret_cast<const T*>(static_cast<const char*>(args.workspace) + kCublasBytes);
        CublasCall cublas;
        if (int code = cublas.begin(args, stream)) return code;
        return for_each_box(args, boxes, [&](const Box& box) {
            const int64_t blocks = static_cast<int64_t>(ceil_div(box.rows, BLOCK_M)) * slices_of(box);
            const ProbabilityArgs all = {args, box};
            const bool keep = ceil_div(box.keys, BLOCK_N) <= KEPT_TILES;
            constexpr int kBytes = Layout<D>::kBytes;
            const int code = keep ? kgate::launch<probabilities<T, D, KEPT_TILES>>(all, blocks, kThreads, kBytes, stream)
                                  : kgate::launch<probabilities<T, D, 0>>(all, blocks, kThreads, kBytes, stream);
            if (code) return code;
            return cublas.output<T>(args, box, p, box.ld);
        });
    }
};

}  // namespace kgate

KGATE_EXPORT int64_t kgate_sdpa_workspace(const kgate::SdpaArgs* args) { return kgate::workspace_bytes(kgate::boxes_of(*args)); }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::HybridPv, HEAD_DIM>(args, stream);
}
