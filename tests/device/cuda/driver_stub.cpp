// A CUDA driver without a GPU: writes down its calls, and answers what the tests want to see.
#include <cstdint>
#include <cstdio>
#include <cstring>

// In order with what Python writes.
static const int unbuffered = std::setvbuf(stdout, nullptr, _IONBF, 0);

extern "C" {

struct KernelNodeParams {  // CUDA_KERNEL_NODE_PARAMS_v2 of cuda.h
    void* func;
    unsigned grid[3], block[3], shared_bytes;
    void **params, **extra, *kern, *ctx;
};

struct Properties {  // CUmemAllocationProp
    int type, handle_types, location_type, location_id;
};

struct Access {  // CUmemAccessDesc
    int location_type, location_id, flags;
};

static int stub_error_string(int status, const char** text) {
    *text = status == 2 ? "out of memory" : nullptr;
    return *text ? 0 : 1;
}
static int stub_get_limit(size_t* value, int limit) {
    if (limit == 5) return 2;
    if (limit == 2) return 4242;
    *value = 1000 + limit;
    return 0;
}
static int stub_set_limit(int limit, size_t value) { return std::printf("limit %d %zu\n", limit, value) < 0; }
static int stub_reset_persisting() { return std::puts("reset") < 0; }
static int stub_device(int* device, int ordinal) { *device = ordinal + 40; return 0; }
static int stub_attribute(int* value, int attribute, int device) { *value = 1000 * attribute + device; return 0; }

// A device of whose context there is no second one: 41, the second.
static int stub_create_context(void** context, void* parameters, unsigned flags, int device) {
    std::printf("context %p %u %d\n", parameters, flags, device);
    *context = reinterpret_cast<void*>(0x700);
    return device == 41 ? 2 : 0;
}
static int stub_push(void* context) { return std::printf("push %p\n", context) < 0; }
static int stub_pop(void** context) { *context = reinterpret_cast<void*>(0x700); return std::puts("pop") < 0; }
static int stub_wait() { return std::puts("wait") < 0; }

static int stub_load(void** module, const char* image) {
    std::printf("load %.8s\n", image);
    *module = reinterpret_cast<void*>(0x100);
    return 0;
}
static int stub_function(void** function, void* module, const char* name) {
    std::printf("function %p %s\n", module, name);
    *function = reinterpret_cast<void*>(0x200);
    return 0;
}
static int stub_launch(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared_bytes, void* stream, void** params, void** extra) {
    std::printf("launch %p %u %u %u %u %u %u %u %p", function, gx, gy, gz, bx, by, bz, shared_bytes, stream);
    for (int at = 0; params && at < 2; at++) {
        std::printf(" %llu", static_cast<unsigned long long>(*static_cast<uint64_t*>(params[at])));
    }
    std::puts(extra ? " extra" : "");
    return 0;
}

// Nodes 0x10 and 0x11 are kernels, known by a function and by a handle; another's kind is its own number less 0x20.
// Graph 1: all that can be listed, and a graph (5) within. 2: what decides what it runs. 3: of a kind that nobody knows
// yet. 4: nothing.
static int stub_nodes(void* graph, void** nodes, size_t* count) {
    static const uintptr_t none[] = {0}, listed[] = {0x10, 0x11, 0x21, 0x22, 0x27, 0x24}, conditional[] = {0x2d},
                           unknown[] = {0x20 + 99}, inner[] = {0x10};
    static const uintptr_t* const graphs[] = {none, listed, conditional, unknown, none, inner};
    static const size_t sizes[] = {0, 6, 1, 1, 0, 1};
    const uintptr_t which = reinterpret_cast<uintptr_t>(graph);
    for (size_t at = 0; nodes && at < sizes[which] && at < *count; at++) {
        nodes[at] = reinterpret_cast<void*>(graphs[which][at]);
    }
    *count = sizes[which];
    return 0;
}
static int stub_node_type(void* node, int* type) {
    const uintptr_t which = reinterpret_cast<uintptr_t>(node);
    *type = which < 0x20 ? 0 : static_cast<int>(which - 0x20);
    return 0;
}
static int stub_child(void*, void** graph) { *graph = reinterpret_cast<void*>(5); return 0; }
static int stub_node_params(void* node, KernelNodeParams* params) {
    std::memset(params, 0, sizeof *params);
    const bool by_function = node == reinterpret_cast<void*>(0x10);
    (by_function ? params->func : params->kern) = reinterpret_cast<void*>(by_function ? 0x300 : 0x400);
    params->block[0] = 32, params->block[1] = by_function ? 4 : 1, params->block[2] = 1;
    params->shared_bytes = by_function ? 4096 : 0;
    return 0;
}
static int stub_function_name(const char** name, void* function) {
    *name = function == reinterpret_cast<void*>(0x300) ? "_Z5firstv" : "?";
    return 0;
}
static int stub_kernel_name(const char** name, void* kernel) {
    *name = kernel == reinterpret_cast<void*>(0x400) ? "second" : "?";
    return 0;
}

static int stub_kernel_function(void** function, void* kernel) {
    *function = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(kernel) + 0x100);
    return 0;
}
static int stub_function_attribute(int* value, int attribute, void* function) {
    const bool first = function == reinterpret_cast<void*>(0x300);
    if (attribute == 1) *value = 1024;            // static shared memory
    if (attribute == 3) *value = first ? 0 : 40;  // local memory
    if (attribute == 4) *value = first ? 72 : 12;  // registers
    return 0;
}
static int stub_occupancy(int* blocks, void* function, int threads, size_t shared_bytes) {
    std::printf("occupancy %p %d %zu\n", function, threads, shared_bytes);
    *blocks = 5;
    return 0;
}

