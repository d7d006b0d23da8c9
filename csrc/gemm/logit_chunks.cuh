// How attention by whole matrices is cut up: the logits of all heads do not fit any memory, so one chunk of the problem
// at a time has its logits in the workspace.
//
// A chunk is some query rows of some heads of some batches: all heads of several batches, or several heads of one.
// Under the causal mask a chunk of rows [first, first + n) takes the keys [0, first + n) only, so that fewer rows a
// chunk mean less work above the diagonal, and more launches.
#pragma once

#include <algorithm>

#include "cuda/launch.cuh"
#include "cuda/tile_walk.cuh"

#ifndef CAUSAL_ROWS  // knob: query rows at once under the causal mask; keys above a strip's diagonal are left out
#define CAUSAL_ROWS 1024
#endif
#ifndef WORKSPACE_MIB  // knob: most MiB of logits, or of their exponentials, at once
#define WORKSPACE_MIB 512
#endif

static_assert(CAUSAL_ROWS >= 1, "CAUSAL_ROWS must be at least 1.");
static_assert(WORKSPACE_MIB >= 1 && WORKSPACE_MIB <= 65536, "WORKSPACE_MIB must be 1 to 65536.");

namespace kgate {
namespace {

struct LogitChunk {
    int batch, batches;  // [batch, batch + batches)
    int head, heads;
    int row, rows;  // query rows
    int keys;       // keys [0, keys) are all that these rows attend to
    int ld;         // elements between rows of the logits: keys, rounded up so that each row starts on 16 bytes
};

__host__ __device__ constexpr int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

__host__ __device__ inline int64_t slice_elements(const LogitChunk& chunk) {
    return static_cast<int64_t>(chunk.rows) * chunk.ld;
}
__host__ __device__ inline int slices_of(const LogitChunk& chunk) { return chunk.batches * chunk.heads; }

struct ChunkSize {  // of the largest chunk; all begin at multiples of it
    int batches, heads, rows;
    int64_t elements;  // of its logits
};

// The largest chunks that the knobs allow, with `pair_bytes` for each pair of a query and a key. A single row is taken
// whether it fits or not.
inline ChunkSize choose_chunk_size(const SdpaArgsV1& args, int pair_bytes) {
    const int64_t budget = (static_cast<int64_t>(WORKSPACE_MIB) << 20) / pair_bytes;  // elements
    const int64_t ld = round_up(args.seqlen, 8);
    ChunkSize largest = {1, 1, args.seqlen, 0};
    if (args.causal) largest.rows = std::min(largest.rows, CAUSAL_ROWS);
    largest.rows = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(largest.rows, budget / ld)));
    const int64_t slices = std::max<int64_t>(1, budget / (largest.rows * ld));
    if (slices >= args.heads) {
        largest.heads = args.heads;
        largest.batches = static_cast<int>(std::min<int64_t>(args.batch, slices / args.heads));
    } else {
        largest.heads = ceil_div(args.heads, ceil_div(args.heads, static_cast<int>(slices)));  // even shares
    }
    largest.elements = largest.batches * largest.heads * largest.rows * ld;
    return largest;
}

// Calls body(chunk) for every chunk until one returns an error.
template <typename Body>
int for_each_chunk(const SdpaArgsV1& args, const ChunkSize& largest, const Body& body) {
    for (int batch = 0; batch < args.batch; batch += largest.batches) {
        for (int head = 0; head < args.heads; head += largest.heads) {
            for (int row = 0; row < args.seqlen; row += largest.rows) {
                LogitChunk chunk = {batch, std::min(largest.batches, args.batch - batch),
                                    head,  std::min(largest.heads, args.heads - head),
                                    row,   std::min(largest.rows, args.seqlen - row),
                                    0,     0};
                chunk.keys = args.causal ? chunk.row + chunk.rows : args.seqlen;
                chunk.ld = static_cast<int>(round_up(chunk.keys, 8));
                if (int code = body(chunk)) return code;
            }
        }
    }
    return 0;
}

// Where the chunk's part of a (batch, heads, seqlen, head_dim) tensor starts, and where its slice of that does: slices
// count the chunk's heads fastest, as its logits do.
template <typename T>
__host__ __device__ T* chunk_pointer(T* base, const int64_t (&stride)[3], const LogitChunk& chunk, int slice = 0) {
    return base + (chunk.batch + slice / chunk.heads) * stride[0] + (chunk.head + slice % chunk.heads) * stride[1];
}

// The workspace starts with `library_bytes` for the vendor's library, then come the logits.
int check_workspace(const SdpaArgsV1& args, int64_t bytes) {
    if (args.workspace == nullptr || args.workspace_bytes < bytes) {
        return fail(kBadArgument,
                    "The workspace has %lld bytes at %p, %lld are needed. Ask kgate_sdpa_workspace for the size.",
                    static_cast<long long>(args.workspace_bytes), args.workspace, static_cast<long long>(bytes));
    }
    if (reinterpret_cast<uintptr_t>(args.workspace) % 256 != 0) {
        return fail(kBadArgument,
                    "The workspace starts at %p, which is not a multiple of 256 bytes. Pass an aligned one.",
                    args.workspace);
    }
    return 0;
}

}  // namespace
}  // namespace kgate
