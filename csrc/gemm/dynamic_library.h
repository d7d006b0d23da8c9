// Opening a vendor's library at run time instead of linking it.
//
// A kernel that uses cuBLAS or cuTENSOR then compiles where neither is installed, headers included, in the time that
// its own code takes; and it runs on the copy that is in the process already. PyTorch brings a cuBLAS of its own, and
// one name (the soname, libcublas.so.13) is loaded once: linking would find another copy first, or none. Which file it
// is, is decided before the kernel is called (pytest_kgate/build/vendor_libraries.py); here only the name is asked for.
#pragma once

#include <dlfcn.h>

#include <initializer_list>

namespace kgate {
namespace {

// The first of these libraries that is loaded already, else the first that can be; null if there is none.
inline void* open_any(std::initializer_list<const char*> sonames) {
    for (const char* soname : sonames) {
        if (void* library = dlopen(soname, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD)) return library;
    }
    for (const char* soname : sonames) {
        if (void* library = dlopen(soname, RTLD_NOW | RTLD_LOCAL)) return library;
    }
    return nullptr;
}

// Fills a function pointer (or a pointer to a variable) by name; false if the library has no such name.
template <typename Pointer>
bool find_symbol(void* library, const char* name, Pointer& pointer) {
    pointer = reinterpret_cast<Pointer>(dlsym(library, name));
    return pointer != nullptr;
}

}  // namespace
}  // namespace kgate
