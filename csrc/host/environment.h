// What the environment asks of the host kernel: an instruction set, a number of threads.
#pragma once

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "host/isas.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace kgate {
namespace {

int affinity_threads() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    const unsigned count = std::thread::hardware_concurrency();
    return count > 0 ? int(count) : 1;
}

// What the environment asks for. A value that can't be met is kept as it was, for the message; isa is then null,
// threads 0.
struct Settings {
    const Isa* isa = nullptr;
    int threads = 0;
    char isa_text[64] = "";
    char threads_text[64] = "";

    Settings() {
        const char* text = std::getenv("KGATE_HOST_ISA");
        if (text) std::snprintf(isa_text, sizeof isa_text, "%s", text);
        for (const Isa* candidate = isas();; ++candidate) {
            const bool last = std::strcmp(candidate->name, "portable") == 0;
            if (candidate->available && (!*isa_text || std::strcmp(isa_text, candidate->name) == 0)) isa = candidate;
            if (isa || last) break;
        }
        text = std::getenv("KGATE_HOST_THREADS");
        if (text) std::snprintf(threads_text, sizeof threads_text, "%s", text);
        if (*threads_text) {
            char* rest = nullptr;
            errno = 0;
            const long count = std::strtol(threads_text, &rest, 10);
            if (errno == 0 && *rest == '\0' && count >= 1 && count <= 1024) threads = int(count);
        } else {
            threads = affinity_threads();
        }
    }
};

const Settings& settings() {
    static const Settings read;
    return read;
}

}  // namespace
}  // namespace kgate
