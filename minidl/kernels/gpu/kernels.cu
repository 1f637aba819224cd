// The CUDA kernels. launch.py and update.py say what each is for, and launch them.
//
// The compiler's options define REAL (float or double) and TEAM: a block of `matmul` has
// TEAM x TEAM threads. Indices are 64 bits wide, because a large batch of images may have more than
// 2^31 elements.

typedef REAL T;  // float or double
typedef long long Int;
typedef unsigned char Byte;
typedef unsigned long long Address;

// The window that slides over an image: image H x W, places OH x OW, taps KH x KW, stride SH x SW,
// dilation DH x DW, and the zeros of the padding above (TOP) and to the left (LEFT).
#define GEOMETRY \
    Int H, Int W, Int OH, Int OW, Int KH, Int KW, Int SH, Int SW, Int DH, Int DW, Int TOP, Int LEFT
#define SAME_GEOMETRY H, W, OH, OW, KH, KW, SH, SW, DH, DW, TOP, LEFT

// The index i of this thread's element; a thread past the last of n elements returns at once.
#define ELEMENT(i, n) Int i = (Int)blockIdx.x * blockDim.x + threadIdx.x; if (i >= n) return

static __device__ T infinity() { return -log((T)0); }

// Pixel (row, column) of an image x, or 0 in the padding around it.
#define ON_IMAGE(row, column) ((row) >= 0 && (row) < H && (column) >= 0 && (column) < W)
#define PIXEL(x, row, column) (ON_IMAGE(row, column) ? (x)[(row) * W + (column)] : (T)0)

// The sum of the numbers `own` of a block's threads, in share[0]. It is added in pairs, in an order
// that never changes, so that rounding is the same in every run.
static __device__ void add_up(T* share, T own) {
    share[threadIdx.x] = own;
    __syncthreads();
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) share[threadIdx.x] += share[threadIdx.x + half];
        __syncthreads();
    }
}

// One output of a convolution: the products of all channels and taps at one place.
static __device__ T at_place(const T* x, const T* w, Int channels, Int row, Int column, GEOMETRY) {
    T sum = 0;
    for (Int c = 0; c < channels; ++c, x += H * W)
        for (Int i = 0; i < KH; ++i)
            for (Int j = 0; j < KW; ++j, ++w)
                sum += *w * PIXEL(x, row * SH + i * DH - TOP, column * SW + j * DW - LEFT);
    return sum;
}

extern "C" __global__ void conv(const T* x, const T* w, const T* b, T* y, Int n, Int channels,
                                Int outputs, Int biased, GEOMETRY) {
    ELEMENT(e, n);
    Int column = e % OW, row = e / OW % OH, o = e / (OW * OH) % outputs;
    const T* image = x + e / (OW * OH * outputs) * channels * H * W;
    const T* kernel = w + o * channels * KH * KW;
    T bias = biased ? b[o] : (T)0;
    y[e] = bias + at_place(image, kernel, channels, row, column, SAME_GEOMETRY);
}

// columns[n, c, i, j, row, column] = the pixel under tap (i, j) of the window at that place.
extern "C" __global__ void im2col(const T* x, T* columns, Int n, GEOMETRY) {
    ELEMENT(e, n);
    Int column = e % OW, row = e / OW % OH, tap = e / (OW * OH) % (KH * KW);
    const T* image = x + e / (OW * OH * KH * KW) * H * W;
    Int i = tap / KW, j = tap % KW;
    columns[e] = PIXEL(image, row * SH + i * DH - TOP, column * SW + j * DW - LEFT);
}

// The transpose of im2col: each pixel of x is the sum of the columns' numbers that were read there.
// Tap (i, j) read pixel row h at place `row` if row*SH = h + TOP - i*DH, which SH must divide.
extern "C" __global__ void col2im(const T* columns, T* x, Int n, GEOMETRY) {
    ELEMENT(e, n);
    Int w = e % W, h = e / W % H;
    const T* image = columns + e / (W * H) * KH * KW * OH * OW;
    T sum = 0;
    for (Int i = 0; i < KH; ++i)
        for (Int j = 0; j < KW; ++j) {
            Int row = h + TOP - i * DH, column = w + LEFT - j * DW;
            if (row < 0 || column < 0 || row % SH || column % SW) continue;
            row /= SH, column /= SW;
            if (row < OH && column < OW) sum += image[((i * KW + j) * OH + row) * OW + column];
        }
    x[e] = sum;
}

