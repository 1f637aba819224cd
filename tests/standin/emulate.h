// What a CUDA source needs to be compiled as C++, and to run on the CPU.
//
// A block's threads are fibers: stacks of their own between which the program switches. A thread
// runs until it waits, for its warp (a shuffle) or for its block (__syncthreads); then the next one
// runs. When all that it waits for have come, it goes on.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <utility>
#include <vector>
using namespace std;

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __restrict__
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define EMULATED 1

struct Dim { unsigned x, y, z; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline double2 make_double2(double x, double y) { return {x, y}; }

static Dim threadIdx, blockIdx, blockDim, gridDim;

// A place on a stack where a program stopped, and the switch to another one. `swapcontext` of the C
// library asks the system each time, which takes a hundred times as long as the switch itself.
#if defined(__x86_64__)
struct Place { void* top; };
extern "C" __attribute__((visibility("hidden"))) void switch_stacks(void** from, void* to);
asm(R"(
    .text
    .type switch_stacks, @function
    .hidden switch_stacks
    .globl switch_stacks
switch_stacks:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
)");
static void go(Place& from, Place& to) { switch_stacks(&from.top, to.top); }
static void begin_at(Place& place, vector<char>& stack, void (*function)()) {
    void** top = (void**)((size_t)(stack.data() + stack.size()) / 16 * 16) - 2;
    *top = (void*)function;  // where `ret` goes; below it are the six registers
    place.top = top - 6;
}
#else
#include <ucontext.h>
typedef ucontext_t Place;
static void go(Place& from, Place& to) { swapcontext(&from, &to); }
static void begin_at(Place& place, vector<char>& stack, void (*function)()) {
    getcontext(&place);
    place.uc_stack.ss_sp = stack.data();
    place.uc_stack.ss_size = stack.size();
    makecontext(&place, function, 0);
}
#endif

enum State { RUNS, WAITS_FOR_WARP, WAITS_FOR_BLOCK, DONE };
struct Fiber { Place at; vector<char> stack; unsigned thread; };
struct Lane { Fiber* fiber; State state; unsigned turn; char box[2][16]; };

static deque<Fiber> fibers;         // kept for the next block
static vector<Fiber*> idle;
static Lane lanes[1024];            // of the block's threads
static unsigned begun;              // threads that have begun
static Place scheduler;
static Fiber* current;
static void** arguments;
static void (*kernel)();

static void wait_for(State what) {
    Fiber* own = current;
    lanes[own->thread].state = what;
    go(own->at, scheduler);
    threadIdx.x = own->thread;
}
static void __syncthreads() { wait_for(WAITS_FOR_BLOCK); }
static void __syncwarp(unsigned = 0) { wait_for(WAITS_FOR_WARP); }

template <class V> static V from_lane(V value, unsigned thread) {
    static_assert(sizeof(V) <= 16);
    Lane& own = lanes[threadIdx.x];
    unsigned turn = own.turn++ % 2;  // a fast lane may write its next value before all have read
    memcpy(own.box[turn], &value, sizeof(V));
    wait_for(WAITS_FOR_WARP);
    if (thread >= blockDim.x) return value;
    memcpy(&value, lanes[thread].box[turn], sizeof(V));
    return value;
}
template <class V> static V __shfl_xor_sync(unsigned, V value, int lane) {
    return from_lane(value, threadIdx.x ^ lane);
}
template <class V> static V __shfl_sync(unsigned, V value, int lane) {
    return from_lane(value, threadIdx.x / 32 * 32 + lane % 32);
}
template <class V> static V __shfl_down_sync(unsigned, V value, unsigned by) {
    bool inside = threadIdx.x % 32 + by < 32;
    return from_lane(value, inside ? threadIdx.x + by : threadIdx.x);
}
// Blocks run one after the other, so nothing can come in between, and all of it is seen at once.
static void __threadfence() {}
static unsigned atomicInc(unsigned* at, unsigned most) {
    unsigned old = *at;
    *at = old >= most ? 0 : old + 1;
    return old;
}
static unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
static unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned __int128)a * b >> 64;
}
static unsigned __float_as_uint(float v) { unsigned u; memcpy(&u, &v, 4); return u; }
static float __uint_as_float(unsigned u) { float v; memcpy(&v, &u, 4); return v; }
static float __int_as_float(int u) { float v; memcpy(&v, &u, 4); return v; }

// A number as tensor cores read it in TF32: with 10 bits of mantissa, halves away from 0.
static float to_tf32(float v) {
    return isfinite(v) ? __uint_as_float((__float_as_uint(v) + 0x1000) & ~0x1fffu) : v;
}

