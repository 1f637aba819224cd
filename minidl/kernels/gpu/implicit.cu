// Convolutions of many channels: products of matrices, one of which is never stored.
//
// A convolution is a product: the weights, a row for each output channel, times the column matrix.
// That has a column for each place of the window, and a row for each tap and channel: the pixel
// under that tap. It would hold every pixel KH * KW times. So a block of threads makes only the
// piece that it multiplies next, SLICE rows of it, in shared memory.
//
// A block computes a tile of the product. Each thread keeps 64 sums of it in registers, and adds
// 64 products for every 16 numbers that it reads from shared memory. The option ROWS is the tile's
// height, in output channels: 64, or 32 where there are no more than 32.
//
// A sum runs over the taps, and for each tap over the channels. That order never changes.

#define SLICE 8                     // rows of the column matrix in shared memory at a time
#define PLACES (8192 / ROWS)        // columns of a tile of `implicit`: its blocks have 128 threads
#define WEIGHTS (2 * ROWS)          // columns of a tile of `implicit_weight`
#define TEAM (ROWS * WEIGHTS / 64)  // threads of its blocks
#define LINES (TEAM / SLICE)        // threads of a block that read at one place
#define NEAR (WEIGHTS / LINES)      // channels that each of them reads there, under one tap

// With the option TF32, tensor cores multiply, where the GPU has them. They take float32 numbers of
// which they know 10 bits of the mantissa instead of 23, and sum as float32 does.
#if defined(TF32) && (defined(EMULATED) || __CUDA_ARCH__ >= 800)
#define TENSOR 1
#else
#define TENSOR 0
#endif

// Unused numbers at the end of each row in shared memory. That memory has 32 banks, and gives a
// warp one number of each at a time. With the gap, a warp's threads that use several rows at once
// use different banks.
#define GAP (TENSOR ? 8 : 4)

// The next multiple of `to`. Channels are filled up with zeros to there: no loop ends early.
#define UP(n, to) (((n) + (to) - 1) / (to) * (to))

// So many threads must fit into the registers of a multiprocessor, which has 65,536: while some
// wait for memory, others multiply. The compiler keeps to it.
constexpr int ROOM = sizeof(T) == 4 ? 384 : 128;

// Four numbers that are read or written together, at an address that is a multiple of 16.
struct __align__(16) Four { T v[4]; };

#if TENSOR && !defined(EMULATED)
DEVICE float to_tf32(float v) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(v));
    return __uint_as_float(bits);
}
// c (16 x 8) += a (16 x 8) b (8 x 8), each held by a warp in pieces; PTX calls them fragments.
DEVICE void mma(float* c, const float* a, const float* b) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])),
          "r"(__float_as_uint(a[3])), "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}
#endif

// A factor as a tile multiplies it. It is rounded once, before it is stored for many products.
#if TENSOR
#define FACTOR(v) to_tf32(v)
#else
#define FACTOR(v) (v)
#endif