// A block for each weight; its threads divide the images and places among themselves.
extern "C" __global__ void conv_weight(const T* x, const T* g, T* dw, Int images, Int channels,
                                       Int outputs, GEOMETRY) {
    __shared__ T share[1024];
    Int e = blockIdx.x, j = e % KW, i = e / KW % KH;
    Int c = e / (KW * KH) % channels, o = e / (KW * KH * channels);
    T sum = 0;
    for (Int p = threadIdx.x; p < images * OH * OW; p += blockDim.x) {
        Int column = p % OW, row = p / OW % OH, n = p / (OW * OH);
        const T* image = x + (n * channels + c) * H * W;
        sum += g[((n * outputs + o) * OH + row) * OW + column]
             * PIXEL(image, row * SH + i * DH - TOP, column * SW + j * DW - LEFT);
    }
    add_up(share, sum);
    if (threadIdx.x == 0) dw[e] = share[0];
}

// Keep `value` as the best if it is larger than the best so far, or the first NaN, or the first of
// all values.
#define TAKE(value, tap) if ((value) > best || ((value) != (value) && best == best) || first < 0) \
    { best = (value); first = (tap); }

extern "C" __global__ void max_pool(const T* x, T* y, Byte* index, Int n, GEOMETRY) {
    ELEMENT(e, n);
    Int column = e % OW, row = e / OW % OH, first = -1;
    const T* image = x + e / (OW * OH) * H * W;
    T best = -infinity();
    for (Int i = 0; i < KH; ++i)
        for (Int j = 0; j < KW; ++j) {
            Int h = row * SH + i * DH - TOP, w = column * SW + j * DW - LEFT;
            if (!ON_IMAGE(h, w)) continue;  // padding is never taken
            T value = image[h * W + w];
            TAKE(value, i * KW + j)
        }
    y[e] = best, index[e] = (Byte)(first < 0 ? 0 : first);
}

// Each pixel of x is the sum of the g of those windows whose maximum it was.
extern "C" __global__ void max_unpool(const T* g, const Byte* index, T* x, Int n, GEOMETRY) {
    ELEMENT(e, n);
    Int w = e % W, h = e / W % H, plane = e / (W * H) * OH * OW;
    T sum = 0;
    for (Int i = 0; i < KH; ++i)
        for (Int j = 0; j < KW; ++j) {
            Int row = h + TOP - i * DH, column = w + LEFT - j * DW;
            if (row < 0 || column < 0 || row % SH || column % SW) continue;
            row /= SH, column /= SW;
            Int place = plane + row * OW + column;
            if (row < OH && column < OW && index[place] == i * KW + j) sum += g[place];
        }
    x[e] = sum;
}

#define NO_TAP 255  // the index where relu gave 0, so that no pixel gets a gradient

// Convolution, bias, max-pooling by windows PKH x PKW side by side, and relu where `rectify` is 1.
// A thread computes the convolution at the places of its pooling window and keeps the largest.
extern "C" __global__ void conv_pool(const T* x, const T* w, const T* b, T* y, Byte* index, Int n,
                                     Int channels, Int outputs, Int biased, Int rectify, Int POH,
                                     Int POW, Int PKH, Int PKW, GEOMETRY) {
    ELEMENT(e, n);
    Int column = e % POW, row = e / POW % POH, o = e / (POW * POH) % outputs, first = -1;
    const T* image = x + e / (POW * POH * outputs) * channels * H * W;
    const T* kernel = w + o * channels * KH * KW;
    T best = 0;
    for (Int i = 0; i < PKH; ++i)
        for (Int j = 0; j < PKW; ++j) {
            Int r = row * PKH + i, c = column * PKW + j;
            T value = at_place(image, kernel, channels, r, c, SAME_GEOMETRY);
            TAKE(value, i * PKW + j)
        }
    if (biased) best += b[o];
    bool off = rectify && !(best > 0);
    y[e] = off && best == best ? (T)0 : best, index[e] = (Byte)(off ? NO_TAP : first);
}

