// cutensor: attention as two tensor contractions of cuTENSOR around a row-softmax kernel.
//
// Idea     The tensors go in as they are, four modes with any strides: batch and head need not collapse, and one
//          contraction serves a whole chunk. What it costs: 16-bit operands give a 16-bit result there, and a logit of
//          20 in 11 bits (fp16) is off by up to 0.008, one in 8 bits (bf16) by 0.06, which is what its probability is
//          then off by. So the logits are taken in two terms: the rounded product, and, by a second contraction with
//          the first term as its beta = -1 addend, what rounding it lost. Their sum has twice the bits. So is the
//          product with V, which is divided by the rows' sums afterwards (gemm_rung.cuh says why last) and would be
//          rounded twice. TERMS = 1 leaves the second terms out: faster, and right only as long as the logits are
//          small.
// Plan     Chunks of heads and rows whose logits fit WORKSPACE_MIB (logit_chunks.cuh); for each chunk two contractions,
//          softmax, two contractions, division. scale * log2(e) is in alpha. A plan of cuTENSOR is made once for each
//          shape, device and strides.
// Softmax  row_softmax.cuh: a warp a row, up to 2048 keys in registers.
// Memory   Workspace: 32 MiB for cuTENSOR, and for each head of a chunk the logits, 2 * TERMS * rows * keys bytes, the
//          undivided output, 2 * TERMS * rows * D, and the sums, 4 * rows.
// Limits   fp16 or bf16, D 64, 80, 96 or 128, sm_80 or newer, no row, head or batch stride of 0. In fp16 logits times
//          log2(e) overflow above 65504, and values above 127 may. Needs libcutensor.so.2.
// Result   2.60 times cuDNN's latency at 1x8x512x64 on an H200, causal 2.55 (benchmarks/h200/perf-2026-11-21.json):
//          behind the cublas rung by its two further contractions, which the second terms take. On Hopper cuTENSOR runs
//          kernels of cuBLAS. With TERMS=1 it is faster, and off by more than is allowed on sharp logits. As right as
//          SDPA on the whole grid of shapes (benchmarks/h200/grid-2026-11-21.xml).

#ifndef TERMS  // knob: 16-bit numbers per logit and per undivided output, 1 or 2
#define TERMS 2
#endif
#ifndef NUM_WARPS  // knob: warps per block of the softmax kernel, a row each
#define NUM_WARPS 4
#endif

#include "cuda/exp2.cuh"
#include "cuda/launch.cuh"
#include "gemm/cutensor.cuh"  // library: cutensor
#include "gemm/divide_rows.cuh"
#include "gemm/row_softmax.cuh"

namespace kgate {

static_assert(TERMS == 1 || TERMS == 2, "TERMS must be 1 or 2.");
static_assert(NUM_WARPS >= 1 && NUM_WARPS <= 32, "NUM_WARPS must be 1 to 32: a block holds at most 1024 threads.");

// What the product with V is multiplied by, so that it fits fp16: no sum of exponentials exceeds the number of keys. A
// power of two, so that it costs no bits but those below fp16's smallest subnormal number.
inline float output_scale(const LogitChunk& chunk) {
    float scale = 1.0f;
    while (scale * chunk.keys > 512.0f) scale *= 0.5f;
    return scale;
}

// A call's chunks, and where in the workspace a chunk's matrices start, in bytes from its beginning; a number's second
// term lies a whole matrix behind its first.
struct Workspace {
    ChunkSize largest;
    int64_t logits = kCutensorBytes;  // or exponentials: (slices, rows, ld)
    int64_t logits_step;
    int64_t outputs;  // exponentials times V times output_scale: (slices, rows, head_dim)
    int64_t outputs_step;
    int64_t sums;  // of the rounded exponentials: (slices, rows) of float
    int64_t bytes;