// c (16 x 8) += a (16 x 8) b (8 x 8), which a warp holds as `mma.m16n8k8` says: lane 4r + q has the
// rows r and r + 8 of a, in the columns q and q + 4; the rows q and q + 4 of b in column r; and the
// rows r and r + 8 of c in the columns 2q and 2q + 1.
static void mma(float* c, const float* a, const float* b) {
    int lane = threadIdx.x % 32, r = lane / 4, q = lane % 4;
    for (int k = 0; k < 4; ++k) {
        float4 left = __shfl_sync(~0u, float4{a[0], a[1], a[2], a[3]}, 4 * r + k);
        float2 first = __shfl_sync(~0u, float2{b[0], b[1]}, 4 * (2 * q) + k);
        float2 second = __shfl_sync(~0u, float2{b[0], b[1]}, 4 * (2 * q + 1) + k);
        c[0] += left.x * first.x + left.z * first.y, c[1] += left.x * second.x + left.z * second.y;
        c[2] += left.y * first.x + left.w * first.y, c[3] += left.y * second.x + left.w * second.y;
    }
}

// A fiber runs one thread after the other, as long as they do not wait.
static void work() {
    Fiber* own = current;
    while (begun < blockDim.x) {
        own->thread = begun++;
        lanes[own->thread] = {own, RUNS, 0, {}};
        threadIdx.x = own->thread;
        kernel();
        lanes[own->thread].state = DONE;
    }
    idle.push_back(own);
    go(own->at, scheduler);
}

static void go_on(Fiber* fiber) {
    current = fiber;
    go(scheduler, fiber->at);
}

// Let those go on whose warp or block has come together. False: nobody can, though some wait.
static bool release() {
    bool some = false, waits = false, whole = true;
    for (unsigned w = 0; w < blockDim.x; w += 32) {
        unsigned end = min(w + 32, blockDim.x), for_warp = 0, for_block = 0;
        for (unsigned t = w; t < end; ++t) {
            for_warp += lanes[t].state == WAITS_FOR_WARP;
            for_block += lanes[t].state == WAITS_FOR_BLOCK;
        }
        waits |= for_warp + for_block > 0;
        whole &= for_warp == 0;
        if (for_warp && !for_block)
            for (unsigned t = w; t < end; ++t)
                if (lanes[t].state == WAITS_FOR_WARP) lanes[t].state = RUNS, some = true;
    }
    if (!some && whole)
        for (unsigned t = 0; t < blockDim.x; ++t)
            if (lanes[t].state == WAITS_FOR_BLOCK) lanes[t].state = RUNS, some = true;
    return some || !waits;
}

static bool run_block() {
    begun = 0;
    while (begun < blockDim.x) {
        if (idle.empty()) {
            fibers.emplace_back();
            fibers.back().stack.resize(1 << 16);
            idle.push_back(&fibers.back());
        }
        Fiber* fresh = idle.back();
        idle.pop_back();
        begin_at(fresh->at, fresh->stack, work);
        go_on(fresh);
    }
    for (bool more = true; more;) {
        if (!release()) return false;
        more = false;
        for (unsigned t = 0; t < blockDim.x; ++t)
            if (lanes[t].state == RUNS) go_on(lanes[t].fiber), more = true;
    }
    return true;
}

// A GPU runs the blocks in any order. Here they run from block `first` on and around, or from there
// backwards.
static int run_grid(void (*call)(), const unsigned* grid, unsigned threads, void** given,
                    unsigned first, bool backwards) {
    kernel = call, arguments = given, blockDim = {threads, 1, 1}, gridDim = {grid[0], grid[1], grid[2]};
    size_t all = (size_t)grid[0] * grid[1] * grid[2];
    for (size_t turn = 0; turn < all; ++turn) {
        size_t block = (first + (backwards ? all - turn : turn)) % all;
        blockIdx.x = block % grid[0], blockIdx.y = block / grid[0] % grid[1];
        blockIdx.z = block / grid[0] / grid[1];
        if (!run_block()) return 1;
    }
    return 0;
}

// As CUDA's driver does: `arguments` are the addresses of the values.
template <class... P, size_t... I>
static void apply(void (*f)(P...), index_sequence<I...>) {
    f(*(remove_cv_t<P>*)arguments[I]...);
}
template <class... P> static void apply(void (*f)(P...)) { apply(f, index_sequence_for<P...>()); }
