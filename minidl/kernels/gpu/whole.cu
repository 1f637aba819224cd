// What a whole step in a CUDA graph needs between the gradients and the update: the gradients' norms,
// whether everything is finite, and the factor of clipping. The host is not asked.

#define PIECE 4096  // numbers that a block takes

// Each block stores the sum of squares of one piece of a gradient, in double, where the squares of
// float cannot overflow. Row p of `table`: the number of the block after parameter p's last one,
// the address of its gradient, the gradient's size.
DEVICE void square(const Address* table, double* sums) {
    Int p = 0, first = 0;
    while (blockIdx.x >= (Int)table[3 * p]) first = (Int)table[3 * p++];
    const T* g = (const T*)table[3 * p + 1];
    Int size = (Int)table[3 * p + 2], start = (blockIdx.x - first) * PIECE;
    Int end = min(start + PIECE, size);
    double sum = 0;
    for (Int e = start + threadIdx.x; e < end; e += blockDim.x) sum += (double)g[e] * g[e];
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// Then the last block judges. measured = loss, share of the outputs (n x classes) that are right,
// norms of the gradients. With classes = 0 the share is there already.
//
// verdict[0] stays 1 as long as every loss and norm was finite. Once it is 0, no later step changes
// the weights either. verdict[1] is the factor that brings the norm of all gradients down to
// `limit`; a limit of 0 means no clipping.
extern "C" __global__ void judge(const Address* table, double* sums, const T* loss,
                                 const T* outputs, const long long* labels, double limit,
                                 double* measured, double* verdict, unsigned* counter, Int rows,
                                 Int n, Int classes) {
    square(table, sums);
    if (!is_last(counter, gridDim.x)) return;
    double right = 0, own = 0;
    for (Int r = threadIdx.x; r < n && classes > 0; r += blockDim.x) {
        const T* x = outputs + r * classes;
        Int first = -1;
        T best = 0;
        for (Int k = 0; k < classes; ++k) { TAKE(x[k], k) }
        right += first == labels[r];
    }
    right = block_sum(right);
    if (threadIdx.x == 0 && classes > 0) measured[1] = right / n;
    if (threadIdx.x == 0) measured[0] = *loss;
    for (Int p = threadIdx.x; p < rows; p += blockDim.x) {
        double sum = 0;
        Int start = p > 0 ? (Int)table[3 * (p - 1)] : 0;
        for (Int b = start; b < (Int)table[3 * p]; ++b) sum += sums[b];
        measured[2 + p] = sqrt(sum);
        own += sum;
    }
    double total = sqrt(block_sum(own));
    if (threadIdx.x == 0) {
        bool finite = total - total == 0 && *loss - *loss == 0;
        verdict[0] = verdict[0] != 0 && finite ? 1 : 0;
        verdict[1] = limit > 0 && total > limit ? limit / total : 1;
    }
}
