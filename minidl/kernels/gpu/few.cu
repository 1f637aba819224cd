// Convolutions of few input channels, alone or with max-pooling, and their gradients by w and b.
//
// An output sums few products, so most of the time goes into reading pixels. A thread therefore
// reads its patch of pixels once, into registers, and uses it for many outputs. Registers have no
// addresses: each index into an array that lies in them must be known when this is compiled. So
// these numbers are options of the compiler:
// - CHANNELS of the image; the window's TAPS_H x TAPS_W, STRIDE_H, STRIDE_W, DILATE_H, DILATE_W;
// - PLACES_H x PLACES_W, the places that a thread takes together: those of a pooling window, or
//   neighbours in a row;
// - for the gradients OUTPUTS, whose sums a thread has, and TILE, the pixels in shared memory.

// A loop that is written out, so that all of its indices are known.
#define EACH(i, n) _Pragma("unroll") for (int i = 0; i < (n); ++i)

#define TAPS (CHANNELS * TAPS_H * TAPS_W)                 // the weights of an output
#define REACH_H ((TAPS_H - 1) * DILATE_H + 1)             // rows from the first tap to the last
#define REACH_W ((TAPS_W - 1) * DILATE_W + 1)
#define STEP_H (PLACES_H * STRIDE_H)                      // from one thread's patch to the next
#define STEP_W (PLACES_W * STRIDE_W)
#define PATCH_H (STEP_H - STRIDE_H + REACH_H)             // the pixels under a thread's places
#define PATCH_W (STEP_W - STRIDE_W + REACH_W)

typedef T Patch[CHANNELS][PATCH_H][PATCH_W];

// ---- Forward ------------------------------------------------------------------------------------

// A block has the weights of `share` outputs in shared memory, MOST at most. An output's row holds
// its weights and then its bias. It begins at a multiple of 16 bytes, so that the compiler can read
// 16 bytes at once.
#define MOST 16
#define ROW ((TAPS + 1 + 3) / 4 * 4)
typedef T Weights[MOST][ROW];

DEVICE void read_weights(Weights& weights, const T* w, const T* b, Int first, int count) {
    for (int e = threadIdx.x; e < count * (TAPS + 1); e += blockDim.x) {
        int k = e / (TAPS + 1), tap = e % (TAPS + 1);
        weights[k][tap] = tap < TAPS ? w[(first + k) * TAPS + tap] : b ? b[first + k] : (T)0;
    }
    __syncthreads();
}

// The patch whose top left pixel is (top, left), with zeros where it reaches into the padding.
DEVICE void read_patch(Patch& patch, const T* image, Int top, Int left, const Geometry& z) {
    EACH(c, CHANNELS) EACH(i, PATCH_H) EACH(j, PATCH_W)
        patch[c][i][j] = PIXEL(image + c * z.H * z.W, top + i, left + j);
}

// The convolution without its bias at place (row, column) of the patch.
DEVICE T convolved(const T* weights, const Patch& patch, int row, int column) {
    T sum = 0;
    EACH(c, CHANNELS) EACH(i, TAPS_H) EACH(j, TAPS_W)
        sum += weights[(c * TAPS_H + i) * TAPS_W + j]
             * patch[c][row * STRIDE_H + i * DILATE_H][column * STRIDE_W + j * DILATE_W];
    return sum;
}

// A convolution. A thread has PLACES_W places side by side and `share` outputs, one after the
// other; all threads of a warp read the same weight at the same time, which costs one access.
struct __align__(16) Places { T at[PLACES_W]; };

extern "C" __global__ void __launch_bounds__(128)
few_conv(const T* x, const T* w, const T* b, T* y, Int threads, Int outputs, Int share,
         Geometry z) {
    __shared__ __align__(16) Weights weights;
    Int first = blockIdx.y * share;
    int count = min(share, outputs - first);
    read_weights(weights, w, b, first, count);
    ELEMENT(e, threads);
    Int across = (z.OW + PLACES_W - 1) / PLACES_W, column = e % across * PLACES_W;
    Int row = e / across % z.OH, n = e / (across * z.OH);
    Patch patch;
    const T* image = x + n * CHANNELS * z.H * z.W;
    read_patch(patch, image, row * STRIDE_H - z.TOP, column * STRIDE_W - z.LEFT, z);
    T* to = y + ((n * outputs + first) * z.OH + row) * z.OW + column;
    #pragma unroll 2
    for (int k = 0; k < count; ++k, to += z.OH * z.OW) {
        Places found;
        EACH(j, PLACES_W) found.at[j] = weights[k][TAPS] + convolved(weights[k], patch, 0, j);
        // Where PLACES_W divides OW, `to` is aligned, and all places are written at once.
        if (z.OW % PLACES_W == 0) *(Places*)to = found;
        else EACH(j, PLACES_W) if (column + j < z.OW) to[j] = found.at[j];
    }
}