// A block for each weight, then one for each bias: a bias is the weight of a pixel that is always 1.
extern "C" __global__ void conv_pool_grads(const T* x, const T* g, const Byte* index, T* grads,
                                           Int weights, Int images, Int channels, Int outputs,
                                           Int POH, Int POW, Int PKH, Int PKW, GEOMETRY) {
    __shared__ T share[1024];
    bool bias = blockIdx.x >= weights;
    Int e = bias ? (blockIdx.x - weights) * channels * KH * KW : blockIdx.x;
    Int j = e % KW, i = e / KW % KH;
    Int c = e / (KW * KH) % channels, o = e / (KW * KH * channels);
    T sum = 0;
    for (Int p = threadIdx.x; p < images * POH * POW; p += blockDim.x) {
        Int column = p % POW, row = p / POW % POH, n = p / (POW * POH);
        Int place = ((n * outputs + o) * POH + row) * POW + column, tap = index[place];
        if (tap == NO_TAP) continue;
        const T* image = x + (n * channels + c) * H * W;
        sum += g[place] * (bias ? (T)1 : PIXEL(image, (row * PKH + tap / PKW) * SH + i * DH - TOP,
                                               (column * PKW + tap % PKW) * SW + j * DW - LEFT));
    }
    add_up(share, sum);
    if (threadIdx.x == 0) grads[blockIdx.x] = share[0];
}

// The gradient of relu: g where y > 0, else 0, even where g is infinite or NaN.
extern "C" __global__ void keep_positive(const T* g, const T* y, T* x, Int n) {
    ELEMENT(e, n);
    x[e] = y[e] > 0 ? g[e] : (T)0;
}

// One block; a thread takes every blockDim-th row. A row's largest logit is subtracted first, so
// that exp cannot overflow. At the label, softmax - 1 is taken as minus the sum of the others, which
// keeps its digits where the label's own softmax is near 1.
extern "C" __global__ void cross_entropy(const T* logits, const Int* labels, T* loss, T* grad,
                                         Int rows, Int classes) {
    __shared__ T share[1024];
    T own = 0;
    for (Int r = threadIdx.x; r < rows; r += blockDim.x) {
        const T* x = logits + r * classes;
        T* d = grad + r * classes;
        T largest = x[0], sum = 0, others = 0;
        for (Int k = 1; k < classes; ++k) if (x[k] > largest || x[k] != x[k]) largest = x[k];
        for (Int k = 0; k < classes; ++k) sum += d[k] = exp(x[k] - largest);
        for (Int k = 0; k < classes; ++k) if (k != labels[r]) others += d[k];
        for (Int k = 0; k < classes; ++k) d[k] = (k == labels[r] ? -others : d[k]) / sum / rows;
        bool known = labels[r] >= 0 && labels[r] < classes;
        own += known ? log(sum) - (x[labels[r]] - largest) : infinity() - infinity();
    }
    add_up(share, own);
    if (threadIdx.x == 0) *loss = share[0] / rows;
}

