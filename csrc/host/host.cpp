// host: FlashAttention on the CPU. fp32, fp16 or bf16 in and out, fp32 inside, streaming softmax: no S x S matrix in
// memory.
//
// Idea. A vector lane is a query row. Q^T is packed once per work item, and both products are the same register-blocked
// loop,
//     S^T[n][m] = sum_d K[n][d] Q^T[d][m]        O^T[d][m] += sum_n V[n][d] P^T[n][m]
// with m across the lanes and K and V as broadcast scalars. So K is never transposed, the softmax has no horizontal
// step (each lane keeps its row's maximum and sum), the mask is one comparison, and any head_dim vectorises alike. Only
// O^T has to be turned at the end of the item.
//
// Tile plan. A work item is BLOCK_M query rows of one head; it walks over tiles of BLOCK_N keys. Items go to a
// persistent pool of threads through an atomic counter (host/pool.h), under a causal mask the ones with most keys
// first. Along the diagonal, vectors of rows that see no key are left out of both products.
//
// Budget. Registers: 4 x 4 vectors of sums with AVX-512, 4 x 3 with AVX2, 4 x 2 with 128-bit vectors, plus a row of
// operands. First-level cache, at 64 x 64 and head_dim 64: S^T, V and Q^T or O^T of 16 KB each; K and V of a head stay
// in the second.
//
// Instruction sets. host/isas.h compiles host/tile.h three times, and the best one that the processor has is taken at
// run time: the library may travel. Where there is no x86, or no better, 128-bit vectors of the compiler's own are used
// (NEON, SSE2).
//
// Environment, read by the first call: KGATE_HOST_THREADS, threads in all (default: the processors that this process
// may run on); KGATE_HOST_ISA, avx512, avx2 or portable (default: the best there is).
//
// Result. 0.75 of the time of SDPA on the CPU at 1x8x512x64 in fp32 on 16 threads of a Xeon, causal 0.35
// (benchmarks/h200/perf-2026-11-21.json); with the exponentials as they are now 531 us against 775 there, 0.69, and
// 0.35. All that follows has no record. On a Zen 5 processor with two cores 0.41 and 0.22. Products run at 92 to 97 %
// of what the fp32 pipes can do, the softmax at 90 % on AVX-512 and 81 % on AVX2, an item at 80 to 86 % of its products
// alone. Other tiles, more rows in registers and unrolled loops gain nothing; AVX2 takes twice the time of AVX-512,
// 128-bit vectors six times.
// On two threads of what seems one core of that Xeon it is 0.91 and 0.50 (3.6 ms against 4.0), on one thread 0.45. 0.60
// is out of reach there: the products alone are 8.4 million clocks at two multiply-adds a clock, 2.5 to 3.1 ms. bf16 in
// three terms on AMX comes to 190 GFLOP/s, to 179 in fp32.
//
// Beyond plain attention. All that sdpa.h has: grouped heads and another number of keys cost nothing; a window leaves
// out the keys that no row of an item sees; softcap and bias are a step more over the logits of a tile, taken only
// where they are asked for; the log-sum-exp is there anyway.
//
// Limits. head_dim 1 to 128. A row that sees no key, or whose logits are all -inf, gives zeros. O is normalised at the
// end: values of V beyond 1e36 / kv_seqlen may overflow. Few, short heads leave threads idle: keys are not split
// between threads. A vector lane is a query row, so that decoding (one row a head) is right, and far from fast.

#ifndef BLOCK_M  // knob: query rows per tile
#define BLOCK_M 64
#endif
#ifndef BLOCK_N  // knob: keys per tile
#define BLOCK_N 64
#endif

static_assert(BLOCK_M >= 16 && BLOCK_M <= 512 && BLOCK_M % 16 == 0, "BLOCK_M must be a multiple of 16 from 16 to 512.");
static_assert(BLOCK_N >= 16 && BLOCK_N <= 512 && BLOCK_N % 16 == 0, "BLOCK_N must be a multiple of 16 from 16 to 512.");

#include "sdpa.h"

#include <climits>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <new>

#include "host/environment.h"
#include "host/isas.h"
#include "host/pool.h"

