// cublas: attention as two batched GEMMs of cuBLAS around a row-softmax kernel. What one writes before FlashAttention.
//
// Idea     The logits of whole heads go to memory in fp32, are turned into 16-bit probabilities in their place by one kernel,
//          and come back as a GEMM's operand. Nothing is fused, so a library does both products, and the price is memory
//          traffic: 12 bytes for each pair of a query and a key (4 written, 4 read, 2 written, 2 read), where
//          FlashAttention moves none. It is the yardstick for what fusing is worth.
// Plan     Boxes of heads and rows whose logits fit WORKSPACE_MIB (boxes.cuh); for each box GEMM, softmax, GEMM. Few boxes mean
//          few launches; boxes that fit the L2 mean that the logits never reach DRAM. Under the causal mask a box has at
//          most CAUSAL_ROWS rows and only the keys up to its last row. Strides are cuBLAS's own leading dimensions and batch
//          strides; where batch and head do not collapse to one stride, a box takes a GEMM for each of the fewer.
// Softmax  row_softmax.cuh: a warp a row, up to 2048 keys in registers. Its exponent is base 2, log2(e) being in the first
//          GEMM's alpha.
// Memory   Workspace: 32 MiB for cuBLAS, and the logits: 4 * rows * keys for each head of a box.
// Limits   fp16 or bf16, D 64, 80, 96 or 128, sm_80 or newer, row strides that are at least D. Three launches that wait for
//          each other: at small shapes the launches are the bound, at large ones the traffic.
// Result   1.27 of SDPA's fastest backend at 1x8x512x64 on an H200 (benchmarks/h200/perf-2026-11-21.json), slower than mma.cu:
//          three launches read and write the logits twice, which no short problem forgives and long ones pay for in traffic.
//          Its probabilities are rounded after the division, so that its greatest error can be 2.4 times SDPA's. Boxes that fit
//          the L2 (WORKSPACE_MIB 16 to 64) make GEMMs too small to fill the GPU.

#ifndef NUM_WARPS  // knob: warps per block of the softmax kernel, a row each
#define NUM_WARPS 4
#endif
#ifndef CAUSAL_ROWS  // knob: query rows per GEMM under the causal mask; keys above the diagonal of such a strip are left out
#define CAUSAL_ROWS 1024
#endif
#ifndef WORKSPACE_MIB  // knob: most MiB of logits at once
#define WORKSPACE_MIB 512
#endif
#ifndef USE_FAST_EXP  // knob: 1 for the hardware's exp2, 0 for exp2f with subnormals
#define USE_FAST_EXP 1
#endif

#include "cublas.cuh"  // library: cublas
#include "row_softmax.cuh"

namespace kgate {

static_assert(NUM_WARPS >= 1 && NUM_WARPS <= 32, "NUM_WARPS must be 1 to 32: a block holds at most 1024 threads.");
static_assert(CAUSAL_ROWS >= 1, "CAUSAL_ROWS must be at least 1.");
static_assert(WORKSPACE_MIB >= 1 && WORKSPACE_MIB <= 65536, "WORKSPACE_MIB must be 1 to 65536.");
static_assert(USE_FAST_EXP == 0 || USE_FAST_EXP == 1, "USE_FAST_EXP must be 0 or 1.");

Boxes boxes_of(const SdpaArgs& args) { return cut(args, (static_cast<int64_t>(WORKSPACE_MIB) << 20) / 4, CAUSAL_ROWS); }

int64_t workspace_bytes(const Boxes& boxes) { return kCublasBytes + boxes.elements * 4; }

template <typename T, int D>
struct ByCublas {
    static int launch(const SdpaArgs& args, void* stream) {
        const Boxes boxes = boxes_of(args);
        if (int code = check_workspace(args, workspace_bytes(boxes))) return code;
        if (int code = check_row_strides(args)) return code;
        float* const logits = reinterpret_cast<float*>(static_cast<char*>(args.workspace) + kCublasBytes);
        CublasCall cublas;
        if (int code = cublas.begin(args, stream)) return code;
        return for_each_box(args, boxes, [&](const Box& box) {
            if (int code = cublas.logits<T>(args, box, logits)) return code;
            const SoftmaxArgs softmax = {box, args.causal, logits, nullptr};
            if (int code = softmax_rows<T, float, 1, NUM_WARPS, USE_FAST_EXP>(softmax, stream)) return code;
            return cublas.output<T>(args, box, reinterpret_cast<const T*>(logits), 2 * box.ld);
        });
    }
};

}  // namespace kgate

KGATE_EXPORT int64_t kgate_sdpa_workspace(const kgate::SdpaArgs* args) { return kgate::workspace_bytes(kgate::boxes_of(*args)); }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    return kgate::dispatch<kgate::ByCublas, 0>(args, stream);
}
