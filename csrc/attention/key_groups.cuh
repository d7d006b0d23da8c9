// Where the warps of a block have shared a tile's keys between them: what they have made of one row becomes one.
#pragma once

#include "cuda/exp2.cuh"

namespace kgate {
namespace {

// Calls add(group, weight) for each of the Groups with what its output of the row, not divided yet, counts for. Returns
// what the total is to be divided by. `maxima`, of scaled logits in the log2 domain, and `sums` are (Groups, Rows). How
// an output is loaded is left to the kernel.
template <int Groups, int Rows, bool Fast, typename Add>
__device__ float merge_key_groups(const float* maxima, const float* sums, int row, const Add& add) {
    float maximum = -INFINITY;
#pragma unroll
    for (int g = 0; g < Groups; ++g) maximum = fmaxf(maximum, maxima[g * Rows + row]);
    const float base = finite_max(maximum);
    float sum = 0.0f;
#pragma unroll
    for (int g = 0; g < Groups; ++g) {
        const float weight = exp2_of<Fast>(maxima[g * Rows + row] - base);  // 0 for a group without keys
        sum += weight * sums[g * Rows + row];
        add(g, weight);
    }
    return sum;
}

}  // namespace
}  // namespace kgate
