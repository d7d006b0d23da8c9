// Which tiles of query rows the blocks of a pipeline (warpgroup_pipeline.cuh) work on, in which order; and their rows'
// log-sum-exps.
#pragma once

#include <algorithm>

#include "attention/warpgroup_pipeline.cuh"

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

// All but the maps, and the number of blocks: with `persistent` one for each multiprocessor. Causal tiles are ordered by
// length among as many heads as have `section_mb` of K and V, of `key_bytes` a key, so that those stay in L2.
int number_tiles(PipelineArgs& call, int& blocks, const SdpaArgs& args, int block_m, int key_bytes, int section_mb,
                 bool persistent) {
    int multiprocessors = 0;
    if (int code = count_multiprocessors(multiprocessors)) return code;
    const int row_tiles = ceil_div(args.seqlen, block_m);
    const int64_t slices = static_cast<int64_t>(args.batch) * args.heads;
    if (slices * row_tiles > std::numeric_limits<int32_t>::max() / 2) {
        return fail(kUnsupported, "The problem needs %lld tiles, more than are counted. Split the batch.",
                    static_cast<long long>(slices * row_tiles));
    }
    const int64_t fitting = static_cast<int64_t>(section_mb) * 1024 * 1024 / key_bytes / args.kv_seqlen;
    call.seqlen = args.seqlen;
    call.kv_seqlen = args.kv_seqlen;
    call.heads = args.heads;
    call.group = args.heads / args.kv_heads;
    call.row_tiles = row_tiles;
    call.slices = static_cast<int>(slices);
    call.section = args.causal ? static_cast<int>(std::min(std::max(fitting, int64_t{1}), slices)) : 1;
    call.tiles = static_cast<int>(slices * row_tiles);
    call.scale = fmaxf(fabsf(args.scale) * kLog2E, std::numeric_limits<float>::min());
    call.negate = args.scale < 0.0f;
    call.causal = args.causal != 0;
    call.lse = args.lse;
    for (int i = 0; i < 3; ++i) call.lse_stride[i] = args.lse_stride[i];
    blocks = persistent ? std::min(call.tiles, multiprocessors) : call.tiles;
    return 0;
}

// The block's tile of this round, if there is one. Within a section of heads those with most keys come first, and rounds
// go to and fro: whoever has the longest tile of one has the shortest of the next.
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

// The log-sum-exps of warpgroup `group`'s rows, where they are asked for; `offset` is what the sums are too large by, in
// the log2 domain, and `scale` that of the logits.
template <typename Partial>
__device__ void store_lse(const PipelineArgs& args, const PipelineTile& work, int group, const Partial& partial,
                          float scale, float offset) {
    if (args.lse == nullptr || threadIdx.x % 4 != 0) return;
    const int first_row = work.tile.first_row + group * 64 + static_cast<int>(threadIdx.x) / 32 % 4 * 16;
    float* const lse = args.lse + work.tile.batch * args.lse_stride[0] + work.tile.head * args.lse_stride[1];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
        const int row = first_row + h * 8 + static_cast<int>(threadIdx.x) % 32 / 4;
        const float sum = partial.row_sum[h];
        const float log2 = sum > 0.0f ? partial.row_max[h] * scale + log2f(sum) - offset : -INFINITY;
        if (row < args.seqlen) lse[row * args.lse_stride[2]] = log2 / kLog2E;
    }
}

}  // namespace
}  // namespace kgate
