// What must hold inside a kernel. Checked on the device in debug builds, kernels("name", debug=True), where a false
// condition ends the launch with its text, line, block and thread; gone from all other builds, without a trace.
#pragma once

#include <cassert>

#ifdef KGATE_DEBUG
#define DEBUG_ASSERT(condition) assert(condition)
#else
#define DEBUG_ASSERT(condition) ((void)0)
#endif
