// Two kernels that bring the values of a sample to the calls that are timed. `values.ptx` is made of this file:
//   nvcc -ptx -arch=compute_75 values.cu, its version and target lowered to those of device/cuda/instruments.ptx.

typedef unsigned int u32;
typedef unsigned long long u64;

// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), 16 bytes a counter.
__device__ uint4 philox(uint4 counter, u32 key0, u32 key1) {
    for (int turn = 0; turn < 10; ++turn) {
        u32 high0 = __umulhi(0xD2511F53u, counter.x), low0 = 0xD2511F53u * counter.x;
        u32 high1 = __umulhi(0xCD9E8D57u, counter.z), low1 = 0xCD9E8D57u * counter.z;
        counter = make_uint4(high1 ^ counter.y ^ key0, low1, high0 ^ counter.w ^ key1, low0);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

// to = from, encrypted by a key of 128 bits; the same again decrypts. `first` is the place of from[0] in the stream.
extern "C" __global__ void kgate_encrypt(uint4* to, const uint4* from, u64 count, u64 first, u64 key, u64 more_key) {
    for (u64 at = u64(blockIdx.x) * blockDim.x + threadIdx.x; at < count; at += u64(gridDim.x) * blockDim.x) {
        u64 place = first + at;
        uint4 counter = make_uint4(u32(place), u32(place >> 32), u32(more_key), u32(more_key >> 32));
        uint4 pad = philox(counter, u32(key), u32(key >> 32));
        uint4 value = from[at];
        to[at] = make_uint4(value.x ^ pad.x, value.y ^ pad.y, value.z ^ pad.z, value.w ^ pad.w);
    }
}

// Reads all of it from several SMs, and a word of every 64 KiB from each: afterwards it lies in both halves of the L2
// and its pages in the SMs' translation caches, as after an earlier call on it. Writes nothing.
extern "C" __global__ void kgate_touch(const uint4* data, u64 count, u32 passes, u32* never) {
    u32 sum = 0;
    u64 chunk = (count + gridDim.x - 1) / gridDim.x;
    for (u32 pass = 0; pass < passes; ++pass) {
        u64 begin = u64((blockIdx.x + 17 * pass) % gridDim.x) * chunk;
        u64 end = begin + chunk < count ? begin + chunk : count;
        for (u64 at = begin + threadIdx.x; at < end; at += blockDim.x) sum ^= __ldcg(data + at).x;
    }
    for (u64 at = u64(threadIdx.x) * 4096; at < count; at += u64(blockDim.x) * 4096) sum ^= __ldcg(data + at).x;
    if (never) *never = sum;
}
