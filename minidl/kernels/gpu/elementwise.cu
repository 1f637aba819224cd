// The gradient of relu: g where y > 0, else 0, even where g is infinite or NaN.
extern "C" __global__ void keep_positive(const T* g, const T* y, T* x, Int n) {
    ELEMENT(e, n);
    x[e] = y[e] > 0 ? g[e] : (T)0;
}

// relu of y + b, in y, where b has a number for each of the `columns` of y. A NaN stays.
extern "C" __global__ void bias_relu(T* y, const T* b, Int columns, Int n) {
    ELEMENT(e, n);
    T value = y[e] + b[e % columns];
    y[e] = value <= 0 ? (T)0 : value;
}