namespace kgate {
namespace {

enum Error { kBadArgument = -1, kUnsupported = -2, kBadEnvironment = -3, kOutOfMemory = -4 };

thread_local char message[320] = "";

__attribute__((format(printf, 2, 3))) int fail(Error code, const char* format, ...) {
    std::va_list values;
    va_start(values, format);
    std::vsnprintf(message, sizeof message, format, values);
    va_end(values);
    return code;
}

struct Job {
    SdpaArgs args;
    Attend attend;
    int64_t tiles;  // of query rows in a head
};

void run_item(const void* context, int64_t item, Scratch& scratch) {
    const Job& job = *static_cast<const Job*>(context);
    const int64_t heads = int64_t(job.args.batch) * job.args.heads;
    // Causal: the last tile of every head first, so that no thread is left with a long item at the end. Otherwise head
    // by head, for K and V to stay in the cache.
    const int64_t head = job.args.causal ? item % heads : item / job.tiles;
    const int64_t tile = job.args.causal ? job.tiles - 1 - item / heads : item % job.tiles;
    job.attend(job.args, int(head / job.args.heads), int(head % job.args.heads), int(tile * BLOCK_M), scratch);
}

constexpr uint32_t kFeatures = GroupedHeads | KvSeqlen | Window | Softcap | Bias | Lse;

// Threads must not outlive the code that they run: the process ends, or the library is unloaded.
__attribute__((destructor)) void end_pool() { Pool<Scratch>::end(); }

}  // namespace
}  // namespace kgate

// Threads that a call may use, the caller's among them; 0 if KGATE_HOST_THREADS is not a number that can be met.
KGATE_EXPORT int kgate_host_threads(void) { return kgate::settings().threads; }

// The instruction set in use, by its name in KGATE_HOST_ISA; "" if that names none that this processor has.
KGATE_EXPORT const char* kgate_host_isa(void) { return kgate::settings().isa ? kgate::settings().isa->name : ""; }

KGATE_EXPORT const char* kgate_message(void) { return kgate::message; }

KGATE_EXPORT uint32_t kgate_sdpa_features(void) { return kgate::kFeatures; }

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void*) {
    using namespace kgate;
    if (!args) return fail(kBadArgument, "The argument struct is null. Pass a filled kgate::SdpaArgs.");
    if (!args->q || !args->k || !args->v || !args->o)
        return fail(kBadArgument, "A tensor's pointer is null. Pass four allocated tensors q, k, v and o.");
    if (args->batch < 1 || args->heads < 1 || args->seqlen < 1 || args->head_dim < 1)
        return fail(kBadArgument,
                    "The shape (batch %d, heads %d, seqlen %d, head_dim %d) is empty. Make every size at least 1.",
                    int(args->batch), int(args->heads), int(args->seqlen), int(args->head_dim));
    if (args->head_dim > kMaxHeadDim)
        return fail(kUnsupported,
                    "The host kernel takes head_dim 1 to %d, not %d. Use a smaller head_dim, or another kernel.",
                    kMaxHeadDim, int(args->head_dim));
    if (args->dtype < Float32 || args->dtype > BFloat16)
        return fail(kUnsupported,
                    "The host kernel knows no dtype %d. Pass float32 (0), float16 (1) or bfloat16 (2) tensors.",
                    int(args->dtype));
    if (args->kv_heads < 1 || args->heads % args->kv_heads != 0 || args->kv_seqlen < 1)
        return fail(
            kBadArgument,
            "There are %d heads of q, %d of k and v, and %d keys. Pass at least one key, and heads of q that are "
            "a multiple of those of k and v.",
            int(args->heads), int(args->kv_heads), int(args->kv_seqlen));
    if (args->window < 0 || !(args->softcap >= 0 && args->softcap < INFINITY))
        return fail(kBadArgument, "The window is %d, the softcap %g. Pass 0 for none, or positive ones.",
                    int(args->window), double(args->softcap));
    const int longest = args->seqlen > args->kv_seqlen ? args->seqlen : args->kv_seqlen;
    if (longest > INT_MAX - 2 * (BLOCK_M + BLOCK_N))
        return fail(kUnsupported, "The sequence of %d rows is too long to index. Split it.", longest);
    const Settings& set = settings();
    if (!set.isa)
        return fail(kBadEnvironment,
                    "KGATE_HOST_ISA is '%s', no instruction set of this processor. Unset it, or set it to portable.",
                    set.isa_text);
    if (set.threads == 0)
        return fail(kBadEnvironment, "KGATE_HOST_THREADS is '%s', not a number from 1 to 1024. Correct or unset it.",
                    set.threads_text);

    const int64_t tiles = (int64_t(args->seqlen) + BLOCK_M - 1) / BLOCK_M;
    const Job job = {*args, set.isa->attend[args->dtype], tiles};
    try {
        Pool<Scratch>::instance(set.threads).run(tiles * args->batch * args->heads, run_item, &job);
    } catch (const std::bad_alloc&) {
        return fail(kOutOfMemory,
                    "The host kernel could not allocate %zu bytes for its tiles. Free memory, or make "
                    "BLOCK_M and BLOCK_N smaller.",
                    sizeof(Scratch));
    }
    return 0;
}
