// Products of matrices. The option TEAM is the side of a block.
//
// A block of TEAM x TEAM threads computes a tile of SIDE x SIDE elements of a product a b; each
// thread computes 4 x 4 of them, TEAM apart.
#define SIDE (4 * TEAM)
#define SLICE 16

// A matrix in memory: its first number, and how far apart neighbours in a column and in a row lie.
struct Matrix { const T* first; Int down, across; };

// Add to the thread's elements their products over the columns of a from `start` to `end`. The
// block reads SLICE columns of a and SLICE rows of b into shared memory at a time, once for the
// whole tile that begins at row `top` and column `left`.
DEVICE void multiply(T (&sum)[4][4], Matrix a, Matrix b, Int top, Int left, Int M, Int N, Int start,
                     Int end) {
    __shared__ T rows[SLICE][SIDE], columns[SLICE][SIDE];
    int i = threadIdx.x / TEAM, j = threadIdx.x % TEAM;
    for (; start < end; start += SLICE) {
        for (int e = threadIdx.x; e < SIDE * SLICE; e += TEAM * TEAM) {
            // Neighbouring threads read along the axis that is dense in memory.
            bool dense = a.across == 1;
            int k = dense ? e % SLICE : e / SIDE, m = dense ? e / SLICE : e % SIDE;
            bool inside = top + m < M && start + k < end;
            rows[k][m] = inside ? a.first[(top + m) * a.down + (start + k) * a.across] : (T)0;
            dense = b.down == 1;
            k = dense ? e % SLICE : e / SIDE, m = dense ? e / SLICE : e % SIDE;
            inside = left + m < N && start + k < end;
            columns[k][m] = inside ? b.first[(start + k) * b.down + (left + m) * b.across] : (T)0;
        }
        __syncthreads();
        for (int k = 0; k < SLICE; ++k)
            for (int r = 0; r < 4; ++r)
                for (int s = 0; s < 4; ++s)
                    sum[r][s] += rows[k][i + r * TEAM] * columns[k][j + s * TEAM];
        __syncthreads();
    }
}

// c = a b for a batch of matrices a (M x K) and b (K x N). The batch has two axes, the inner one of
// length INNER. The strides A_OUT ... B_N say how far apart neighbours lie in memory, so a
// transposed or repeated matrix needs no copy.
extern "C" __global__ void matmul(const T* a, const T* b, T* c, Int M, Int N, Int K, Int INNER,
                                  Int A_OUT, Int A_IN, Int A_M, Int A_K,
                                  Int B_OUT, Int B_IN, Int B_K, Int B_N) {
    Int across = (N + SIDE - 1) / SIDE, tiles = (M + SIDE - 1) / SIDE * across;
    Int product = blockIdx.x / tiles, tile = blockIdx.x % tiles;
    Int top = tile / across * SIDE, left = tile % across * SIDE;
    a += product / INNER * A_OUT + product % INNER * A_IN;
    b += product / INNER * B_OUT + product % INNER * B_IN;
    T sum[4][4] = {};
    multiply(sum, {a, A_M, A_K}, {b, B_K, B_N}, top, left, M, N, 0, K);
    for (int r = 0; r < 4; ++r)
        for (int s = 0; s < 4; ++s) {
            Int row = top + threadIdx.x / TEAM + r * TEAM;
            Int column = left + threadIdx.x % TEAM + s * TEAM;
            if (row < M && column < N) c[(product * M + row) * N + column] = sum[r][s];
        }
}

// y = x wT + b for x (M x K), w (N x K), b (N) or null; where `rectify` is 1, relu of it.
//
// A product of few rows and few columns has too few tiles for a GPU, and its sums may be long. So
// each sum is cut into pieces of `chunk` products. Blocks in x: the tiles. Blocks in y: the pieces.
// The last blocks of a tile add up its pieces, and go on to bias and relu.
extern "C" __global__ void linear(const T* x, const T* w, const T* b, T* y, T* pieces,
                                  unsigned* counters, Int M, Int N, Int K, Int chunk, Int rectify) {
    Int across = (N + SIDE - 1) / SIDE, count = gridDim.y, piece = blockIdx.y;
    Int top = blockIdx.x / across * SIDE, left = blockIdx.x % across * SIDE;
    Int height = min((Int)SIDE, M - top), width = min((Int)SIDE, N - left), start = piece * chunk;
    T sum[4][4] = {};
    multiply(sum, {x, K, 1}, {w, 1, K}, top, left, M, N, start, min(start + chunk, K));
    pieces += blockIdx.x * count * min((Int)SIDE, M) * min((Int)SIDE, N);
    for (int r = 0; r < 4; ++r)
        for (int s = 0; s < 4; ++s) {
            Int row = threadIdx.x / TEAM + r * TEAM, column = threadIdx.x % TEAM + s * TEAM;
            if (row < height && column < width)
                pieces[(piece * height + row) * width + column] = sum[r][s];
        }
    counters += blockIdx.x * (1 + GROUPS(count));
    add_parts(pieces, piece, count, height * width, counters, 1, [&](Int e, T sum) {
        Int column = left + e % width;
        sum += b ? b[column] : (T)0;
        y[(top + e / width) * N + column] = rectify && sum <= 0 ? (T)0 : sum;
    });
}