// c = a b for a batch of matrices a (M x K) and b (K x N). The batch has two axes, the inner one of
// length INNER. A block of TEAM x TEAM threads computes a tile of SIDE x SIDE elements of one
// product; each thread computes 4 x 4 of them, TEAM apart. The block reads SLICE columns of a and
// SLICE rows of b into shared memory at a time, once for the whole tile. The strides A_OUT ... B_N
// say how far apart neighbours lie in memory, so a transposed or repeated matrix needs no copy.
#define SIDE (4 * TEAM)
#define SLICE 16
extern "C" __global__ void matmul(const T* a, const T* b, T* c, Int M, Int N, Int K, Int INNER,
                                  Int A_OUT, Int A_IN, Int A_M, Int A_K,
                                  Int B_OUT, Int B_IN, Int B_K, Int B_N) {
    __shared__ T left[SLICE][SIDE], right[SLICE][SIDE];
    Int across = (N + SIDE - 1) / SIDE, tiles = (M + SIDE - 1) / SIDE * across;
    Int product = blockIdx.x / tiles, tile = blockIdx.x % tiles;
    Int top = tile / across * SIDE, first = tile % across * SIDE;
    a += product / INNER * A_OUT + product % INNER * A_IN;
    b += product / INNER * B_OUT + product % INNER * B_IN;
    int i = threadIdx.x / TEAM, j = threadIdx.x % TEAM;
    T sum[4][4] = {};
    for (Int start = 0; start < K; start += SLICE) {
        for (int e = threadIdx.x; e < SIDE * SLICE; e += TEAM * TEAM) {
            // Neighbouring threads read along the axis that is dense in memory.
            int k = A_K == 1 ? e % SLICE : e / SIDE, m = A_K == 1 ? e / SLICE : e % SIDE;
            bool inside = top + m < M && start + k < K;
            left[k][m] = inside ? a[(top + m) * A_M + (start + k) * A_K] : (T)0;
            k = B_K == 1 ? e % SLICE : e / SIDE, m = B_K == 1 ? e / SLICE : e % SIDE;
            inside = first + m < N && start + k < K;
            right[k][m] = inside ? b[(start + k) * B_K + (first + m) * B_N] : (T)0;
        }
        __syncthreads();
        for (int k = 0; k < SLICE; ++k)
            for (int r = 0; r < 4; ++r)
                for (int s = 0; s < 4; ++s)
                    sum[r][s] += left[k][i + r * TEAM] * right[k][j + s * TEAM];
        __syncthreads();
    }
    for (int r = 0; r < 4; ++r)
        for (int s = 0; s < 4; ++s) {
            Int row = top + i + r * TEAM, column = first + j + s * TEAM;
            if (row < M && column < N) c[(product * M + row) * N + column] = sum[r][s];
        }
}

// The optimizers' steps: all parameters in one launch, as if they were one long array. Row p of
// `table` has the place where parameter p ends in it, then the addresses of theta, g and the slots.
// A thread searches the row of its element. Row p of `numbers` has the rule's numbers (update.py).
#define FLAT(columns) \
    ELEMENT(e, n); \
    Int p = 0; \
    while (e >= (Int)table[p * (columns)]) ++p; \
    const Address* row = table + p * (columns); \
    if (p > 0) e -= (Int)table[(p - 1) * (columns)]; \
    T* theta = (T*)row[1] + e; \
    T g = ((const T*)row[2])[e]

// numbers: lr, momentum, weight decay, nesterov
extern "C" __global__ void sgd(const Address* table, const double* numbers, Int n) {
    FLAT(4);
    const double* a = numbers + p * 4;
    g += (T)a[2] * *theta;
    if (a[1] != 0) {
        T* v = (T*)row[3] + e;
        *v = (T)a[1] * *v + g;
        g = a[3] != 0 ? g + (T)a[1] * *v : *v;
    }
    *theta -= (T)a[0] * g;
}

// numbers: lr, alpha, eps, weight decay
extern "C" __global__ void rmsprop(const Address* table, const double* numbers, Int n) {
    FLAT(4);
    const double* a = numbers + p * 4;
    T* s = (T*)row[3] + e;
    g += (T)a[3] * *theta;
    *s = (T)a[1] * *s + (T)(1 - a[1]) * g * g;
    *theta -= (T)a[0] * g / (sqrt(*s) + (T)a[2]);
}

// numbers: lr/(1 - b1^t), b1, b2, sqrt(1 - b2^t), eps, weight decay of g, factor of theta
extern "C" __global__ void adam(const Address* table, const double* numbers, Int n) {
    FLAT(5);
    const double* a = numbers + p * 7;
    T *m = (T*)row[3] + e, *v = (T*)row[4] + e;
    T old = *theta * (T)a[6];
    g += (T)a[5] * *theta;
    *m = (T)a[1] * *m + (T)(1 - a[1]) * g;
    *v = (T)a[2] * *v + (T)(1 - a[2]) * g * g;
    *theta = old - (T)a[0] * *m / (sqrt(*v) / (T)a[3] + (T)a[4]);
}
