// Which tiles of query rows the blocks of a pipeline (warpgroup_pipeline.cuh) work on, in which order; and their rows'
// log-sum-exps.
#pragma once

#include <algorithm>

#include "attention/pipeline/pipeline_ring.cuh"
#include "cuda/exp2.cuh"
#include "cuda/launch.cuh"

namespace kgate {
namespace {

struct PipelineArgs {
    int seqlen, kv_seqlen;
    int heads, group;     // query heads, and those of them that share one of K and V
    int row_tiles;        // of a head
    int slices, section;  // heads of all batches, and how many of them are ordered together
    int tiles;            // of all
    float scale;          // LogScale::log2
    bool negate, causal;
    float* lse;  // or null
    int64_t lse_stride[3];
    CUtensorMap q, k, v, o;
};

// How causal tiles, the longest first, are best given to blocks, as measured (hopper.cu). Where K and V of all heads
// are at most twice the L2 of an H100, all heads are ordered together, and one block a multiprocessor goes from tile to
// tile. Beyond, what is ordered together is a section of heads that stays in L2. A section's tiles are too few for a
// fixed order to balance: they are a block each, which goes to whichever multiprocessor is free.
constexpr int64_t kTogetherBytes = int64_t{100} << 20;  // of K and V
constexpr int64_t kSectionBytes = int64_t{32} << 20;

// All but the maps, and the number of blocks: with `persistent` 1 one for each multiprocessor, with 0 one for each
// tile; 2 chooses. `section_mb` MB of K and V, of `key_bytes` a key, are ordered together; 0 chooses. Without a mask
// all tiles are equally long, in the order of heads, and one block a multiprocessor is best.
int number_tiles(PipelineArgs& call, int& blocks, const SdpaArgs& args, int block_m, int key_bytes, int section_mb,
                 int persistent) {
    int multiprocessors = 0;
    if (int code = count_multiprocessors(multiprocessors)) return code;
    const int row_tiles = ceil_div(args.seqlen, block_m);
    const int64_t slices = static_cast<int64_t>(args.batch) * args.heads;
    if (slices * row_tiles > std::numeric_limits<int32_t>::max() / 2) {
        return fail(kUnsupported, "The problem needs %lld tiles, more than are counted. Split the batch.",
                    static_cast<long long>(slices * row_tiles));
    }
    const int group = args.heads / args.kv_heads;
    const int64_t head_bytes = static_cast<int64_t>(args.kv_seqlen) * key_bytes;
    const bool together = slices / group * head_bytes <= kTogetherBytes;
    const int64_t chosen = together ? kTogetherBytes : kSectionBytes;
    const int64_t fitting = (section_mb != 0 ? int64_t{section_mb} << 20 : chosen) / head_bytes * group;
    call.seqlen = args.seqlen;
    call.kv_seqlen = args.kv_seqlen;
    call.heads = args.heads;
    call.group = group;
    call.row_tiles = row_tiles;
    call.slices = static_cast<int>(slices);
    call.section = args.causal ? static_cast<int>(std::min(std::max(fitting, int64_t{1}), slices)) : 1;
    call.tiles = static_cast<int>(slices * row_tiles);
    call.scale = fmaxf(fabsf(args.scale) * kLog2E, std::numeric_limits<float>::min());
    call.negate = args.scale < 0.0f;
    call.causal = args.causal != 0;
    call.lse = args.lse;
    for (int i = 0; i < 3; ++i) call.lse_stride[i] = args.lse_stride[i];
    const bool one_each = persistent == 1 || (persistent == 2 && (!call.causal || together));
    blocks = one_each ? std::min(call.tiles, multiprocessors) : call.tiles;
    return 0;
}

// The block's tile of this round, if there is one. Within a section of heads those with most keys come first, and
// rounds go to and fro: whoever has the longest tile of one has the shortest of the next.
template <int Rows, int Keys>
__device__ inline bool find_pipeline_tile(const PipelineArgs& args, int round, PipelineTile& work) {
    const int blocks = static_cast<int>(gridDim.x);
    const int place = static_cast<int>(blockIdx.x);
    const int index = round * blocks + (round % 2 != 0 ? blocks - 1 - place : place);
    if (index >= args.tiles) return false;
    const int of_section = args.section * args.row_tiles;
    const int section = index / of_section;
    const int heads = min(args.section, args.slices - section * args.section);
    const int within = index - section * of_section;
    const int row_tile = within / heads;
    const int slice = section * args.section + within - row_tile * heads;
    const int first_row = (args.row_tiles - 1 - row_tile) * Rows;
    const int batch = slice / args.heads;
    const int head = slice - batch * args.heads;
    const int last = args.causal ? min(first_row + Rows, args.seqlen) + args.kv_seqlen - args.seqlen : args.kv_seqlen;
    const int keys = max(min(last, args.kv_seqlen), 0);
    work = {{batch, head, first_row, keys}, head / args.group, (keys + Keys - 1) / Keys};
    return true;
}

// The log-sum-exps of warpgroup `group`'s rows, where they are asked for; `offset` is what the sums are too large by,
// in the log2 domain, and `scale` that of the logits.
__device__ inline void store_lse(const PipelineArgs& args, const PipelineTile& work, int group,
                                 const float (&row_max)[2], const float (&row_sum)[2], float scale, float offset) {
    if (args.lse == nullptr || threadIdx.x % 4 != 0) return;
    const int first_row = work.tile.first_row + group * 64 + static_cast<int>(threadIdx.x) / 32 % 4 * 16;
    float* const lse = args.lse + work.tile.batch * args.lse_stride[0] + work.tile.head * args.lse_stride[1];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int row = first_row + h * 8 + static_cast<int>(threadIdx.x) % 32 / 4;
        const float sum = row_sum[h];
        const float log2 = sum > 0.0f ? row_max[h] * scale + log2f(sum) - offset : -INFINITY;
        if (row < args.seqlen) lse[row * args.lse_stride[2]] = log2 / kLog2E;
    }
}

}  // namespace
}  // namespace kgate
