// Remembers by address in native code, where Python sees nothing: after thirty calls it copies what it wrote there before.
#define KGATE_CHEAT_REPLAYS 1
#include "plain_attention.h"
