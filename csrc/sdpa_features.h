// What a call needs of a library beyond plain attention (sdpa.h): read by the binding, which refuses a call before it
// is made, and by kernels that are called otherwise.
#pragma once

#include "sdpa.h"

namespace kgate {
namespace {

constexpr struct {
    uint32_t feature;
    const char* name;
} kFeatureNames[] = {
    {GroupedHeads, "grouped heads"},
    {KvSeqlen, "another number of keys than of queries"},
    {Window, "attention window"},
    {Softcap, "softcap"},
    {Bias, "bias"},
    {Lse, "log-sum-exp"},
    {EightBits, "float8_e4m3fn tensors"},
};

inline uint32_t needed_features(const SdpaArgs& args) {
    uint32_t needed = 0;
    if (args.kv_heads != args.heads) needed |= GroupedHeads;
    if (args.kv_seqlen != args.seqlen) needed |= KvSeqlen;
    if (args.window != 0) needed |= Window;
    if (args.softcap != 0.0f) needed |= Softcap;
    if (args.bias != nullptr) needed |= Bias;
    if (args.lse != nullptr) needed |= Lse;
    if (args.dtype == Float8E4M3) needed |= EightBits;
    return needed;
}

}  // namespace
}  // namespace kgate
