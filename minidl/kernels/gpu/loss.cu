// Cross-entropy: the losses of the rows, added up, and the gradient by the logits.
//
// A team of TEAM neighbouring threads (1, 2, 4, ... 32) takes one row after the other; each thread
// has every TEAM-th logit. A row's largest logit is subtracted first, so that exp cannot overflow.
// At the label, softmax - 1 is taken as minus the sum of the others, which keeps its digits where
// the label's own softmax is near 1. A NaN need not be the largest: it makes the sum NaN, and so
// the whole row.

// Each block stores the sum of its rows' losses, divided by the number of all rows. The last block
// adds up those of all blocks, in their order. A block may have 1,024 threads, so the compiler must
// give a thread at most 64 registers.
extern "C" __global__ void __launch_bounds__(1024)
cross_entropy(const T* logits, const long long* labels, T* losses, T* mean, T* grad,
              unsigned* counter, Int rows, Int classes) {
    Int lane = threadIdx.x % TEAM, at_once = blockDim.x / TEAM;
    T loss = 0;
    // The threads of a warp shuffle together, so all of them go on until the last team has its row.
    // A team without one takes the last row again, and keeps the result for itself.
    for (Int first = blockIdx.x * at_once; first < rows; first += gridDim.x * at_once) {
        Int row = first + threadIdx.x / TEAM;
        bool own = row < rows;
        row = min(row, rows - 1);
        const T* x = logits + row * classes;
        T* d = grad + row * classes;
        long long label = labels[row];
        T largest = -infinity(), at_label = 0, others = 0;
        for (Int k = lane; k < classes; k += TEAM) largest = max(largest, x[k]);
        largest = team_max<TEAM>(largest);
        for (Int k = lane; k < classes; k += TEAM) {
            T power = exp(x[k] - largest);
            if (k == label) at_label = power; else others += power;
        }
        others = team_sum<TEAM>(others);
        T sum = others + team_sum<TEAM>(at_label), share = sum * rows;
        if (!own) continue;
        for (Int k = lane; k < classes; k += TEAM)
            d[k] = (k == label ? -others : exp(x[k] - largest)) / share;
        if (lane > 0) continue;
        bool known = label >= 0 && label < classes;
        loss += known ? log(sum) - (x[label] - largest) : infinity() - infinity();
    }
    loss = block_sum(loss);
    if (threadIdx.x == 0) losses[blockIdx.x] = loss / rows;
    if (!is_last(counter, gridDim.x)) return;
    loss = 0;
    for (Int k = threadIdx.x; k < (Int)gridDim.x; k += blockDim.x) loss += losses[k];
    loss = block_sum(loss);
    if (threadIdx.x == 0) *mean = loss;
}
