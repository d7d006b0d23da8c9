// The one binding between Python and every kernel library: it opens a library by path and calls its C interface
// (sdpa.h).
//
// Compiled once for a Python ABI and used for all kernels, so that a kernel's own build stays free of pybind11 and
// torch. Tensors arrive as plain integers, already checked for kind and shape by pytest_kgate.build.kernel; what is
// cheaper to check here than in Python is checked here: overlap of the output with itself and with the inputs.
#include <dlfcn.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "sdpa.h"

namespace py = pybind11;

namespace {

constexpr int kOutputOverlapsInput = 1;  // kernels return 0 or a negative number; these are the binding's own
constexpr int kOutputOverlapsItself = 2;
constexpr int kEmptyOrTooLarge = 3;

int64_t element_bytes(int dtype) { return dtype == kgate::Float32 ? 4 : 2; }

int64_t integer(PyObject* tuple, Py_ssize_t index) {
    const long long value = PyLong_AsLongLong(PyTuple_GetItem(tuple, index));
    if (value == -1 && PyErr_Occurred()) {
        throw py::error_already_set();
    }
    return value;
}

// False for an extent that is zero or does not fit 31 bits.
bool read_shape(const py::tuple& shape, kgate::SdpaArgs& args) {
    int32_t* const extents[4] = {&args.batch, &args.heads, &args.seqlen, &args.head_dim};
    for (int i = 0; i < 4; ++i) {
        const int64_t extent = integer(shape.ptr(), i);
        if (extent < 1 || extent > INT32_MAX) {
            return false;
        }
        *extents[i] = static_cast<int32_t>(extent);
    }
    return true;
}

void read_strides(const py::tuple& from, int64_t (&to)[3]) {
    for (int i = 0; i < 3; ++i) {
        to[i] = integer(from.ptr(), i);
    }
}

// First byte and one past the last byte of a tensor with these strides.
std::array<uintptr_t, 2> span(const void* pointer, const int64_t (&stride)[3], const kgate::SdpaArgs& args) {
    const int64_t last = (args.batch - 1) * stride[0] + (args.heads - 1) * stride[1] + (args.seqlen - 1) * stride[2];
    const uintptr_t first = reinterpret_cast<uintptr_t>(pointer);
    return {first, first + static_cast<uintptr_t>((last + args.head_dim) * element_bytes(args.dtype))};
}

bool overlap(const std::array<uintptr_t, 2>& a, const std::array<uintptr_t, 2>& b) {
    return a[0] < b[1] && b[0] < a[1];
}

// From the smallest stride up, each axis of the output must step over all that the axes before it cover.
bool overlaps_itself(const kgate::SdpaArgs& args) {
    std::array<std::array<int64_t, 2>, 3> axes = {
        {{args.o_stride[0], args.batch}, {args.o_stride[1], args.heads}, {args.o_stride[2], args.seqlen}}};
    std::sort(axes.begin(), axes.end());
    int64_t covered = args.head_dim;
    for (const auto& [stride, extent] : axes) {
        if (extent > 1) {
            if (stride < covered) {
                return true;
            }
            covered += (extent - 1) * stride;
        }
    }
    return false;
}

class Library {
public:
    explicit Library(const std::string& path) {
        // RTLD_LOCAL: all kernel libraries define the same names. RTLD_NOW: what is missing shows now, not in a launch.
        handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (handle_ == nullptr) {
            const char* why = dlerror();
            throw std::runtime_error(why != nullptr ? why : "dlopen failed");
        }
        sdpa_ = reinterpret_cast<decltype(sdpa_)>(dlsym(handle_, "kgate_sdpa"));
        message_ = reinterpret_cast<decltype(message_)>(dlsym(handle_, "kgate_message"));
        workspace_ = reinterpret_cast<decltype(workspace_)>(dlsym(handle_, "kgate_sdpa_workspace"));
    }
    // The library stays open: a CUDA module in it may have work in flight, and torch unloads nothing either.
    Library(const Library&) = delete;
    Library& operator=(const Library&) = delete;

    bool has_sdpa() const { return sdpa_ != nullptr; }
    bool has_workspace() const { return workspace_ != nullptr; }

    // Bytes that the library needs for a problem; 0 for extents that sdpa() refuses.
    int64_t workspace_bytes(const py::tuple& shape, bool causal, int dtype) {
        kgate::SdpaArgs args = {};
        if (!read_shape(shape, args)) {
            return 0;
        }
        args.causal = causal ? 1 : 0;
        args.dtype = dtype;
        return workspace_(&args);
    }

    int sdpa(uintptr_t q, uintptr_t k, uintptr_t v, uintptr_t o, const py::tuple& shape, const py::tuple& q_stride,
             const py::tuple& k_stride, const py::tuple& v_stride, const py::tuple& o_stride, float scale, bool causal,
             int dtype, uintptr_t stream, uintptr_t workspace, int64_t workspace_bytes) {
        kgate::SdpaArgs args = {};
        args.q = reinterpret_cast<const void*>(q);
        args.k = reinterpret_cast<const void*>(k);
        args.v = reinterpret_cast<const void*>(v);
        args.o = reinterpret_cast<void*>(o);
        if (!read_shape(shape, args)) {
            return kEmptyOrTooLarge;
        }
        read_strides(q_stride, args.q_stride);
        read_strides(k_stride, args.k_stride);
        read_strides(v_stride, args.v_stride);
        read_strides(o_stride, args.o_stride);
        args.scale = scale;
        args.causal = causal ? 1 : 0;
        args.dtype = dtype;
        args.workspace = reinterpret_cast<void*>(workspace);
        args.workspace_bytes = workspace_bytes;
        const auto output = span(args.o, args.o_stride, args);
        if (overlap(output, span(args.q, args.q_stride, args)) || overlap(output, span(args.k, args.k_stride, args)) ||
            overlap(output, span(args.v, args.v_stride, args))) {
            return kOutputOverlapsInput;
        }
        if (overlaps_itself(args)) {
            return kOutputOverlapsItself;
        }
        py::gil_scoped_release without_gil;
        return sdpa_(&args, reinterpret_cast<void*>(stream));
    }

    // Of the calling thread's last error.
    std::string message() const {
        const char* text = message_ != nullptr ? message_() : nullptr;
        return text != nullptr ? text : "";
    }

private:
    void* handle_ = nullptr;
    int (*sdpa_)(const kgate::SdpaArgs*, void*) = nullptr;
    const char* (*message_)() = nullptr;
    int64_t (*workspace_)(const kgate::SdpaArgs*) = nullptr;
};

}  // namespace

PYBIND11_MODULE(kgate_binding, module) {
    module.attr("OUTPUT_OVERLAPS_INPUT") = kOutputOverlapsInput;
    module.attr("OUTPUT_OVERLAPS_ITSELF") = kOutputOverlapsItself;
    module.attr("EMPTY_OR_TOO_LARGE") = kEmptyOrTooLarge;
    py::class_<Library>(module, "Library")
        .def(py::init<const std::string&>(), py::arg("path"))
        .def_property_readonly("has_sdpa", &Library::has_sdpa)
        .def_property_readonly("has_workspace", &Library::has_workspace)
        .def("workspace_bytes", &Library::workspace_bytes)
        .def("sdpa", &Library::sdpa)
        .def("message", &Library::message);
}
