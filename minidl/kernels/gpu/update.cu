// The optimizers' steps: all parameters in one launch, as if they were one long array. Row p of
// `table` has the place where parameter p ends in it, then the addresses of theta, g and the slots.
// A thread searches the row of its element. Row p of `numbers` has the rule's numbers (update.py).
//
// An ordinary step passes both tables by value, as part of the launch: nothing has to be copied to
// the GPU before. A step in a CUDA graph (option GUARDED) reads them from arrays. There `verdict`
// (see whole.cu) says whether the step may be taken, and by which factor clipping makes the
// gradients smaller.
#define COLUMNS 5  // of `table`
#define NUMBERS 8  // columns of `numbers`
#ifdef GUARDED
#define TABLES const Address* table, const double* numbers, const double* verdict
#define READ_TABLES
#define JUDGED(g) if (verdict[0] == 0) return; g = (T)(g * verdict[1])
#else
struct Tables {  // ROWS is the most parameters that one launch takes
    Address table[ROWS * COLUMNS];
    double numbers[ROWS * NUMBERS];
};
#define TABLES const __grid_constant__ Tables tables
#define READ_TABLES const Address* table = tables.table; const double* numbers = tables.numbers;
#define JUDGED(g)
#endif

#define FLAT \
    ELEMENT(e, n); \
    READ_TABLES \
    Int p = 0; \
    while (e >= (Int)table[p * COLUMNS]) ++p; \
    const Address* row = table + p * COLUMNS; \
    if (p > 0) e -= (Int)table[(p - 1) * COLUMNS]; \
    const double* a = numbers + p * NUMBERS; \
    T* theta = (T*)row[1] + e; \
    T g = ((const T*)row[2])[e]; \
    JUDGED(g)

// numbers: lr, momentum, weight decay, nesterov
extern "C" __global__ void sgd(TABLES, Int n) {
    FLAT;
    g += (T)a[2] * *theta;
    if (a[1] != 0) {
        T* v = (T*)row[3] + e;
        *v = (T)a[1] * *v + g;
        g = a[3] != 0 ? g + (T)a[1] * *v : *v;
    }
    *theta -= (T)a[0] * g;
}

// numbers: lr, alpha, eps, weight decay
extern "C" __global__ void rmsprop(TABLES, Int n) {
    FLAT;
    T* s = (T*)row[3] + e;
    g += (T)a[3] * *theta;
    *s = (T)a[1] * *s + (T)(1 - a[1]) * g * g;
    *theta -= (T)a[0] * g / (sqrt(*s) + (T)a[2]);
}

// numbers: lr/(1 - b1^t), b1, b2, sqrt(1 - b2^t), eps, weight decay of g, factor of theta
extern "C" __global__ void adam(TABLES, Int n) {
    FLAT;
    T *m = (T*)row[3] + e, *v = (T*)row[4] + e;
    T old = *theta * (T)a[6];
    g += (T)a[5] * *theta;
    *m = (T)a[1] * *m + (T)(1 - a[1]) * g;
    *v = (T)a[2] * *v + (T)(1 - a[2]) * g * g;
    *theta = old - (T)a[0] * *m / (sqrt(*v) / (T)a[3] + (T)a[4]);
}
