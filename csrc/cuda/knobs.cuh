// The knobs that mean the same in every kernel with tiles of its own. A kernel gets them by including this file; one
// that wants another default declares the knob itself, above the include.
#pragma once

#include "cuda/head_dim.cuh"

#ifndef PAD  // knob: 16-bit elements of padding of a row in shared memory
#define PAD 8
#endif

static_assert(PAD >= 0 && PAD % 8 == 0, "PAD must be a multiple of 8: cp.async writes rows that start on 16 bytes.");
