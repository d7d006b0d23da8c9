#ifndef BLOCK_M  // knob: query rows per block
#define BLOCK_M 128
#endif
#ifndef BLOCK_N  // knob: keys per tile
#define BLOCK_N 64
#endif
#ifndef NUM_WARPS  // knob: warps per block, each with 16 or 32 rows
#define NUM_WARPS 4
#endif
#ifndef STAGES  // knob: K and V tiles in flight; 1 has one buffer each, filled while the other is in use
#define STAGES 2
#endif
#ifndef SPLIT_KV  // knob: shares into which a tile's keys are split, each with warps of its own
#define SPLIT_KV 1
#endif
#ifndef PAD  // knob: 16-bit elements of padding per Q, K and V row in shared memory
#define PAD 8
#endif
#ifndef USE_FAST_EXP  // knob: 1 for the hardware's exp2, 0 for exp2f with subnormals
#define USE_FAST_EXP 1
#endif
#ifndef HEAD_DIM  // knob: the only head dimension to compile, 0 for all
#define HEAD_DIM 0
#endif
#ifndef FOLD
#define FOLD 1
#endif
#ifndef AHEAD
#define AHEAD 1
#endif
#ifndef MIN_BLOCKS
#define MIN_BLOCKS 1
#endif

#include "mma_tile.cuh"

namespace kgate {

static_assert(NUM_WARPS >= 1 && NUM_WARPS <= 32, "NUM_WARPS must be 1 to 32: a block holds at most 1024 threads.");
static_assert(SPLIT_KV >= 1 && NUM_WARPS % SPLIT_KV == 0, "SPLIT_KV must divide NUM_WARPS: each share of the keys has as many warps.");

constexpr int kThreads = NUM_WARPS * 32;
constexpr int kRowGroups = max_of(NUM_WARPS / max_of(SPLIT_KV, 1), 1);
constexpr int kWarpRows = BLOCK_M / kRowGroups;

static_assert(kRowGroups * kWarpRows == BLOCK_M && (kWarpRows == 16 || kWarpRows == 32),
              "BLOCK_M must be 16 or 32 times NUM_WARPS / SPLIT_KV: each warp takes 16 or 32 rows.");
static_assert(BLOCK_N % (16 * SPLIT_KV) == 0 && BLOCK_N / SPLIT_KV >= 16 && BLOCK_N / SPLIT_KV <= 128,
              "BLOCK_N / SPLIT_KV, the keys per warp, must be a multiple of 16 from 16 to 128.");
static_assert(STAGES >= 2 && STAGES <= 4, "STAGES must be 2, 3 or 4: logits are a tile ahead, so one tile is never enough.");
static_assert(PAD >= 0 && PAD % 8 == 0, "PAD must be a multiple of 8: cp.async writes rows that start on 16 bytes.");
static_assert(USE_FAST_EXP == 0 || USE_FAST_EXP == 1, "USE_FAST_EXP must be 0 or 1.");

template <typename T, int D>
struct Plan {
    using Loop = KeyLoop<T, D, BLOCK_M, BLOCK_N, kRowGroups, SPLIT_KV, STAGES, PAD, AHEAD, USE_FAST_EXP>;
    using Share = typename Loop::Share;
    using Shares = Merge<Share, kRowGroups, SPLIT_KV, 1>;
    static constexpr int kBytes = SPLIT_KV > 1 ? max_of(Loop::kBytes, Shares::kBytes) : Loop::kBytes;
};

// Blocks in the order of their start; the SMs get one each in turn. Causal tiles: heaviest first, and every second round of
// SMs backwards, so that the SM that got the heaviest tile of one round gets the lightest of the next.
__device__ inline Tile find_mma_tile(const SdpaArgs& args) {
    Tile tile = find_tile(args, BLOCK_M);
    if (args.causal) {
        unsigned sms;
        asm("mov.u32 %0, %%nsmid;" : "=r"(sms));
        const unsigned first = blockIdx.x / sms * sms;  // of this round
        const unsigned last = min(first + sms, gridDim.x) - 1;
        const unsigned rank = !FOLD || blockIdx.x / sms % 2 == 0 ? blockIdx.x : first + (last - blockIdx.x);
        const int slices = args.batch * args.heads;
        const int slice = rank % slices;
        tile.batch = slice / args.heads;
        tile.head = slice % args.heads;
        tile.first_row = (gridDim.x - 1 - rank) / slices * BLOCK_M;
        tile.keys = min(args.seqlen - tile.first_row, BLOCK_M) + tile.first_row;
    }
    return tile;
}

template <typename T, int D>
__global__ void __launch_bounds__(kThreads, MIN_BLOCKS) mma_attention(const __grid_constant__ SdpaArgs args) {
    using P = Plan<T, D>;
    using Share = typename P::Share;
    constexpr int kStride = P::Loop::kStride;
    extern __shared__ __align__(128) unsigned char shared[];
    const unsigned address = shared_address(shared);
    const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0);  // as the compiler sees: the same in all lanes
    const int row_group = warp % kRowGroups;
    const int key_group = warp / kRowGroups;
    const Tile tile = find_mma_tile(args);
    Share share = P::Loop::run(args, tile, address, row_group, key_group, 0, tile.keys, [] {});

