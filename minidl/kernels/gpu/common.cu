// What all kernels share; `launch.py` puts this file before each of the others.
//
// The compiler's options define REAL (float or double) and INDEX: int, or long long where an array
// has 2^31 elements or more. 64-bit indices cost a third of a kernel's speed.

typedef REAL T;  // float or double
typedef INDEX Int;
typedef unsigned char Byte;
typedef unsigned long long Address;

#define DEVICE [[maybe_unused]] static __device__ __forceinline__
#define EVERY_LANE 0xffffffffu  // the mask of a warp's 32 threads
#define NO_TAP 255              // the index where relu gave 0, so that no pixel gets a gradient

// The window that slides over an image: image H x W, places OH x OW, taps KH x KW, stride SH x SW,
// dilation DH x DW, and the zeros of the padding above (TOP) and to the left (LEFT).
struct Geometry { Int H, W, OH, OW, KH, KW, SH, SW, DH, DW, TOP, LEFT; };

// The index i of this thread's element; a thread past the last of n elements returns at once.
#define ELEMENT(i, n) Int i = (Int)blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return

DEVICE T infinity() { return -log((T)0); }

// Pixel (row, column) of an image x with the geometry z, or 0 in the padding around it.
#define ON_IMAGE(row, column) ((row) >= 0 && (row) < z.H && (column) >= 0 && (column) < z.W)
#define PIXEL(x, row, column) (ON_IMAGE(row, column) ? (x)[(row) * z.W + (column)] : (T)0)

// The pixel of x that tap (i, j) lies over when the window stands at place (row, column).
#define UNDER_TAP(x, row, column, i, j) \
    PIXEL(x, (row) * z.SH + (i) * z.DH - z.TOP, (column) * z.SW + (j) * z.DW - z.LEFT)

// Keep `value` as the best if it is larger than the best so far, or the first NaN, or the first of
// all values. A NaN is neither <= a number nor equal to itself.
#define TAKE(value, tap) if (first < 0 || (!((value) <= best) && best == best)) \
    { best = (value); first = (tap); }

// The sum, and the maximum, over a team of neighbouring threads (1, 2, 4, ... 32), in each of them.
// The order never changes, so that rounding is the same in every run.
template <int TEAM_SIZE, class V>
DEVICE V team_sum(V own) {
    for (int apart = TEAM_SIZE / 2; apart > 0; apart /= 2)
        own += __shfl_xor_sync(EVERY_LANE, own, apart);
    return own;
}
template <int TEAM_SIZE>
DEVICE T team_max(T own) {
    for (int apart = TEAM_SIZE / 2; apart > 0; apart /= 2)
        own = max(own, __shfl_xor_sync(EVERY_LANE, own, apart));
    return own;
}

// The sum over the 32 threads of a warp, in each of them.
template <class V>
DEVICE V warp_sum(V own) { return team_sum<32>(own); }

// The sum over a block of whole warps, in each of its threads, in an order that never changes.
template <class V>
DEVICE V block_sum(V own) {
    __shared__ V share[32];
    own = warp_sum(own);
    __syncthreads();  // all threads have read the sum before this one
    if (threadIdx.x % 32 == 0) share[threadIdx.x / 32] = own;
    __syncthreads();
    return warp_sum(threadIdx.x % 32 < blockDim.x / 32 ? share[threadIdx.x % 32] : (V)0);
}

// Whether this block is the last of `blocks` that come here. It alone can read what all of them
// have written, and add it up in the order of the blocks, whichever of them is the last. So a sum
// over many blocks needs no second launch. `counter` is 0 before: atomicInc adds 1, in one step
// that no other block interrupts, and goes back to 0 at the last block, for the next launch.
DEVICE bool is_last(unsigned* counter, unsigned blocks) {
    __shared__ bool last;
    __threadfence();  // what this thread has written is there for all blocks ...
    __syncthreads();  // ... before its block is counted
    if (threadIdx.x == 0) last = atomicInc(counter, blocks - 1) == blocks - 1;
    __syncthreads();
    __threadfence();  // what this thread reads from here on is not older than the count
    return last;
}

// Add up `parts` rows of `columns` numbers that lie one after the other. This block has written row
// `part`, together with others if `sharing` > 1. `store` is called with the number of each column
// and its sum. The order of the sums never changes.
//
// One block alone would take longer for many rows than a second launch. So the block that is the
// last of GROUP rows adds these up, into the first of them; and the last of all such blocks adds up
// the groups. A thread has a column at a time. counters: one, and one for each group.
#define GROUP 16
#define GROUPS(parts) (((parts) + GROUP - 1) / GROUP)
template <class Store>
DEVICE void add_parts(T* rows, int part, int parts, Int columns, unsigned* counters, int sharing,
                      Store store) {
    auto add = [&](const T* first, int count, Int apart) {
        T sum = 0;
        #pragma unroll 8
        for (int k = 0; k < count; ++k) sum += first[k * apart];
        return sum;
    };
    int group = part / GROUP, members = min(GROUP, parts - group * GROUP);
    if (!is_last(counters + 1 + group, members * sharing)) return;
    T* own = rows + (Int)group * GROUP * columns;
    for (Int j = threadIdx.x; j < columns; j += blockDim.x) own[j] = add(own + j, members, columns);
    if (!is_last(counters, GROUPS(parts))) return;
    for (Int j = threadIdx.x; j < columns; j += blockDim.x)
        store(j, add(rows + j, GROUPS(parts), GROUP * columns));
}
