// uncoalesced: of an array of structures of 16 floats, threads read one field.
#include "../planted/planted.cuh"

struct Particle {
    float fields[16];
};

__global__ void __launch_bounds__(256, 8) planted_one_field(const Particle* in, float* out, int64_t count) {
    for (int64_t i = planted::thread(); i < count; i += planted::threads()) out[i] = in[i].fields[3];
}

KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void* stream) {
    const auto c = planted::call(args, stream);
    planted_one_field<<<c.multiprocessors * 8, 256, 0, c.stream>>>(reinterpret_cast<const Particle*>(c.in), c.out,
                                                                   c.elements / 16);
    return planted::outcome();
}