    const int first_row = tile.first_row + row_group * kWarpRows;  // of this warp
    T* const o = head_pointer(static_cast<T*>(args.o), args.o_stride, tile) + first_row * args.o_stride[2];
    const int rows = args.seqlen - first_row;
    if constexpr (SPLIT_KV > 1) {
        const typename P::Shares shares = {address, row_group, key_group, 0};
        __syncthreads();  // K, V and Q have no reader left: the shares take their place
        shares.send(share);
        shares.wait();
        shares.template receive<T, USE_FAST_EXP>(share, o, args.o_stride[2], rows);
    } else {
        if constexpr (Share::kKeepQ) __syncthreads();  // V, in whose place Q was, has no reader left
        // Through the warp's own rows of Q, so that 16 bytes are stored at once.
        const unsigned rows_at = address + P::Loop::kQ + row_group * kWarpRows * kStride * 2;
        const int lane = threadIdx.x % 32;
        __syncwarp();
#pragma unroll
        for (int m = 0; m < kWarpRows / 16; ++m) {
#pragma unroll
            for (int h = 0; h < 2; ++h) {
                const float inverse = __fdividef(1.0f, share.row_sum[m][2 * h]);
                const unsigned target = rows_at + ((m * 16 + h * 8 + lane / 4) * kStride + lane % 4 * 2) * 2;
#pragma unroll
                for (int d = 0; d < Share::kColumns; ++d) {
                    const unsigned pair = pack<T>(share.output[m][d][2 * h] * inverse, share.output[m][d][2 * h + 1] * inverse);
                    asm volatile("st.shared.b32 [%0], %1;" ::"r"(target + d * 16), "r"(pair) : "memory");
                }
            }
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < kWarpRows * Share::kColumns / 32; ++i) {
            const int chunk = i * 32 + lane;
            const int row = chunk / Share::kColumns;
            const int column = chunk % Share::kColumns * 8;
            if (row >= rows) break;
            uint4 eight;
            asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];" : "=r"(eight.x), "=r"(eight.y), "=r"(eight.z), "=r"(eight.w)
                         : "r"(rows_at + (row * kStride + column) * 2) : "memory");
            *reinterpret_cast<uint4*>(o + row * args.o_stride[2] + column) = eight;
        }
    }
}

template <typename T, int D>
struct Mma {
    static int launch(const SdpaArgs& args, void* stream) {
        const int64_t blocks = static_cast<int64_t>(ceil_div(args.seqlen, BLOCK_M)) * args.batch * args.heads;
        return kgate::launch<mma_attention<T, D>>(args, blocks, kThreads, Plan<T, D>::kBytes, stream);
    }
};

}  // namespace kgate

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::Mma, HEAD_DIM>(args, stream);
}
