// The one binding between Python and every kernel library: it opens a library by path and calls its C interface
// (sdpa.h).
//
// Compiled once for a Python ABI and used for all kernels, so that a kernel's own build stays free of pybind11 and
// torch. Tensors arrive as plain integers, already checked for kind and shape by pytest_kgate.build.kernel; what is
// cheaper to check here than in Python is checked here: overlap of the output with itself and with the inputs, and
// whether the library has declared what the call needs.
#include <dlfcn.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "binding/overlap.h"
#include "sdpa.h"
#include "sdpa_features.h"

namespace py = pybind11;

namespace {

constexpr int kOutputOverlapsInput = 1;  // kernels return 0 or a negative number; these are the binding's own
constexpr int kOutputOverlapsItself = 2;
constexpr int kEmptyOrTooLarge = 3;
constexpr int kGroupsDoNotFold = 4;
constexpr int kNotDeclared = 1 << 16;  // and the features in question

int64_t integer(PyObject* tuple, Py_ssize_t index) {
    const long long value = PyLong_AsLongLong(PyTuple_GetItem(tuple, index));
    if (value == -1 && PyErr_Occurred()) {
        throw py::error_already_set();
    }
    return value;
}

// False for an extent that is zero or does not fit 31 bits.
bool read_extent(int64_t extent, int32_t& to) {
    to = static_cast<int32_t>(extent);
    return extent >= 1 && extent <= INT32_MAX;
}

bool read_shape(const py::tuple& shape, kgate::SdpaArgs& args) {
    int32_t* const extents[4] = {&args.batch, &args.heads, &args.seqlen, &args.head_dim};
    for (int i = 0; i < 4; ++i) {
        if (!read_extent(integer(shape.ptr(), i), *extents[i])) {
            return false;
        }
    }
    args.kv_heads = args.heads;
    args.kv_seqlen = args.seqlen;
    return true;
}

void read_strides(const py::tuple& from, int64_t (&to)[3]) {
    for (int i = 0; i < 3; ++i) {
        to[i] = integer(from.ptr(), i);
    }
}

// What is not plain: (kv_heads, kv_seqlen, window, softcap, bias, its strides, lse, its strides, scales of q, k and v),
// or None.
bool read_beyond(const py::object& beyond, kgate::SdpaArgs& args) {
    if (beyond.is_none()) {
        return true;
    }
    const py::tuple all = beyond;
    args.window = static_cast<int32_t>(integer(all.ptr(), 2));
    args.softcap = all[3].cast<float>();
    args.bias = reinterpret_cast<const void*>(all[4].cast<uintptr_t>());
    args.lse = reinterpret_cast<float*>(all[6].cast<uintptr_t>());
    read_strides(all[5], args.bias_stride);
    read_strides(all[7], args.lse_stride);
    const float** const scales[3] = {&args.q_scale, &args.k_scale, &args.v_scale};
    for (int i = 0; i < 3; ++i) {
        *scales[i] = reinterpret_cast<const float*>(all[8 + i].cast<uintptr_t>());
    }
    return read_extent(integer(all.ptr(), 0), args.kv_heads) && read_extent(integer(all.ptr(), 1), args.kv_seqlen);
}

// Grouped heads for a kernel that knows of none: each group becomes a batch, whose heads share one of k and v by a
// stride of 0. False where no one stride leads from group to group in all tensors.
bool fold_groups(kgate::SdpaArgs& args) {
    const int32_t groups = args.kv_heads, heads = args.heads / groups;
    if (static_cast<int64_t>(args.batch) * groups > INT32_MAX) {
        return false;
    }
    // Of a tensor with `of_group` heads for each group.
    const auto fold = [&](int64_t (&stride)[3], int64_t of_group) {
        const int64_t step = stride[1] * of_group;
        if (groups > 1) {
            if (args.batch > 1 && stride[0] != step * groups) {
                return false;
            }
            stride[0] = step;
        }
        return true;
    };
    if (!fold(args.q_stride, heads) || !fold(args.o_stride, heads) || !fold(args.lse_stride, heads) ||
        !fold(args.bias_stride, heads) || !fold(args.k_stride, 1) || !fold(args.v_stride, 1)) {
        return false;
    }
    args.k_stride[1] = args.v_stride[1] = 0;
    args.batch *= groups;
    args.heads = args.kv_heads = heads;
    return true;
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
        find("kgate_sdpa", sdpa_);
        find("kgate_message", message_);
        find("kgate_sdpa_workspace", workspace_);
        int32_t (*version)() = nullptr;
        uint32_t (*features)() = nullptr;
        find("kgate_sdpa_version", version);
        find("kgate_sdpa_features", features);
        version_ = version != nullptr ? version() : 1;
        features_ = features != nullptr ? features() : 0;
    }
    // The library stays open: a CUDA module in it may have work in flight, and torch unloads nothing either.
    Library(const Library&) = delete;
    Library& operator=(const Library&) = delete;

