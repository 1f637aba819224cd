// Convolutions of every geometry: a thread for each output, or a column matrix.

// One output of a convolution: the products of all channels and taps at one place.
DEVICE T at_place(const T* x, const T* w, Int channels, Int row, Int column, Geometry z) {
    T sum = 0;
    for (Int c = 0; c < channels; ++c, x += z.H * z.W)
        for (Int i = 0; i < z.KH; ++i)
            for (Int j = 0; j < z.KW; ++j, ++w)
                sum += *w * UNDER_TAP(x, row, column, i, j);
    return sum;
}

extern "C" __global__ void conv(const T* x, const T* w, const T* b, T* y, Int n, Int channels,
                                Int outputs, Int biased, Geometry z) {
    ELEMENT(e, n);
    Int column = e % z.OW, row = e / z.OW % z.OH, o = e / (z.OW * z.OH) % outputs;
    const T* image = x + e / (z.OW * z.OH * outputs) * channels * z.H * z.W;
    const T* kernel = w + o * channels * z.KH * z.KW;
    T bias = biased ? b[o] : (T)0;
    y[e] = bias + at_place(image, kernel, channels, row, column, z);
}

// columns[n, c, i, j, row, column] = the pixel under tap (i, j) of the window at that place.
extern "C" __global__ void im2col(const T* x, T* columns, Int n, Geometry z) {
    ELEMENT(e, n);
    Int column = e % z.OW, row = e / z.OW % z.OH, tap = e / (z.OW * z.OH) % (z.KH * z.KW);
    const T* image = x + e / (z.OW * z.OH * z.KH * z.KW) * z.H * z.W;
    Int i = tap / z.KW, j = tap % z.KW;
    columns[e] = UNDER_TAP(image, row, column, i, j);
}

// The transpose of im2col: each pixel of x is the sum of the columns' numbers that were read there.
// Tap (i, j) read pixel row h at place `row` if row*SH = h + TOP - i*DH, which SH must divide.
extern "C" __global__ void col2im(const T* columns, T* x, Int n, Geometry z) {
    ELEMENT(e, n);
    Int w = e % z.W, h = e / z.W % z.H;
    const T* image = columns + e / (z.W * z.H) * z.KH * z.KW * z.OH * z.OW;
    T sum = 0;
    for (Int i = 0; i < z.KH; ++i)
        for (Int j = 0; j < z.KW; ++j) {
            Int row = h + z.TOP - i * z.DH, column = w + z.LEFT - j * z.DW;
            if (row < 0 || column < 0 || row % z.SH || column % z.SW) continue;
            row /= z.SH, column /= z.SW;
            if (row >= z.OH || column >= z.OW) continue;
            sum += image[((i * z.KW + j) * z.OH + row) * z.OW + column];
        }
    x[e] = sum;
}

// A block for each weight; its threads divide the images and places among themselves.
extern "C" __global__ void conv_weight(const T* x, const T* g, T* dw, Int images, Int channels,
                                       Int outputs, Geometry z) {
    Int e = blockIdx.x, j = e % z.KW, i = e / z.KW % z.KH;
    Int c = e / (z.KW * z.KH) % channels, o = e / (z.KW * z.KH * channels);
    T sum = 0;
    for (Int p = threadIdx.x; p < images * z.OH * z.OW; p += blockDim.x) {
        Int column = p % z.OW, row = p / z.OW % z.OH, n = p / (z.OW * z.OH);
        const T* image = x + (n * channels + c) * z.H * z.W;
        sum += g[((n * outputs + o) * z.OH + row) * z.OW + column]
             * UNDER_TAP(image, row, column, i, j);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) dw[e] = sum;
}

// Convolution, bias, max-pooling by windows PKH x PKW side by side, and relu where `rectify` is 1.
// A thread computes the convolution at the places of its pooling window and keeps the largest.
extern "C" __global__ void conv_pool(const T* x, const T* w, const T* b, T* y, Byte* index, Int n,
                                     Int channels, Int outputs, Int biased, Int rectify, Int POH,
                                     Int POW, Int PKH, Int PKW, Geometry z) {
    ELEMENT(e, n);
    Int column = e % POW, row = e / POW % POH, o = e / (POW * POH) % outputs, first = -1;
    const T* image = x + e / (POW * POH * outputs) * channels * z.H * z.W;
    const T* kernel = w + o * channels * z.KH * z.KW;
    T best = 0;
    for (Int i = 0; i < PKH; ++i)
        for (Int j = 0; j < PKW; ++j) {
            Int r = row * PKH + i, c = column * PKW + j;
            T value = at_place(image, kernel, channels, r, c, z);
            TAKE(value, i * PKW + j)
        }
    if (biased) best += b[o];
    bool off = rectify && !(best > 0);
    y[e] = off && best == best ? (T)0 : best, index[e] = (Byte)(off ? NO_TAP : first);
}

// A block for each weight, then one for each bias: a bias is the weight of a pixel that is always
// 1.
extern "C" __global__ void conv_pool_grads(const T* x, const T* g, const Byte* index, T* grads,
                                           Int weights, Int images, Int channels, Int outputs,
                                           Int POH, Int POW, Int PKH, Int PKW, Geometry z) {
    bool bias = blockIdx.x >= weights;
    Int e = bias ? (blockIdx.x - weights) * channels * z.KH * z.KW : blockIdx.x;
    Int j = e % z.KW, i = e / z.KW % z.KH;
    Int c = e / (z.KW * z.KH) % channels, o = e / (z.KW * z.KH * channels);
    T sum = 0;
    for (Int p = threadIdx.x; p < images * POH * POW; p += blockDim.x) {
        Int column = p % POW, row = p / POW % POH, n = p / (POW * POH);
        Int place = ((n * outputs + o) * POH + row) * POW + column, tap = index[place];
        if (tap == NO_TAP) continue;
        const T* image = x + (n * channels + c) * z.H * z.W;
        row = row * PKH + tap / PKW, column = column * PKW + tap % PKW;
        sum += g[place] * (bias ? (T)1 : UNDER_TAP(image, row, column, i, j));
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) grads[blockIdx.x] = sum;
}