// Convolution, max-pooling by windows PLACES_H x PLACES_W side by side, bias, and relu where
// `rectify` is 1. A thread has one pooled place and `share` outputs. The convolution's own output
// is never stored: the thread keeps the largest of its places.
extern "C" __global__ void __launch_bounds__(128)
few_conv_pool(const T* x, const T* w, const T* b, T* y, Byte* index, Int threads, Int outputs,
              Int share, Int rectify, Int POH, Int POW, Geometry z) {
    __shared__ __align__(16) Weights weights;
    Int first_output = blockIdx.y * share;
    int count = min(share, outputs - first_output);
    read_weights(weights, w, b, first_output, count);
    ELEMENT(e, threads);
    Int column = e % POW, row = e / POW % POH, n = e / (POW * POH);
    Patch patch;
    const T* image = x + n * CHANNELS * z.H * z.W;
    read_patch(patch, image, row * STEP_H - z.TOP, column * STEP_W - z.LEFT, z);
    Int place = ((n * outputs + first_output) * POH + row) * POW + column;
    #pragma unroll 2
    for (int k = 0; k < count; ++k, place += POH * POW) {
        int first = -1;
        T best = 0;
        EACH(i, PLACES_H) EACH(j, PLACES_W) {
            T value = convolved(weights[k], patch, i, j);
            TAKE(value, i * PLACES_W + j)
        }
        best += weights[k][TAPS];
        bool off = rectify && !(best > 0);
        y[place] = off && best == best ? (T)0 : best, index[place] = (Byte)(off ? NO_TAP : first);
    }
}

// ---- Gradients ----------------------------------------------------------------------------------

// A bias is the weight of a pixel that is always 1, so an output has TAPS + 1 gradients. A thread
// sums those of OUTPUTS outputs in registers, filled up to a multiple of the 32 lanes of a warp.
#define SUMS (OUTPUTS * (TAPS + 1))
#define FULL ((SUMS + 31) / 32 * 32)

// Of 32 numbers v in each lane, lane l gets the sum of all lanes' v[l]. In five rounds each lane
// gives away half of the numbers that it still has, and adds what it gets to the other half: 31
// shuffles for 32 sums. The order never changes, so that rounding is the same in every run.
DEVICE T sum_of_lanes(T* v) {
    EACH(round, 5) {
        int half = 16 >> round;
        bool upper = threadIdx.x & half;
        EACH(k, 16) if (k < half) {
            T give = upper ? v[k] : v[k + half], keep = upper ? v[k + half] : v[k];
            v[k] = keep + __shfl_xor_sync(EVERY_LANE, give, half);
        }
    }
    return v[0];
}

// Adds g times the pixels under the window at place `tap` of the patch. The place is not known when
// this is compiled, but registers have no addresses: so all pixels that may be meant are gone
// through, and the right ones are picked, first among rows and then among columns.
DEVICE void add_products(T* sums, T g, unsigned tap, const Patch& patch) {
    if (tap == NO_TAP) return;  // nothing, where 0 * infinity would be NaN
    int down = tap / PLACES_W, across = tap % PLACES_W;
    EACH(c, CHANNELS) EACH(i, TAPS_H) {
        T line[PATCH_W];
        EACH(j, PATCH_W) EACH(d, PLACES_H)
            if (d == 0 || d == down) line[j] = patch[c][d * STRIDE_H + i * DILATE_H][j];
        EACH(j, TAPS_W) {
            T pixel = 0;
            EACH(d, PLACES_W)
                if (d == 0 || d == across) pixel = line[d * STRIDE_W + j * DILATE_W];
            sums[(c * TAPS_H + i) * TAPS_W + j] += g * pixel;
        }
    }
    sums[TAPS] += g;
}