    bool has_sdpa() const { return sdpa_ != nullptr; }
    bool has_workspace() const { return workspace_ != nullptr; }
    int32_t version() const { return version_; }
    uint32_t features() const { return features_; }

    // Bytes that the library needs for a problem; 0 for one that sdpa() refuses.
    int64_t workspace_bytes(const py::tuple& shape, bool causal, int dtype, const py::object& beyond) {
        kgate::SdpaArgs args = {};
        if (!read_shape(shape, args) || !read_beyond(beyond, args)) {
            return 0;
        }
        for (int64_t& stride : args.bias_stride) stride = 0;  // a plan of extents alone always folds
        for (int64_t& stride : args.lse_stride) stride = 0;
        args.causal = causal ? 1 : 0;
        args.dtype = dtype;
        return prepare(args) == 0 ? workspace_(&args) : 0;
    }

    int sdpa(uintptr_t q, uintptr_t k, uintptr_t v, uintptr_t o, const py::tuple& shape, const py::tuple& q_stride,
             const py::tuple& k_stride, const py::tuple& v_stride, const py::tuple& o_stride, float scale, bool causal,
             int dtype, uintptr_t stream, uintptr_t workspace, int64_t workspace_bytes, const py::object& beyond) {
        kgate::SdpaArgs args = {};
        args.q = reinterpret_cast<const void*>(q);
        args.k = reinterpret_cast<const void*>(k);
        args.v = reinterpret_cast<const void*>(v);
        args.o = reinterpret_cast<void*>(o);
        if (!read_shape(shape, args) || !read_beyond(beyond, args)) {
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
        if (outputs_overlap(args)) {
            return kOutputOverlapsInput;
        }
        if (overlaps_itself(args, args.o_stride, args.head_dim) ||
            (args.lse != nullptr && overlaps_itself(args, args.lse_stride, 1))) {
            return kOutputOverlapsItself;
        }
        if (const int code = prepare(args)) {
            return code;
        }
        py::gil_scoped_release without_gil;
        const int code = sdpa_(&args, reinterpret_cast<void*>(stream));
        return code > 0 ? -code : code;  // a kernel's own 1 for "failed" is none of the binding's codes
    }

    // Of the calling thread's last error.
    std::string message() const {
        const char* text = message_ != nullptr ? message_() : nullptr;
        return text != nullptr ? text : "";
    }

private:
    template <typename Function>
    void find(const char* name, Function*& function) {
        function = reinterpret_cast<Function*>(dlsym(handle_, name));
    }

    // The call as this library takes it; a code of the binding's own where it takes it in no way.
    int prepare(kgate::SdpaArgs& args) const {
        const uint32_t missing = kgate::needed_features(args) & ~features_;
        if (missing == 0) {
            return 0;
        }
        if (missing == kgate::GroupedHeads && (features_ & kgate::SharedHeads) != 0) {
            return fold_groups(args) ? 0 : kGroupsDoNotFold;
        }
        return kNotDeclared + static_cast<int>(missing);
    }

    void* handle_ = nullptr;
    int (*sdpa_)(const kgate::SdpaArgs*, void*) = nullptr;
    const char* (*message_)() = nullptr;
    int64_t (*workspace_)(const kgate::SdpaArgs*) = nullptr;
    int32_t version_ = 1;
    uint32_t features_ = 0;
};

// In words, of what kNotDeclared tells of.
py::list feature_names(uint32_t features) {
    py::list names;
    for (const auto& [feature, name] : kgate::kFeatureNames) {
        if ((features & feature) != 0) names.append(name);
    }
    return names;
}

}  // namespace

PYBIND11_MODULE(kgate_binding, module) {
    module.attr("OUTPUT_OVERLAPS_INPUT") = kOutputOverlapsInput;
    module.attr("OUTPUT_OVERLAPS_ITSELF") = kOutputOverlapsItself;
    module.attr("EMPTY_OR_TOO_LARGE") = kEmptyOrTooLarge;
    module.attr("GROUPS_DO_NOT_FOLD") = kGroupsDoNotFold;
    module.attr("NOT_DECLARED") = kNotDeclared;
    module.attr("VERSION") = KGATE_SDPA_VERSION;
    module.def("feature_names", &feature_names);
    py::class_<Library>(module, "Library")
        .def(py::init<const std::string&>(), py::arg("path"))
        .def_property_readonly("has_sdpa", &Library::has_sdpa)
        .def_property_readonly("has_workspace", &Library::has_workspace)
        .def_property_readonly("version", &Library::version)
        .def_property_readonly("features", &Library::features)
        .def("workspace_bytes", &Library::workspace_bytes)
        .def("sdpa", &Library::sdpa)
        .def("message", &Library::message);
}