static int stub_granularity(size_t* size, const Properties* wanted, int option) {
    std::printf("granularity %d %d %d %d %d\n", wanted->type, wanted->handle_types, wanted->location_type,
                wanted->location_id, option);
    *size = 4096;
    return 0;
}
static int stub_reserve(uint64_t* address, size_t size, size_t alignment, uint64_t hint, unsigned long long flags) {
    std::printf("reserve %zu %zu %llu %llu\n", size, alignment, static_cast<unsigned long long>(hint), flags);
    *address = 0x700000000000;
    return 0;
}
static int stub_create(uint64_t* handle, size_t size, const Properties* wanted, unsigned long long flags) {
    std::printf("create %zu %d %llu\n", size, wanted->location_id, flags);
    *handle = 0xabcdef0123;
    return 0;
}
static int stub_map(uint64_t address, size_t size, size_t offset, uint64_t handle, unsigned long long flags) {
    std::printf("map %llx %zu %zu %llx %llu\n", static_cast<unsigned long long>(address), size, offset,
                static_cast<unsigned long long>(handle), flags);
    return 0;
}
static int stub_access(uint64_t address, size_t size, const Access* access, size_t count) {
    std::printf("access %llx %zu %d %d %d %zu\n", static_cast<unsigned long long>(address), size,
                access->location_type, access->location_id, access->flags, count);
    return 0;
}
static int stub_export(int* fd, uint64_t handle, int type, unsigned long long flags) {
    std::printf("export %llx %d %llu\n", static_cast<unsigned long long>(handle), type, flags);
    *fd = 17;
    return 0;
}
static int stub_import(uint64_t* handle, void* fd, int type) {
    std::printf("import %d %d\n", static_cast<int>(reinterpret_cast<intptr_t>(fd)), type);
    *handle = 0x55;
    return 0;
}
static int stub_unmap(uint64_t address, size_t size) {
    std::printf("unmap %llx %zu\n", static_cast<unsigned long long>(address), size);
    return 0;
}
static int stub_release(uint64_t handle) {
    std::printf("release %llx\n", static_cast<unsigned long long>(handle));
    return 0;
}
static int stub_free(uint64_t address, size_t size) {
    std::printf("free %llx %zu\n", static_cast<unsigned long long>(address), size);
    return 0;
}

