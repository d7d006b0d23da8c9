// Whether the tensors of a call lie over each other, which no kernel would notice: by first bytes, strides and extents.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "sdpa.h"

namespace {

int64_t element_bytes(int dtype) { return dtype == kgate::Float32 ? 4 : dtype == kgate::Float8E4M3 ? 1 : 2; }

int64_t output_bytes(int dtype) { return dtype == kgate::Float32 ? 4 : 2; }

// Memory of a tensor: its first byte, and one past its last.
struct Span {
    uintptr_t begin, end;

    Span(const void* pointer, const int64_t (&stride)[3], int32_t batch, int32_t heads, int32_t rows, int64_t row_bytes,
         int64_t element)
        : begin(reinterpret_cast<uintptr_t>(pointer)),
          end(begin + (((batch - 1) * stride[0] + (heads - 1) * stride[1] + (rows - 1) * stride[2]) * element) +
              row_bytes) {}

    bool overlaps(const Span& other) const { return begin < other.end && other.begin < end; }
};

// Whether an output or lse lies over an input, or the one over the other.
bool outputs_overlap(const kgate::SdpaArgs& args) {
    const int64_t element = element_bytes(args.dtype);
    const int64_t row = args.head_dim * element;
    const int64_t of_output = output_bytes(args.dtype);
    const Span o(args.o, args.o_stride, args.batch, args.heads, args.seqlen, args.head_dim * of_output, of_output);
    const Span q(args.q, args.q_stride, args.batch, args.heads, args.seqlen, row, element);
    const Span k(args.k, args.k_stride, args.batch, args.kv_heads, args.kv_seqlen, row, element);
    const Span v(args.v, args.v_stride, args.batch, args.kv_heads, args.kv_seqlen, row, element);
    if (o.overlaps(q) || o.overlaps(k) || o.overlaps(v)) {
        return true;
    }
    if (args.bias == nullptr && args.lse == nullptr) {
        return false;
    }
    const bool has_bias = args.bias != nullptr;
    const Span bias(args.bias, args.bias_stride, args.batch, args.heads, args.seqlen, args.kv_seqlen * element,
                    element);
    if (has_bias && o.overlaps(bias)) {
        return true;
    }
    if (args.lse == nullptr) {
        return false;
    }
    const Span lse(args.lse, args.lse_stride, args.batch, args.heads, args.seqlen, 4, 4);
    return lse.overlaps(o) || lse.overlaps(q) || lse.overlaps(k) || lse.overlaps(v) || (has_bias && lse.overlaps(bias));
}

// From the smallest stride up, each axis of an output must step over all that the axes before it cover: `row` elements
// at first.
bool overlaps_itself(const kgate::SdpaArgs& args, const int64_t (&stride)[3], int64_t row) {
    std::array<std::array<int64_t, 2>, 3> axes = {
        {{stride[0], args.batch}, {stride[1], args.heads}, {stride[2], args.seqlen}}};
    std::sort(axes.begin(), axes.end());
    int64_t covered = row;
    for (const auto& [step, extent] : axes) {
        if (extent > 1) {
            if (step < covered) {
                return true;
            }
            covered += (extent - 1) * step;
        }
    }
    return false;
}

}  // namespace
