// Max-pooling, and its gradient.

extern "C" __global__ void max_pool(const T* x, T* y, Byte* index, Int n, Geometry z) {
    ELEMENT(e, n);
    Int column = e % z.OW, row = e / z.OW % z.OH, first = -1;
    const T* image = x + e / (z.OW * z.OH) * z.H * z.W;
    T best = -infinity();
    for (Int i = 0; i < z.KH; ++i)
        for (Int j = 0; j < z.KW; ++j) {
            Int h = row * z.SH + i * z.DH - z.TOP, w = column * z.SW + j * z.DW - z.LEFT;
            if (!ON_IMAGE(h, w)) continue;  // padding is never taken
            T value = image[h * z.W + w];
            TAKE(value, i * z.KW + j)
        }
    y[e] = best, index[e] = (Byte)(first < 0 ? 0 : first);
}

// Each pixel of x is the sum of the g of those windows whose maximum it was.
extern "C" __global__ void max_unpool(const T* g, const Byte* index, T* x, Int n, Geometry z) {
    ELEMENT(e, n);
    Int w = e % z.W, h = e / z.W % z.H, plane = e / (z.W * z.H) * z.OH * z.OW;
    T sum = 0;
    for (Int i = 0; i < z.KH; ++i)
        for (Int j = 0; j < z.KW; ++j) {
            Int row = h + z.TOP - i * z.DH, column = w + z.LEFT - j * z.DW;
            if (row < 0 || column < 0 || row % z.SH || column % z.SW) continue;
            row /= z.SH, column /= z.SW;
            Int place = plane + row * z.OW + column;
            if (row < z.OH && column < z.OW && index[place] == i * z.KW + j) sum += g[place];
        }
    x[e] = sum;
}
