// Plays a GPU on the CPU, so that the text of the kernels runs, and is judged, without one.
//
// Every CUDA thread is a fiber with its own stack; they take turns on one thread of the CPU. A
// fiber gives up its turn only where threads meet: at a barrier of the block, and at what a warp
// does together (shuffles, matrix products). Which warp and lane goes next is drawn at random,
// mostly the one that just ran, so that one warp runs far ahead of another wherever no barrier
// stops it. Shared memory starts as NaN in every block and has a guard behind it. So a missing
// barrier reads NaN or another turn's values, and threads that wait for one another at different
// places are an error instead of a hang.
//
// Replaced are genloc/ops/intrinsics.cuh, the built-in variables and functions used by the kernels,
// and nothing else. Matrix products follow the fragment tables of the PTX manual; their sums are
// cut off like those of tensor cores, not rounded.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#define __device__
#define __forceinline__ inline
#define __global__
#define __shared__
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

struct Index {
    unsigned x, y, z;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

using std::max;
using std::min;

alignas(16) extern unsigned char shared_bytes[];

namespace emulator {

constexpr int SHARED = 48 * 1024;  // what a block gets without asking
constexpr int GUARD = 4096;
constexpr int STACK = 64 * 1024;

enum Meeting { NONE, BARRIER, SHUFFLE, MMA_BF16, MMA_BF16_8, MMA_F16, MMA_F16_8, MMA_TF32, DONE };

struct Fiber {
    jmp_buf state;
    ucontext_t start;
    char* stack = nullptr;
    bool begun = false;
    Meeting at = NONE;  // where it waits
    int mask = 0;
    unsigned a[4], b[2];
    float c[4];
};

struct Machine {
    std::vector<Fiber> fibers;
    int threads = 0, current = 0, shared = 0;
    void (*body)() = nullptr;
    jmp_buf scheduler;
    ucontext_t main;
    uint64_t random = 1;
    char error[256] = "";
};
inline Machine machine;
inline Index thread_index, block_index;

// The order of the warps; the seed of a launch makes it come out the same again.
inline unsigned draw(unsigned below) {
    machine.random = machine.random * 6364136223846793005ull + 1442695040888963407ull;
    return unsigned(machine.random >> 33) % below;
}

[[noreturn]] inline void fail(const char* what) {
    if (!machine.error[0])
        std::snprintf(machine.error, sizeof machine.error, "%s (block %u, thread %d)", what,
                      block_index.x, machine.current);
    _longjmp(machine.scheduler, 2);
}

// Wait here until the others have come; `what` of a finished thread never ends.
inline void meet(Meeting what) {
    Fiber& me = machine.fibers[machine.current];
    me.at = what;
    if (_setjmp(me.state) == 0) _longjmp(machine.scheduler, 1);
}

inline void enter() {
    machine.body();
    machine.fibers[machine.current].at = DONE;
    _longjmp(machine.scheduler, 1);
}

inline float from_bits(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
inline uint32_t to_bits(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

inline float half_to_float(uint16_t h) {
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    const float sign = h >> 15 ? -1.0f : 1.0f;
    if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * std::ldexp(float(mantissa), -24);
    return sign * std::ldexp(float(1024 + mantissa), exponent - 25);
}

// A sum of products as tensor cores form it: each term is cut off below the last bit of the
// largest, and the result towards zero.
inline float cut_sum(float start, const double* product, int count) {
    double largest = std::fabs(double(start));
    for (int i = 0; i < count; ++i) largest = std::fmax(largest, std::fabs(product[i]));
    bool finite = std::isfinite(start);
    for (int i = 0; i < count; ++i) finite = finite && std::isfinite(product[i]);
    double sum = start;
    if (!finite || largest == 0) {
        for (int i = 0; i < count; ++i) sum += product[i];
        return float(sum);
    }
    int exponent;
    std::frexp(largest, &exponent);
    const double unit = std::ldexp(1.0, std::max(exponent - 25, -1000)), inverse = 1 / unit;
    sum = std::trunc(start * inverse);
    for (int i = 0; i < count; ++i) sum += std::trunc(product[i] * inverse);
    sum *= unit;
    float result = float(sum);
    if (std::fabs(double(result)) > std::fabs(sum)) result = std::nextafter(result, 0.0f);
    return result;
}

// What the 32 lanes from `first` on came together for.
inline void together(int first) {
    Fiber* lane = &machine.fibers[first];
    const Meeting what = lane[0].at;
    if (what == SHUFFLE) {
        float value[32];
        for (int i = 0; i < 32; ++i) value[i] = lane[i].c[0];
        for (int i = 0; i < 32; ++i) lane[i].c[0] = value[(i ^ lane[i].mask) & 31];
        return;
    }
    float a[16][16], b[16][8];
    const bool tf32 = what == MMA_TF32, f16 = what == MMA_F16 || what == MMA_F16_8;
    const int depth = what == MMA_BF16 || what == MMA_F16 ? 16 : 8;
    auto half = [f16](unsigned word, int i) {
        const uint16_t bits = uint16_t(word >> 16 * i);
        return f16 ? half_to_float(bits) : from_bits(uint32_t(bits) << 16);
    };
    for (int i = 0; i < 32; ++i) {
        const int g = i / 4, q = i % 4;
        for (int r = 0; r < 4; ++r) {
            if (!tf32 && depth == 8 && r > 1) break;
            const int row = g + r % 2 * 8;
            if (tf32) {
                a[row][q + r / 2 * 4] = from_bits(lane[i].a[r] & 0xffffe000u);
            } else {
                a[row][2 * q + r / 2 * 8] = half(lane[i].a[r], 0);
                a[row][2 * q + 1 + r / 2 * 8] = half(lane[i].a[r], 1);
            }
        }
        for (int r = 0; r < 2; ++r) {
            if (!tf32 && depth == 8 && r > 0) break;
            if (tf32) {
                b[q + 4 * r][g] = from_bits(lane[i].b[r] & 0xffffe000u);
            } else {
                b[2 * q + 8 * r][g] = half(lane[i].b[r], 0);
                b[2 * q + 1 + 8 * r][g] = half(lane[i].b[r], 1);
            }
        }
    }
    for (int i = 0; i < 32; ++i)
        for (int j = 0; j < 4; ++j) {
            const int row = i / 4 + j / 2 * 8, column = i % 4 * 2 + j % 2;
            double product[16];
            for (int k = 0; k < depth; ++k) product[k] = double(a[row][k]) * double(b[k][column]);
            lane[i].c[j] = cut_sum(lane[i].c[j], product, depth);
        }
}

// Runs one block; false if it went wrong.
inline bool run_block() {
    const int warps = machine.threads / 32;
    for (int i = 0; i < machine.threads; ++i) {
        machine.fibers[i].begun = false;
        machine.fibers[i].at = NONE;
    }
    std::memset(shared_bytes, 0xff, SHARED + GUARD);
    int warp = 0;
    for (;;) {
        // The lanes of one warp that may go on; another warp now and then, and where none may.
        int ready[32], count = 0;
        if (draw(8) == 0) warp = int(draw(warps));
        for (int tried = 0; tried < warps && !count; ++tried) {
            if (tried) warp = (warp + 1) % warps;
            for (int i = 0; i < 32; ++i)
                if (machine.fibers[32 * warp + i].at == NONE) ready[count++] = 32 * warp + i;
        }
        if (!count) {
            int at_barrier = 0, done = 0;
            for (int i = 0; i < machine.threads; ++i) {
                at_barrier += machine.fibers[i].at == BARRIER;
                done += machine.fibers[i].at == DONE;
            }
            if (done == machine.threads) break;
            if (at_barrier == machine.threads) {
                for (int i = 0; i < machine.threads; ++i) machine.fibers[i].at = NONE;
                warp = int(draw(warps));
                continue;
            }
            std::snprintf(machine.error, sizeof machine.error,
                          "threads of block %u wait for one another: %d at a barrier, %d done",
                          block_index.x, at_barrier, done);
            return false;
        }
        // Any lane first, then the others in turn: nothing may hang on lanes running in step.
        const unsigned offset = draw(count);
        for (int i = 0; i < count; ++i) {
            machine.current = ready[(i + offset) % count];
            Fiber& fiber = machine.fibers[machine.current];
            thread_index.x = unsigned(machine.current);
            const int came = _setjmp(machine.scheduler);
            if (came == 2) return false;
            if (came == 0) {
                if (fiber.begun) _longjmp(fiber.state, 1);
                fiber.begun = true;
                getcontext(&fiber.start);
                fiber.start.uc_stack.ss_sp = fiber.stack;
                fiber.start.uc_stack.ss_size = STACK;
                fiber.start.uc_link = nullptr;
                makecontext(&fiber.start, enter, 0);
                setcontext(&fiber.start);
            }
        }
        const Meeting what = machine.fibers[32 * warp].at;
        bool same = what > BARRIER && what < DONE;
        for (int i = 0; i < 32 && same; ++i) same = machine.fibers[32 * warp + i].at == what;
        if (same) {
            together(32 * warp);
            for (int i = 0; i < 32; ++i) machine.fibers[32 * warp + i].at = NONE;
        }
    }
    for (int i = machine.shared; i < SHARED + GUARD; ++i)
        if (shared_bytes[i] != 0xff) {
            std::snprintf(machine.error, sizeof machine.error,
                          "block %u wrote beyond its shared memory", block_index.x);
            return false;
        }
    return true;
}

// Runs a kernel; the message says what went wrong and is empty otherwise. `shared_bytes` bytes of
// shared memory are in use, everything behind them is guard.
inline const char* launch(void (*body)(), long long blocks, int threads, int shared,
                          uint64_t seed) {
    machine.error[0] = 0;
    if (shared > SHARED || threads % 32) return "more shared memory or other threads than allowed";
    machine.shared = shared;
    machine.body = body;
    machine.threads = threads;
    machine.random = seed * 2 + 1;
    while (int(machine.fibers.size()) < threads) {
        machine.fibers.emplace_back();
        machine.fibers.back().stack = static_cast<char*>(std::malloc(STACK));
    }
    // Blocks in any order, too: from a random one on, in steps that reach each of them once.
    const long long offset = draw(unsigned(std::min<long long>(blocks, 1 << 30)));
    for (long long i = 0; i < blocks; ++i) {
        block_index.x = unsigned((i + offset) % blocks);
        if (!run_block()) break;
    }
    return machine.error;
}

// Arguments come in words of 64 bits: addresses, integers, and floats by their bits.
inline const uint64_t* arguments;

template <class T>
T argument(int i) {
    if constexpr (std::is_pointer_v<T>) return reinterpret_cast<T>(arguments[i]);
    if constexpr (std::is_same_v<T, float>) return from_bits(uint32_t(arguments[i]));
    if constexpr (std::is_same_v<T, long long>) return (long long)arguments[i];
}

template <auto kernel>
struct Kernel;
template <class... T, void (*kernel)(T...)>
struct Kernel<kernel> {
    static constexpr int COUNT = sizeof...(T);
    template <size_t... I>
    static void call(std::index_sequence<I...>) {
        kernel(argument<T>(int(I))...);
    }
    static void body() { call(std::index_sequence_for<T...>()); }
};

inline void product(Meeting what, float (&c)[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3,
                    unsigned b0, unsigned b1) {
    Fiber& me = machine.fibers[machine.current];
    me.a[0] = a0, me.a[1] = a1, me.a[2] = a2, me.a[3] = a3, me.b[0] = b0, me.b[1] = b1;
    std::memcpy(me.c, c, sizeof me.c);
    meet(what);
    std::memcpy(c, machine.fibers[machine.current].c, sizeof me.c);
}

}  // namespace emulator

#define threadIdx emulator::thread_index
#define blockIdx emulator::block_index

inline void __syncthreads() { emulator::meet(emulator::BARRIER); }
inline float __uint_as_float(unsigned bits) { return emulator::from_bits(bits); }
inline float __int_as_float(int bits) { return emulator::from_bits(uint32_t(bits)); }
inline unsigned __float_as_uint(float x) { return emulator::to_bits(x); }

inline float lane_xor(float x, int mask) {
    emulator::Fiber& me = emulator::machine.fibers[emulator::machine.current];
    me.c[0] = x;
    me.mask = mask;
    emulator::meet(emulator::SHUFFLE);
    return emulator::machine.fibers[emulator::machine.current].c[0];
}
inline void mma_bf16(float (&c)[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0,
                     unsigned b1) {
    emulator::product(emulator::MMA_BF16, c, a0, a1, a2, a3, b0, b1);
}
inline void mma_bf16(float (&c)[4], unsigned a0, unsigned a1, unsigned b0) {
    emulator::product(emulator::MMA_BF16_8, c, a0, a1, 0, 0, b0, 0);
}
inline void mma_f16(float (&c)[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0,
                    unsigned b1) {
    emulator::product(emulator::MMA_F16, c, a0, a1, a2, a3, b0, b1);
}
inline void mma_f16(float (&c)[4], unsigned a0, unsigned a1, unsigned b0) {
    emulator::product(emulator::MMA_F16_8, c, a0, a1, 0, 0, b0, 0);
}
inline void mma_tf32(float (&c)[4], float a0, float a1, float a2, float a3, float b0, float b1) {
    using emulator::to_bits;
    emulator::product(emulator::MMA_TF32, c, to_bits(a0), to_bits(a1), to_bits(a2), to_bits(a3),
                      to_bits(b0), to_bits(b1));
}
inline float round_to_tf32(float x) {
    if (!std::isfinite(x)) return x;
    return emulator::from_bits((emulator::to_bits(x) + 0x1000u) & 0xffffe000u);
}
inline float f16_to_float(unsigned short bits) { return emulator::half_to_float(bits); }
inline unsigned short float_to_bf16(float x) {
    if (std::isnan(x)) return 0x7fff;
    const uint32_t bits = emulator::to_bits(x);
    return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}
inline unsigned short float_to_f16(float x) {
    const unsigned short sign = (unsigned short)(emulator::to_bits(x) >> 16 & 0x8000);
    if (std::isnan(x)) return 0x7fff;
    const double y = std::fabs(double(x));
    if (y >= 65520) return sign | 0x7c00;
    if (y == 0) return sign;
    int exponent;
    std::frexp(y, &exponent);
    exponent = std::max(exponent, -13);  // below 2^-14 the steps stay at 2^-24
    const double steps = std::nearbyint(std::ldexp(y, 11 - exponent));
    // `steps` counts from 1024 in each binade and carries into the exponent by itself.
    return sign | (unsigned short)(((exponent + 13) << 10) + int(steps));
}
