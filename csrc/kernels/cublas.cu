// cublas: attention as two batched GEMMs of cuBLAS around a row-softmax kernel. What one writes before FlashAttention.
//
// Idea     The logits of whole heads go to memory in fp32, are turned into 16-bit exp(x - max) in their place by one
//          kernel, and come back as a GEMM's operand; what the GEMM returns in fp32 a last kernel divides by the rows'
//          sums (gemm_rung.cuh says why last). Nothing is fused, so a library does both products, and the price is
//          memory traffic: 12 bytes for each pair of a query and a key (4 written, 4 read, 2 written, 2 read), where
//          FlashAttention moves none. It is the yardstick for what fusing is worth.
// Plan     Chunks of heads and rows whose logits fit WORKSPACE_MIB (logit_chunks.cuh); for each chunk GEMM, softmax,
//          GEMM, division. Few chunks mean few launches; chunks that fit the L2 mean that the logits never reach DRAM.
//          Under the causal mask a chunk has at most CAUSAL_ROWS rows and only the keys up to its last row. Strides are
//          cuBLAS's own leading dimensions and batch strides; where batch and head do not collapse to one stride, a
//          chunk takes a GEMM for each of the fewer.
// Softmax  row_softmax.cuh: a warp a row, up to 2048 keys in registers. Its exponent is base 2, log2(e) being in the
//          first GEMM's alpha.
// Memory   Workspace: 32 MiB for cuBLAS, and for each head of a chunk the logits, 4 * rows * keys bytes, the undivided
//          output, 4 * rows * D, and the sums, 4 * rows.
// Limits   fp16 or bf16, D 64, 80, 96 or 128, sm_80 or newer, row strides of Q, K and V that are at least D. Four
//          launches that wait for each other: at small shapes the launches are the bound, at large ones the traffic.
// Result   1.54 times cuDNN's latency at 1x8x512x64 on an H200, causal 1.46 (benchmarks/h200/perf-2026-11-21.json).
//          Slower than the mma rung, of which it is the unfused form: four launches read and write the logits twice,
//          which no short problem forgives and long ones pay for in traffic. Where the last launch is saved, by
//          probabilities that are divided before they are rounded, the greatest error can be more than twice SDPA's. To
//          launch the softmax and the division early (programmatic dependent launch) gains about as much as
//          measurements differ. Chunks that fit the L2 (WORKSPACE_MIB 16 to 64) make GEMMs too small to fill the GPU.

#ifndef NUM_WARPS  // knob: warps per block of the softmax kernel, a row each
#define NUM_WARPS 4
#endif

#include "cuda/exp2.cuh"
#include "cuda/launch.cuh"
#include "gemm/cublas.cuh"  // library: cublas
#include "gemm/gemm_rung.cuh"
#include "gemm/row_softmax.cuh"

namespace kgate {

static_assert(NUM_WARPS >= 1 && NUM_WARPS <= 32, "NUM_WARPS must be 1 to 32: a block holds at most 1024 threads.");

Workspace workspace_of(const SdpaArgsV1& args) { return {args, sizeof(float), true}; }

template <typename T, int D>
struct ByCublas {
    static int launch(const SdpaArgsV1& args, void* stream) {
        const Workspace workspace = workspace_of(args);
        float* const logits = in_workspace<float>(args, workspace.pairs);
        return for_each_gemm_chunk(args, workspace, stream, [&](CublasCall& cublas, const LogitChunk& chunk) {
            if (int code = cublas.logits<T>(args, chunk, logits)) return code;
            const SoftmaxArgs softmax = {chunk, args.causal, logits, nullptr,
                                         in_workspace<float>(args, workspace.sums)};
            if (int code = softmax_rows<T, float, 1, NUM_WARPS, USE_FAST_EXP>(softmax, stream)) return code;
            return multiply_and_divide<T, D>(cublas, args, workspace, chunk, 2 * chunk.ld, stream);
        });
    }
};

constexpr uint32_t kFeatures = SharedHeads;

}  // namespace kgate

KGATE_EXPORT int64_t kgate_sdpa_workspace(const kgate::SdpaArgs* args) { return kgate::workspace_of(*args).bytes; }

KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::kFeatures; }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::ByCublas, 0, kgate::kFeatures>(args, stream);
}
