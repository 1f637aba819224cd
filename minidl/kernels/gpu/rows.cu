// Softmax, its logarithm and standardisation: each row of x by itself, in one launch.
//
// A team of TEAM neighbouring threads (1, 2, 4, ... 32) takes a row; each thread has every TEAM-th
// number. The threads of a warp shuffle together, so a team without a row takes the last one again,
// and stores nothing. Sums are double, because a float sum of many numbers loses digits. A GPU waits
// for memory here, not for its arithmetic.

#define ROW \
    Int lane = threadIdx.x % TEAM; \
    Int row = (Int)blockIdx.x * (blockDim.x / TEAM) + threadIdx.x / TEAM; \
    bool own = row < rows; \
    Int start = min(row, rows - 1) * columns
#define EACH(k) for (Int k = lane; k < columns; k += TEAM)

// The largest number of a row. A NaN need not be it: it makes the sum of the powers NaN.
DEVICE T largest_of(const T* x, Int columns, Int lane) {
    T largest = -infinity();
    EACH(k) largest = max(largest, x[k]);
    return team_max<TEAM>(largest);
}

// The sum of exp(x - largest).
DEVICE T power_sum(const T* x, T largest, Int columns, Int lane) {
    double sum = 0;
    EACH(k) sum += exp(x[k] - largest);
    return (T)team_sum<TEAM>(sum);
}

extern "C" __global__ void softmax(const T* x, T* y, Int rows, Int columns) {
    ROW;
    x += start;
    y += start;
    T largest = largest_of(x, columns, lane), sum = power_sum(x, largest, columns, lane);
    if (own) EACH(k) y[k] = exp(x[k] - largest) / sum;
}

extern "C" __global__ void log_softmax(const T* x, T* y, Int rows, Int columns) {
    ROW;
    x += start;
    y += start;
    T largest = largest_of(x, columns, lane), sum = log(power_sum(x, largest, columns, lane));
    if (own) EACH(k) y[k] = (x[k] - largest) - sum;
}

// d = y * (g - sum of g * y)
extern "C" __global__ void softmax_grad(const T* g, const T* y, T* d, Int rows, Int columns) {
    ROW;
    g += start;
    y += start;
    double sum = 0;
    EACH(k) sum += (double)g[k] * y[k];
    T all = (T)team_sum<TEAM>(sum);
    if (own) EACH(k) d[start + k] = y[k] * (g[k] - all);
}

// d = g - exp(y) * sum of g
extern "C" __global__ void log_softmax_grad(const T* g, const T* y, T* d, Int rows, Int columns) {
    ROW;
    g += start;
    y += start;
    double sum = 0;
    EACH(k) sum += g[k];
    T all = (T)team_sum<TEAM>(sum);
    if (own) EACH(k) d[start + k] = g[k] - exp(y[k]) * all;
}

// y = (x - mean) / deviation with deviation = sqrt(variance + eps), which is stored for each row.
extern "C" __global__ void standardize(const T* x, T* y, T* deviations, double eps, Int rows,
                                       Int columns) {
    ROW;
    x += start;
    y += start;
    double sum = 0, squares = 0;
    EACH(k) sum += x[k];
    double mean = team_sum<TEAM>(sum) / columns;
    EACH(k) squares += (x[k] - mean) * (x[k] - mean);
    double deviation = sqrt(team_sum<TEAM>(squares) / columns + eps);
    if (!own) return;
    EACH(k) y[k] = (T)((x[k] - mean) / deviation);
    if (lane == 0) deviations[row] = (T)deviation;
}

// d = (g - mean of g - y * mean of g * y) / deviation
extern "C" __global__ void standardize_grad(const T* g, const T* y, const T* deviations, T* d,
                                            Int rows, Int columns) {
    ROW;
    g += start;
    y += start;
    double sum = 0, products = 0;
    EACH(k) {
        sum += g[k];
        products += (double)g[k] * y[k];
    }
    T mean = (T)(team_sum<TEAM>(sum) / columns), share = (T)(team_sum<TEAM>(products) / columns);
    if (own) EACH(k) d[start + k] = (g[k] - mean - y[k] * share) / deviations[row];
}
