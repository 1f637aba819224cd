// Max- and average pooling, their gradients, and reading at the maxima: a thread for each output.
//
// A GPU has no instruction that divides. A division takes some twenty instructions, or four by a
// number that the compiler knows. So the window is given by options of the compiler: its taps
// TAPS_H x TAPS_W, and STRIDE_H, STRIDE_W, DILATE_H, DILATE_W.

// The place of output e: its row and column, and its image's first pixel in x.
#define PLACE(e) Int column = e % z.OW, line = e / z.OW, row = line % z.OH; \
    const T* image = x + line / z.OH * z.H * z.W

// The pixel under tap (i, j) at this place: its row and its column.
#define UNDER_H(i) (row * STRIDE_H + (i) * DILATE_H - z.TOP)
#define UNDER_W(j) (column * STRIDE_W + (j) * DILATE_W - z.LEFT)

// The maximum of each window; where `rectify` is 1, relu of it. A NaN stays.
extern "C" __global__ void max_pool(const T* x, T* y, Byte* index, Int rectify, Int n,
                                    Geometry z) {
    ELEMENT(e, n);
    PLACE(e);
    Int first = -1;
    T best = -infinity();
    for (int i = 0; i < TAPS_H; ++i)
        for (int j = 0; j < TAPS_W; ++j) {
            Int h = UNDER_H(i), w = UNDER_W(j);
            if (!ON_IMAGE(h, w)) continue;  // padding is never taken
            T value = image[h * z.W + w];
            TAKE(value, i * TAPS_W + j)
        }
    bool off = rectify && !(best > 0);
    y[e] = off && best == best ? (T)0 : best;
    index[e] = (Byte)(off ? NO_TAP : first < 0 ? 0 : first);
}

// x at the pixels that were the maxima; 0 for NO_TAP and in the padding.
extern "C" __global__ void max_take(const T* x, const Byte* index, T* y, Int n, Geometry z) {
    ELEMENT(e, n);
    PLACE(e);
    Int i = index[e] / TAPS_W, j = index[e] % TAPS_W;
    Int h = UNDER_H(i), w = UNDER_W(j);
    y[e] = i < TAPS_H ? PIXEL(image, h, w) : (T)0;
}

// The mean of the pixels under each place; the padding's zeros count.
extern "C" __global__ void avg_pool(const T* x, T* y, Int n, Geometry z) {
    ELEMENT(e, n);
    PLACE(e);
    T sum = 0;
    for (int i = 0; i < TAPS_H; ++i)
        for (int j = 0; j < TAPS_W; ++j) {
            Int h = UNDER_H(i), w = UNDER_W(j);
            sum += PIXEL(image, h, w);
        }
    y[e] = sum / (TAPS_H * TAPS_W);
}

// Along one axis: the places whose windows reach over a pixel, `at` pixels from the padding's edge.
struct Span { Int first, last; };
DEVICE Span over(Int at, Int taps, Int stride, Int dilate, Int places) {
    Int reach = (taps - 1) * dilate;  // from the first tap to the last
    return {max((at - reach + stride - 1) / stride, (Int)0), min(at / stride, places - 1)};
}

// The sum of the g of all places with a tap over pixel e; with an index, only of those places whose
// maximum the pixel was.
DEVICE T sum_over(const T* g, const Byte* index, Int e, const Geometry& z) {
    Int line = e / z.W, right = e % z.W + z.LEFT, down = line % z.H + z.TOP;
    Int plane = line / z.H * z.OH * z.OW;
    Span rows = over(down, TAPS_H, STRIDE_H, DILATE_H, z.OH);
    Span columns = over(right, TAPS_W, STRIDE_W, DILATE_W, z.OW);
    T sum = 0;
    for (Int row = rows.first; row <= rows.last; ++row)
        for (Int column = columns.first; column <= columns.last; ++column) {
            Int h = down - row * STRIDE_H, w = right - column * STRIDE_W;  // from the first tap
            if (h % DILATE_H || w % DILATE_W) continue;                    // between two taps
            Int place = plane + row * z.OW + column, tap = h / DILATE_H * TAPS_W + w / DILATE_W;
            if (!index || index[place] == tap) sum += g[place];
        }
    return sum;
}

extern "C" __global__ void max_unpool(const T* g, const Byte* index, T* x, Int n, Geometry z) {
    ELEMENT(e, n);
    x[e] = sum_over(g, index, e, z);
}

extern "C" __global__ void avg_unpool(const T* g, T* x, Int n, Geometry z) {
    ELEMENT(e, n);
    x[e] = sum_over(g, nullptr, e, z) / (TAPS_H * TAPS_W);
}
