// Products of matrices. The option TEAM is the side of a block.

// c = a b for a batch of matrices a (M x K) and b (K x N). The batch has two axes, the inner one of
// length INNER. A block of TEAM x TEAM threads computes a tile of SIDE x SIDE elements of one
// product; each thread computes 4 x 4 of them, TEAM apart. The block reads SLICE columns of a and
// SLICE rows of b into shared memory at a time, once for the whole tile. The strides A_OUT ... B_N
// say how far apart neighbours lie in memory, so a transposed or repeated matrix needs no copy.
#define SIDE (4 * TEAM)
#define SLICE 16
extern "C" __global__ void matmul(const T* a, const T* b, T* c, Int M, Int N, Int K, Int INNER,
                                  Int A_OUT, Int A_IN, Int A_M, Int A_K,
                                  Int B_OUT, Int B_IN, Int B_K, Int B_N) {
    __shared__ T left[SLICE][SIDE], right[SLICE][SIDE];
    Int across = (N + SIDE - 1) / SIDE, tiles = (M + SIDE - 1) / SIDE * across;
    Int product = blockIdx.x / tiles, tile = blockIdx.x % tiles;
    Int top = tile / across * SIDE, first = tile % across * SIDE;
    a += product / INNER * A_OUT + product % INNER * A_IN;
    b += product / INNER * B_OUT + product % INNER * B_IN;
    int i = threadIdx.x / TEAM, j = threadIdx.x % TEAM;
    T sum[4][4] = {};
    for (Int start = 0; start < K; start += SLICE) {
        for (int e = threadIdx.x; e < SIDE * SLICE; e += TEAM * TEAM) {
            // Neighbouring threads read along the axis that is dense in memory.
            int k = A_K == 1 ? e % SLICE : e / SIDE, m = A_K == 1 ? e / SLICE : e % SIDE;
            bool inside = top + m < M && start + k < K;
            left[k][m] = inside ? a[(top + m) * A_M + (start + k) * A_K] : (T)0;
            k = B_K == 1 ? e % SLICE : e / SIDE, m = B_K == 1 ? e / SLICE : e % SIDE;
            inside = first + m < N && start + k < K;
            right[k][m] = inside ? b[(start + k) * B_K + (first + m) * B_N] : (T)0;
        }
        __syncthreads();
        for (int k = 0; k < SLICE; ++k)
            for (int r = 0; r < 4; ++r)
                for (int s = 0; s < 4; ++s)
                    sum[r][s] += left[k][i + r * TEAM] * right[k][j + s * TEAM];
        __syncthreads();
    }
    for (int r = 0; r < 4; ++r)
        for (int s = 0; s < 4; ++s) {
            Int row = top + i + r * TEAM, column = first + j + s * TEAM;
            if (row < M && column < N) c[(product * M + row) * N + column] = sum[r][s];
        }
}