// A thread's part of a tile that has ROWS rows and COLUMNS columns: DOWN rows, and in each of them
// ACROSS columns, four by four side by side. A warp's parts fill 32 x 64 of the tile, so that it
// reads few numbers from shared memory for its products.
template <int COLUMNS> struct Tile {
    static constexpr int DOWN = TENSOR ? 4 : 8, ACROSS = 64 / DOWN;
    int top, left;
    T sum[DOWN][ACROSS];

    __device__ __forceinline__ Tile() {
        int lane = threadIdx.x % 32;
        int below = threadIdx.x / 32 / (COLUMNS / 64), beside = threadIdx.x / 32 % (COLUMNS / 64);
        top = TENSOR ? below * 32 + lane / 4 : below * 16 + lane / 8 * 4;
        left = TENSOR ? beside * 64 + lane % 4 * 4 : beside * 32 + lane % 8 * 4;
        #pragma unroll
        for (int e = 0; e < 64; ++e) sum[e / ACROSS][e % ACROSS] = 0;
    }
    __device__ __forceinline__ int row(int r) const {
        return TENSOR ? top + r * 8 : top + r / 4 * (ROWS / 2) + r % 4;
    }
    __device__ __forceinline__ int column(int s) const {
        return left + s / 4 * (TENSOR ? 16 : COLUMNS / 2) + s % 4;
    }

    // Add the products of a slice of both matrices: sum[r][s] += Σ_k a[k][row(r)] b[k][column(s)].
    typedef T Left[ROWS + GAP], Right[COLUMNS + GAP];
#if TENSOR
    __device__ __forceinline__ void multiply(const Left* a, const Right* b) {
        int lane = threadIdx.x % 32, k = lane % 4;
        float down[2][4], across[4][2][2];
        #pragma unroll
        for (int e = 0; e < 8; ++e)
            down[e / 4][e % 4] = a[k + e / 2 % 2 * 4][top + e / 4 * 16 + e % 2 * 8];
        // The columns of b belong to two fragments in turn. So four sums of a thread, two of each
        // fragment, lie side by side.
        #pragma unroll
        for (int e = 0; e < 8; ++e) {
            int at = left - k * 4 + e / 2 * 16 + lane / 4 * 2;
            float2 two = *(const float2*)&b[k + e % 2 * 4][at];
            across[e / 2][0][e % 2] = two.x, across[e / 2][1][e % 2] = two.y;
        }
        #pragma unroll
        for (int e = 0; e < 16; ++e) {
            int r = e / 8 * 2, s = e / 2 % 4 * 4 + e % 2;
            float c[4] = {sum[r][s], sum[r][s + 2], sum[r + 1][s], sum[r + 1][s + 2]};
            mma(c, down[e / 8], across[e / 2 % 4][e % 2]);
            sum[r][s] = c[0], sum[r][s + 2] = c[1], sum[r + 1][s] = c[2], sum[r + 1][s + 2] = c[3];
        }
    }
#else
    __device__ __forceinline__ void multiply(const Left* a, const Right* b) {
        #pragma unroll
        for (int k = 0; k < SLICE; ++k) {
            Four down[2], across[2];
            #pragma unroll
            for (int h = 0; h < 2; ++h) {
                down[h] = *(const Four*)&a[k][row(4 * h)];
                across[h] = *(const Four*)&b[k][column(4 * h)];
            }
            #pragma unroll
            for (int r = 0; r < 8; ++r)
                #pragma unroll
                for (int s = 0; s < 8; ++s)
                    sum[r][s] += down[r / 4].v[r % 4] * across[s / 4].v[s % 4];
        }
    }
#endif
};

// The weights (O, C, taps) in the order in which `implicit` reads them: (taps, from, to). For the
// convolution itself `from` are the input channels and `to` the outputs; for the input gradient
// (back = 1) the other way round. Zeros fill `from` up to whole slices and `to` up to whole tiles.
extern "C" __global__ void in_slices(const T* w, T* slices, Int n, Int from, Int to, Int taps,
                                     Int back) {
    ELEMENT(e, n);
    Int wide = UP(to, ROWS), deep = UP(from, SLICE);
    Int m = e % wide, k = e / wide % deep, tap = e / (wide * deep);
    Int at = back ? k * to + m : m * from + k;
    slices[e] = m < to && k < from ? FACTOR(w[at * taps + tap]) : (T)0;
}

// An input gradient is a convolution of g. At each tap, a pixel gets the weight times the g of the
// place at which the tap lay over that pixel:
//     place * stride = pixel + padding - tap * dilation
// There is such a place only if the stride divides the right side. Its remainder depends on the
// tap and on the pixel's *phase*, pixel % stride. So each block takes pixels of one phase: it skips
// the taps that reach none of them, and at the other taps no thread is idle. Neighbours of one
// phase are `stride` pixels apart, and their places are neighbours.

