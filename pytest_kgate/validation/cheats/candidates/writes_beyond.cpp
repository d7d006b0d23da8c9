// Writes one element behind its output; the answer itself is right.
#define KGATE_CHEAT_WRITES_BEYOND 1
#include "plain_attention.h"
