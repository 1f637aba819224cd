// The gradient of relu: g where y > 0, else 0, even where g is infinite or NaN.
extern "C" __global__ void keep_positive(const T* g, const T* y, T* x, Int n) {
    ELEMENT(e, n);
    x[e] = y[e] > 0 ? g[e] : (T)0;
}
