// Begins while the call before it still runs, and does not wait for it: a row of calls then shows how many fit in a second.
#include "tiled_attention.cuh"
