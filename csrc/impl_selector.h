// The list of implementations, read by the C++ preprocessor and, with a regular expression, by Python.
// One entry an implementation: KGATE_IMPLEMENTATION(name, "source", device, status, "one sentence")
//   name    what `kernels("name")`, --kgate-impl and IMPL= take
//   source  file, as its path from this folder
//   device  host | cuda
//   status  ready | planned (the name is kept, the source is still to come)
// Define KGATE_IMPLEMENTATION before including this file; it is undefined at the end, so the file can be included
// again.
#ifndef KGATE_IMPLEMENTATION
#error "Define KGATE_IMPLEMENTATION(name, source, device, status, description) before including impl_selector.h."
#endif

KGATE_IMPLEMENTATION(host, "host/host.cpp", host, ready, "FlashAttention in C++ on the CPU, vectorised and threaded.")
KGATE_IMPLEMENTATION(custom_v3, "kernels/custom_v3.cu", cuda, ready,
                     "FlashAttention on CUDA cores in fp32 arithmetic, each row owned by one warp.")
KGATE_IMPLEMENTATION(wmma, "kernels/wmma.cu", cuda, ready,
                     "FlashAttention on tensor cores through nvcuda::wmma, softmax through shared memory.")
KGATE_IMPLEMENTATION(mma, "kernels/mma.cu", cuda, ready,
                     "FlashAttention on tensor cores through mma.sync and ldmatrix, softmax in registers.")
KGATE_IMPLEMENTATION(cublas, "kernels/cublas.cu", cuda, ready, "Two cuBLAS batched GEMMs around a row-softmax kernel.")
KGATE_IMPLEMENTATION(cutensor, "kernels/cutensor.cu", cuda, ready,
                     "Two cuTENSOR contractions around a row-softmax kernel.")
KGATE_IMPLEMENTATION(hybrid_qkt, "kernels/hybrid_qkt.cu", cuda, ready,
                     "cuBLAS for the logits, then softmax and the product with V fused in one kernel.")
KGATE_IMPLEMENTATION(hybrid_pv, "kernels/hybrid_pv.cu", cuda, ready,
                     "Logits and softmax fused in one kernel, then cuBLAS for the product with V.")
KGATE_IMPLEMENTATION(hopper, "kernels/hopper.cu", cuda, ready, "FlashAttention with TMA and wgmma, for sm_90a.")
KGATE_IMPLEMENTATION(latency, "kernels/latency.cu", cuda, ready,
                     "FlashAttention for small problems: keys split between warps or cluster blocks, one launch.")
KGATE_IMPLEMENTATION(fp8, "kernels/fp8.cu", cuda, ready,
                     "Attention of e4m3 numbers with TMA and wgmma, for sm_90a; its answer is bfloat16.")
KGATE_IMPLEMENTATION(decode, "kernels/decode.cu", cuda, ready,
                     "Attention of a few queries to many keys, bound by memory: keys split over warps and clusters.")

#undef KGATE_IMPLEMENTATION
