// The knob that every kernel has: what of it to compile.
#pragma once

#ifndef HEAD_DIM  // knob: the only head dimension to compile, 0 for all
#define HEAD_DIM 0
#endif