// The gradient at one pixel, from the places that exist. A tile takes g = 0 at places outside. That
// is wrong for a weight that is infinite or NaN: 0 times it is NaN, but there is nothing to add.
// So the sums of a tile that are NaN are computed again here.
DEVICE T pixel_gradient(const T* g, const T* w, Int from, Int wide, Int h, Int v, Geometry z) {
    T sum = 0;
    for (Int tap = 0; tap < z.KH * z.KW; ++tap) {
        Int row = h + z.TOP - tap / z.KW * z.DH, column = v + z.LEFT - tap % z.KW * z.DW;
        if (row < 0 || column < 0 || row % z.SH || column % z.SW) continue;
        row /= z.SH, column /= z.SW;
        if (row >= z.OH || column >= z.OW) continue;
        for (Int k = 0; k < from; ++k)
            sum += w[(tap * UP(from, SLICE) + k) * wide] * g[(k * z.OH + row) * z.OW + column];
    }
    return sum;
}

// y[n, m, place] = b[m] + the sum over taps and channels k < `from` of w[tap, k, m] times the
// number of x under the tap, for m < `to`. In the input gradient (back = 1) x is g and y is dx;
// the pixels of dx are the columns of the product, and are called places here too.
// Blocks in x: PLACES places each, phase after phase. Blocks in y: ROWS channels of y each.
extern "C" __global__ void __launch_bounds__(128, ROOM / 128) implicit(
        const T* x, const T* w, const T* b, T* y, Int images, Int from, Int to, Int biased,
        Int back, Geometry z) {
    constexpr int OWN = PLACES / 128;  // places whose numbers a thread brings to shared memory
    // Two slices of both matrices: one is multiplied while the next is on its way.
    __shared__ __align__(16) T weights[2][SLICE][ROWS + GAP], pixels[2][SLICE][PLACES + GAP];
    Int height = back ? z.OH : z.H, width = back ? z.OW : z.W, plane = height * width;  // of x
    Int rows = back ? (z.H + z.SH - 1) / z.SH : z.OH;     // places of an image, of one phase
    Int across = back ? (z.W + z.SW - 1) / z.SW : z.OW;
    Int places = images * rows * across, blocks = (places + PLACES - 1) / PLACES;
    Int phase = blockIdx.x / blocks, p0 = blockIdx.x % blocks * PLACES, m0 = blockIdx.y * ROWS;
    Int below = phase / z.SW, beside = phase % z.SW;      // the phase, down and across
    Int wide = UP(to, ROWS), deep = UP(from, SLICE);
    const int own = threadIdx.x;

    // The thread's places: their images, and the row and column that lie under a tap at (0, 0).
    const T* image[OWN];
    Int row0[OWN], column0[OWN];
    #pragma unroll
    for (int s = 0; s < OWN; ++s) {
        Int place = p0 + own + s * 128, n = place / (rows * across);
        Int r = place / across % rows, q = place % across;
        image[s] = x + (place < places ? n : 0) * from * plane;
        row0[s] = back ? r : r * z.SH - z.TOP, column0[s] = back ? q : q * z.SW - z.LEFT;
    }

    // Go to the first tap from (i, j) on that reaches the phase; false if there is none. For each
    // place one test, whether the tap lies on the image, serves all channels: their numbers lie
    // `plane` apart.
    Int i = 0, j = 0, k0 = 0, offset[OWN];
    bool inside[OWN];
    auto aim = [&]() {
        for (; i < z.KH; ++i, j = 0)
            for (; j < z.KW; ++j) {
                Int down = i * z.DH, right = j * z.DW;
                if (back) {
                    down = below + z.TOP - down, right = beside + z.LEFT - right;
                    if (down % z.SH || right % z.SW) continue;
                    down /= z.SH, right /= z.SW;
                }
                #pragma unroll
                for (int s = 0; s < OWN; ++s) {
                    Int row = row0[s] + down, column = column0[s] + right;
                    inside[s] = p0 + own + s * 128 < places && row >= 0 && row < height
                             && column >= 0 && column < width;
                    offset[s] = row * width + column;
                }
                return true;
            }
        return false;
    };

    // Read the slice of tap (i, j) that begins at channel k0 into registers; then store it.
    Four weight;
    T pixel[OWN][SLICE];
    const int k = own / (ROWS / 4), m = own % (ROWS / 4) * 4;
    auto fetch = [&]() {
        const T* from_w = w + ((i * z.KW + j) * deep + k0 + k) * wide + m0 + m;
        if (k < SLICE) weight = *(const Four*)from_w;
        #pragma unroll
        for (int s = 0; s < OWN; ++s)
            #pragma unroll
            for (int c = 0; c < SLICE; ++c) {
                bool there = inside[s] && k0 + c < from;
                pixel[s][c] = there ? image[s][(k0 + c) * plane + offset[s]] : (T)0;
            }
    };
    auto store = [&](int half) {
        if (k < SLICE) *(Four*)&weights[half][k][m] = weight;
        #pragma unroll
        for (int s = 0; s < OWN; ++s)
            #pragma unroll
            for (int c = 0; c < SLICE; ++c)
                pixels[half][c][own + s * 128] = FACTOR(pixel[s][c]);
    };

    auto next = [&]() {  // go to the next slice; false after the last one
        k0 += SLICE;
        if (k0 < deep) return true;
        k0 = 0, ++j;
        return aim();
    };

    Tile<PLACES> tile;
    if (aim()) {
        int half = 0;
        fetch(), store(half);
        __syncthreads();  // all have stored their numbers
        for (; next(); half ^= 1) {
            fetch();
            tile.multiply(weights[half], pixels[half]);
            store(half ^ 1);
            __syncthreads();  // besides, nobody reads `half` any more
        }
        tile.multiply(weights[half], pixels[half]);
    }

    // Write the sums, four by four where four places lie side by side in y for sure.
    Int size = back ? z.H * z.W : z.OH * z.OW;  // of a channel of y
    bool dense = size % 4 == 0 && (!back || z.SH * z.SW == 1), mend = false;
    // Where column s of the thread lies in channel 0 of y; -1 if there is no such place.
    auto target = [&](int s) -> Int {
        Int place = p0 + tile.column(s), n = place / (rows * across);
        Int r = place / across % rows, q = place % across;
        if (back) r = r * z.SH + below, q = q * z.SW + beside;
        bool some = place < places && (!back || (r < z.H && q < z.W));
        return some ? n * to * size + r * (back ? z.W : z.OW) + q : -1;
    };
    #pragma unroll
    for (int h = 0; h < tile.ACROSS; h += 4) {
        Int at[4];
        #pragma unroll
        for (int s = 0; s < 4; ++s) at[s] = target(h + s);
        #pragma unroll
        for (int r = 0; r < tile.DOWN; ++r) {
            Int channel = m0 + tile.row(r);
            if (channel >= to) continue;
            T bias = biased ? b[channel] : (T)0;
            Four four;
            #pragma unroll
            for (int s = 0; s < 4; ++s) {
                four.v[s] = tile.sum[r][h + s] + bias;
                mend |= four.v[s] != four.v[s];
            }
            if (dense && at[0] >= 0) *(Four*)(y + at[0] + channel * size) = four;
            #pragma unroll
            for (int s = 0; s < 4; ++s)
                if (!dense && at[s] >= 0) y[at[s] + channel * size] = four.v[s];
        }
    }
    if (!back || !mend) return;
    #pragma unroll 1
    for (int e = 0; e < 64; ++e) {
        Int channel = m0 + tile.row(e / tile.ACROSS), at = target(e % tile.ACROSS);
        if (channel >= to || at < 0) continue;
        Int n = at / (to * size), h = at % size / z.W, v = at % z.W;
        T* sum = y + at + channel * size;
        if (*sum != *sum)
            *sum = pixel_gradient(x + n * from * plane, w + channel, from, wide, h, v, z);
    }
}