// CUaccessPolicyWindow begins with a pointer and a size.
static int stub_get_attribute(void* stream, int attribute, uint64_t* value) {
    std::printf("stream %p %d\n", stream, attribute);
    value[0] = 0x1234;
    value[1] = 65536;
    return 0;
}
static int stub_set_attribute(void* stream, int attribute, const uint64_t* value) {
    bool empty = true;
    for (int at = 0; at < 8; at++) empty = empty && !value[at];
    std::printf("stream %p %d %s\n", stream, attribute, empty ? "empty" : "something");
    return 0;
}

struct Entry {
    const char* name;
    void* function;
};
#define ENTRY(name, function) {name, reinterpret_cast<void*>(function)}
static const Entry entries[] = {
    ENTRY("cuGetErrorString", stub_error_string),
    ENTRY("cuCtxGetLimit", stub_get_limit),
    ENTRY("cuCtxSetLimit", stub_set_limit),
    ENTRY("cuCtxResetPersistingL2Cache", stub_reset_persisting),
    ENTRY("cuDeviceGet", stub_device),
    ENTRY("cuDeviceGetAttribute", stub_attribute),
    ENTRY("cuCtxCreate", stub_create_context),
    ENTRY("cuCtxPushCurrent", stub_push),
    ENTRY("cuCtxPopCurrent", stub_pop),
    ENTRY("cuCtxSynchronize", stub_wait),
    ENTRY("cuModuleLoadData", stub_load),
    ENTRY("cuModuleGetFunction", stub_function),
    ENTRY("cuLaunchKernel", stub_launch),
    ENTRY("cuGraphGetNodes", stub_nodes),
    ENTRY("cuGraphNodeGetType", stub_node_type),
    ENTRY("cuGraphChildGraphNodeGetGraph", stub_child),
    ENTRY("cuGraphKernelNodeGetParams", stub_node_params),
    ENTRY("cuFuncGetName", stub_function_name),
    ENTRY("cuKernelGetName", stub_kernel_name),
    ENTRY("cuKernelGetFunction", stub_kernel_function),
    ENTRY("cuFuncGetAttribute", stub_function_attribute),
    ENTRY("cuOccupancyMaxActiveBlocksPerMultiprocessor", stub_occupancy),
    ENTRY("cuMemGetAllocationGranularity", stub_granularity),
    ENTRY("cuMemAddressReserve", stub_reserve),
    ENTRY("cuMemCreate", stub_create),
    ENTRY("cuMemMap", stub_map),
    ENTRY("cuMemSetAccess", stub_access),
    ENTRY("cuMemExportToShareableHandle", stub_export),
    ENTRY("cuMemImportFromShareableHandle", stub_import),
    ENTRY("cuMemUnmap", stub_unmap),
    ENTRY("cuMemRelease", stub_release),
    ENTRY("cuMemAddressFree", stub_free),
    ENTRY("cuStreamGetAttribute", stub_get_attribute),
    ENTRY("cuStreamSetAttribute", stub_set_attribute),
};

// The bindings ask for every function by its name and the CUDA version whose signature they know.
int cuGetProcAddress_v2(const char* name, void** function, int version, uint64_t, int* status) {
    *function = nullptr;
    for (const Entry& entry : entries) {
        // Before 12.0 the name meant a struct that ends with `extra`.
        const bool old = !std::strcmp(name, "cuGraphKernelNodeGetParams") && version < 12000;
        if (!std::strcmp(name, entry.name) && !old) *function = entry.function;
    }
    if (status) *status = *function ? 0 : 1;
    return *function ? 0 : 500;
}
int cuGetProcAddress(const char* name, void** function, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}
}
