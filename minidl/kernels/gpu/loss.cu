// One block; a thread takes every blockDim-th row. A row's largest logit is subtracted first, so
// that exp cannot overflow. At the label, softmax - 1 is taken as minus the sum of the others, which
// keeps its digits where the label's own softmax is near 1.
extern "C" __global__ void cross_entropy(const T* logits, const long long* labels, T* loss, T* grad,
                                         Int rows, Int classes) {
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
    own = block_sum(own);
    if (threadIdx.x == 0) *loss = own / rows;
}
