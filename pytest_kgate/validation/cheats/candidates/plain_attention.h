// Attention in float32 as plain loops, and the ways in which the files that include it cheat.
#pragma once

#include <cmath>
#include <cstring>
#include <map>
#include <vector>

#include "sdpa.h"

namespace {

int calls = 0;
std::map<const void*, std::vector<float>> answers;

}  // namespace

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void*) {
    const int64_t elements = int64_t{args->batch} * args->heads * args->seqlen * args->head_dim;
    if (args->dtype != kgate::Float32) {
        return -1;
    }
    float* const whole = static_cast<float*>(args->o);
#ifdef KGATE_CHEAT_REPLAYS
    if (++calls > 30 && answers.count(args->q) != 0) {
        std::memcpy(whole, answers[args->q].data(), elements * sizeof(float));
        return 0;
    }
#endif
    int keys_read = args->seqlen;
#ifdef KGATE_CHEAT_READS_BEYOND
    keys_read += 1;
#endif
    std::vector<float> weights(keys_read);
    for (int b = 0; b < args->batch; ++b) {
        for (int h = 0; h < args->heads; ++h) {
            const auto base = [&](const void* tensor, const int64_t (&stride)[3]) {
                return static_cast<const float*>(tensor) + b * stride[0] + h * stride[1];
            };
            const float* const q = base(args->q, args->q_stride);
            const float* const k = base(args->k, args->k_stride);
            const float* const v = base(args->v, args->v_stride);
            float* const o = whole + b * args->o_stride[0] + h * args->o_stride[1];
            for (int row = 0; row < args->seqlen; ++row) {
                const int keys = args->causal != 0 ? row + 1 : args->seqlen;
                float largest = -INFINITY;
                for (int key = 0; key < keys; ++key) {
                    float dot = 0;
                    for (int d = 0; d < args->head_dim; ++d) {
                        dot += q[row * args->q_stride[2] + d] * k[key * args->k_stride[2] + d];
                    }
                    weights[key] = dot * args->scale;
                    largest = std::fmax(largest, weights[key]);
                }
                float sum = 0;
                for (int key = 0; key < keys; ++key) {
                    weights[key] = std::exp(weights[key] - largest);
                    sum += weights[key];
                }
                for (int key = keys; key < keys_read; ++key) {
                    weights[key] = 0;
                }
                for (int d = 0; d < args->head_dim; ++d) {
                    float value = 0;
                    for (int key = 0; key < keys_read; ++key) {
                        value += weights[key] * v[key * args->v_stride[2] + d];
                    }
                    o[row * args->o_stride[2] + d] = value / sum;
                }
            }
        }
    }
#ifdef KGATE_CHEAT_WRITES_BEYOND
    whole[elements] = 1.0f;
#endif
#ifdef KGATE_CHEAT_REPLAYS
    answers[args->q].assign(whole, whole + elements);
#endif
    return 0;
}

KGATE_EXPORT const char* kgate_message(void) { return "this kernel takes float32 only"; }