// Sums over a part of the places: partial[block] holds the gradients of all weights, then those of
// all biases. With pooling, `index` says to which place of its patch each g belongs. The
// last blocks add up the parts, to dw and db.
//
// A block takes stripes of the images, `together` of them at a time; a stripe has `rows` rows of
// patches. Its pixels lie in shared memory, with the padding's zeros around them. Each warp has
// OUTPUTS outputs of its own, and its lanes share the patches of the stripes. A lane reads a patch
// into registers once for all OUTPUTS. The lanes' sums are added up after the last stripe.
#define BLOCKS_TOGETHER (sizeof(T) == 4 ? 2 : 1)  // on a multiprocessor; double needs more room
extern "C" __global__ void __launch_bounds__(256, BLOCKS_TOGETHER)
few_grads(const T* x, const T* g, const Byte* index, T* partial, T* dw, T* db,
          unsigned* counters, Int images, Int outputs, Int rows, Int together, Int POH, Int POW,
          Geometry z) {
    __shared__ __align__(16) T tile[TILE];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    int height = rows * STEP_H - STRIDE_H + REACH_H;
    int half = (POW * STEP_W - STRIDE_W + REACH_W + 1) / 2, width = 2 * half;
    Int output = (blockIdx.y * warps + warp) * OUTPUTS, plane = POH * POW;
    Int stripes = (POH + rows - 1) / rows, all = (images + together - 1) / together * stripes;
    int down = 32 / POW, side = 32 % POW;  // from a lane's place to its next
    T sums[FULL] = {};

    for (Int s = blockIdx.x; s < all; s += gridDim.x) {
        // These stripes are the rows from `top` on, of `count` images from n on.
        Int n = s / stripes * together, top = s % stripes * rows;
        int count = min(together, images - n), deep = min(rows, POH - top);
        __syncthreads();  // nobody still reads the stripes before these
        for (int line = warp; line < count * CHANNELS * height; line += warps) {
            const T* channel = x + (n * CHANNELS + line / height) * z.H * z.W;
            Int row = top * STEP_H - z.TOP + line % height;
            for (int j = lane; j < width; j += 32)
                tile[line * width + j] = PIXEL(channel, row, j - z.LEFT);
        }
        __syncthreads();

        int image = lane / (deep * POW), row = lane / POW % deep, column = lane % POW;
        T next[OUTPUTS];
        unsigned next_tap[OUTPUTS];
        auto look_ahead = [&] {
            Int place = ((n + image) * outputs + output) * plane + (top + row) * POW + column;
            EACH(u, OUTPUTS) {
                bool some = image < count && output + u < outputs;
                next[u] = some ? g[place + u * plane] : (T)0;
                next_tap[u] = !some ? NO_TAP : index ? index[place + u * plane] : 0;
            }
        };
        look_ahead();
        while (image < count) {
            Patch patch;
            T now[OUTPUTS];
            unsigned tap[OUTPUTS];
            EACH(u, OUTPUTS) now[u] = next[u], tap[u] = next_tap[u];
            // `2 * half`, not `width`: so the compiler sees that lines begin at even addresses, and
            // where STEP_W is even too, it reads two pixels at a time.
            int corner = 2 * half * (image * CHANNELS * height + row * STEP_H) + column * STEP_W;
            column += side, row += down;
            if (column >= POW) column -= POW, ++row;
            while (row >= deep) row -= deep, ++image;
            look_ahead();  // memory takes long: the next g is asked for before this one is used
            EACH(c, CHANNELS) EACH(i, PATCH_H) EACH(j, PATCH_W)
                patch[c][i][j] = tile[corner + 2 * half * (c * height + i) + j];
            EACH(u, OUTPUTS) add_products(sums + u * (TAPS + 1), now[u], tap[u], patch);
        }
    }

    Int weights = outputs * TAPS, columns = weights + outputs;
    T* own = partial + blockIdx.x * columns;
    EACH(start, FULL / 32) {
        T sum = sum_of_lanes(sums + 32 * start);
        int e = 32 * start + lane, tap = e % (TAPS + 1);
        Int o = output + e / (TAPS + 1);
        if (e < SUMS && o < outputs) own[tap < TAPS ? o * TAPS + tap : weights + o] = sum;
    }

    add_parts(partial, blockIdx.x, gridDim.x, columns, counters, gridDim.y, [&](Int j, T sum) {
        (j < weights ? dw[j] : db[j - weights]) = sum;
    });
}