// The weight gradient is a product too: dw[m, tap, c] is the sum over all places of all images of
// g[m, place] times the pixel of channel c under the tap. These sums are long, and there are few of
// them: too few tiles for a GPU. So each sum is cut into pieces of `chunk` slices of SLICE places.
// A block writes its piece of a tile's sums to pieces[piece, m, tap, c]. `add_pieces` then adds the
// pieces, always in the same way. Blocks in x: the tiles. Blocks in y: the pieces.
//
// In each slice a thread reads at one place: ROWS / LINES channels of g, and NEAR channels of x
// under one tap, so that one test serves them. Column p of a tile is not its p-th weight but number
// p % LINES * NEAR + p / LINES: what neighbouring threads store at a time lies side by side.
extern "C" __global__ void __launch_bounds__(TEAM, ROOM / TEAM) implicit_weight(
        const T* x, const T* g, T* pieces, Int images, Int C, Int O, Int chunk, Geometry z) {
    __shared__ __align__(16) T grads[2][SLICE][ROWS + GAP], pixels[2][SLICE][WEIGHTS + GAP];
    Int deep = UP(C, NEAR), count = z.KH * z.KW * deep, across = (count + WEIGHTS - 1) / WEIGHTS;
    Int m0 = blockIdx.x / across * ROWS, w0 = blockIdx.x % across * WEIGHTS;
    int lane = threadIdx.x % SLICE, line = threadIdx.x / SLICE;
    Int tap = (w0 + line * NEAR) / deep, c0 = (w0 + line * NEAR) % deep;
    Int down = tap / z.KW * z.DH - z.TOP, right = tap % z.KW * z.DW - z.LEFT;
    Int plane = z.H * z.W, size = z.OH * z.OW;

    Int step = blockIdx.y * chunk, end = min(step + chunk, (images * size + SLICE - 1) / SLICE);
    Int place = step * SLICE + lane, n = place / size, r = place % size / z.OW, q = place % z.OW;
    T grad[ROWS / LINES], pixel[NEAR];
    auto fetch = [&]() {
        Int row = r * z.SH + down, column = q * z.SW + right;
        bool some = n < images, inside = some && tap < z.KH * z.KW && ON_IMAGE(row, column);
        const T* from = g + (n * O + m0 + line) * size + r * z.OW + q;
        #pragma unroll
        for (int s = 0; s < ROWS / LINES; ++s)
            grad[s] = some && m0 + line + s * LINES < O ? from[s * LINES * size] : (T)0;
        from = x + (n * C + c0) * plane + row * z.W + column;
        #pragma unroll
        for (int s = 0; s < NEAR; ++s)
            pixel[s] = inside && c0 + s < C ? from[s * plane] : (T)0;
        for (q += SLICE; q >= z.OW; q -= z.OW)  // the thread's place in the next slice
            if (++r == z.OH) r = 0, ++n;
    };
    auto store = [&](int half) {
        #pragma unroll
        for (int s = 0; s < ROWS / LINES; ++s)
            grads[half][lane][line + s * LINES] = FACTOR(grad[s]);
        #pragma unroll
        for (int s = 0; s < NEAR; ++s)
            pixels[half][lane][line + s * LINES] = FACTOR(pixel[s]);
    };

    Tile<WEIGHTS> tile;
    int half = 0;
    fetch(), store(half);
    __syncthreads();
    for (; ++step < end; half ^= 1) {
        fetch();
        tile.multiply(grads[half], pixels[half]);
        store(half ^ 1);
        __syncthreads();
    }
    tile.multiply(grads[half], pixels[half]);
    #pragma unroll
    for (int e = 0; e < 64; ++e) {
        int r = e / tile.ACROSS, s = e % tile.ACROSS, p = tile.column(s);
        Int m = m0 + tile.row(r), number = w0 + p % LINES * NEAR + p / LINES;
        if (m < O && number < count)
            pieces[(blockIdx.y * O + m) * count + number] = tile.sum[r][s];
    }
}

// dw[o, c, tap] = the sum over the pieces of pieces[piece, o, tap, c]. A block has 32 neighbouring
// weights. Each of its 8 warps adds every 8th piece of them, and the first warp the 8 sums.
extern "C" __global__ void add_pieces(const T* pieces, T* dw, Int count, Int O, Int C, Int taps) {
    __shared__ T share[8][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    Int deep = UP(C, NEAR), size = O * taps * deep, e = blockIdx.x * (Int)32 + lane;
    T sum = 0;
    if (e < size)
        for (Int piece = warp; piece < count; piece += 8) sum += pieces[piece * size + e];
    share[warp][lane] = sum;
    __syncthreads();
    Int o = e / (taps * deep), tap = e / deep % taps, c = e % deep;
    if (warp > 0 || e >= size || c >= C) return;
    for (int other = 1; other < 8; ++other) sum += share[other][lane];
    dw[(o * C + c) * taps + tap] = sum;
}