    explicit Workspace(const SdpaArgsV1& args) : largest(choose_chunk_size(args, 2 * TERMS)) {
        const int64_t rows = static_cast<int64_t>(largest.batches) * largest.heads * largest.rows;
        logits_step = round_up(largest.elements * 2, 256);
        outputs = logits + TERMS * logits_step;
        outputs_step = round_up(rows * args.head_dim * 2, 256);
        sums = outputs + TERMS * outputs_step;
        bytes = sums + rows * 4;
    }
};

template <typename T>
constexpr cudaDataType kCudaType = std::is_same_v<T, __half> ? CUDA_R_16F : CUDA_R_16BF;

// Rows `mode` of the chunk's part of a (batch, heads, seqlen, head_dim) tensor. The stride of an axis of length 1 may
// be anything; here it becomes that of packed memory.
Tensor rows_of(int32_t mode, int rows, const int64_t (&stride)[3], const LogitChunk& chunk, int head_dim) {
    const int64_t row = rows > 1 ? stride[2] : head_dim;
    const int64_t head = chunk.heads > 1 ? stride[1] : row * rows;
    const int64_t batch = chunk.batches > 1 ? stride[0] : head * chunk.heads;
    return {{'d', mode, 'h', 'b'}, {head_dim, rows, chunk.heads, chunk.batches}, {1, row, head, batch}};
}

template <typename T, int D>
struct ByCutensor {
    static int launch(const SdpaArgsV1& args, void* stream) {
        const Workspace workspace(args);
        if (int code = check_workspace(args, workspace.bytes)) return code;
        char* const begin = static_cast<char*>(args.workspace);
        void* const logits = begin + workspace.logits;
        void* const more_logits = begin + workspace.logits + workspace.logits_step;
        void* const outputs = begin + workspace.outputs;
        void* const more_outputs = begin + workspace.outputs + workspace.outputs_step;
        float* const sums = reinterpret_cast<float*>(begin + workspace.sums);
        CutensorCall cutensor;
        if (int code = cutensor.begin(args, stream)) return code;
        return for_each_chunk(args, workspace.largest, [&](const LogitChunk& chunk) {
            const T* const q =
                chunk_pointer(static_cast<const T*>(args.q), args.q_stride, chunk) + chunk.row * args.q_stride[2];
            const T* const k = chunk_pointer(static_cast<const T*>(args.k), args.k_stride, chunk);
            const T* const v = chunk_pointer(static_cast<const T*>(args.v), args.v_stride, chunk);
            const Tensor queries = rows_of('m', chunk.rows, args.q_stride, chunk, args.head_dim);
            const Tensor keys = rows_of('n', chunk.keys, args.k_stride, chunk, args.head_dim);
            const Tensor values = rows_of('n', chunk.keys, args.v_stride, chunk, args.head_dim);
            const int64_t slice = slice_elements(chunk);
            const Tensor pairs = {{'n', 'm', 'h', 'b'},
                                  {chunk.keys, chunk.rows, chunk.heads, chunk.batches},
                                  {1, chunk.ld, slice, slice * chunk.heads}};
            const int64_t part = static_cast<int64_t>(chunk.rows) * D;
            const Tensor products = {
                {'d', 'm', 'h', 'b'}, {D, chunk.rows, chunk.heads, chunk.batches}, {1, D, part, part * chunk.heads}};
            const auto multiply_keys = [&](float beta, void* term) {
                return cutensor.contract(kCudaType<T>, args.scale * kLog2E, keys, k, queries, q, beta, logits, pairs,
                                         term);
            };
            const float scale = output_scale(chunk);
            const auto multiply_values = [&](float beta, void* term) {
                return cutensor.contract(kCudaType<T>, scale, values, v, pairs, logits, beta, outputs, products, term);
            };
            if (int code = multiply_keys(0.0f, logits)) return code;
            if constexpr (TERMS == 2) {
                if (int code = multiply_keys(-1.0f, more_logits)) return code;
            }
            const SoftmaxArgs softmax = {chunk, args.causal, logits, more_logits, sums};
            if (int code = softmax_rows<T, T, TERMS, NUM_WARPS, USE_FAST_EXP>(softmax, stream)) return code;
            if (int code = multiply_values(0.0f, outputs)) return code;
            if constexpr (TERMS == 2) {
                if (int code = multiply_values(-1.0f, more_outputs)) return code;
            }
            const DivideArgs last = {args, chunk, outputs, more_outputs, sums, 1.0f / scale};
            return launch_divide_rows<T, T, TERMS, D>(last, stream);
        });
    }
};

}  // namespace kgate

KGATE_EXPORT int64_t kgate_sdpa_workspace(const kgate::SdpaArgs* args) { return kgate::Workspace(*args).bytes; }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::ByCutensor, 0>(args, stream);
}
