// Batch normalisation: the moments of each channel, (x - mean) scale + bias, and the gradients.
//
// Images x (N, C, H, W) hold a channel in N planes of H W pixels. Number its values from 0 to n-1,
// image after image, and cut them into chunks of OWN values for each thread of a block: one block
// for each chunk. A thread keeps its values in registers. So it asks memory for all of them before
// it needs the first, and reads none twice.

#define CHUNK (OWN * (Int)blockDim.x)

struct Chunk {
    Int channel, number, length;  // which channel, which of its chunks, how many values
    Int at[OWN];                  // where this thread's values lie in the images; -1: past the end

    __device__ Chunk(Int channels, Int plane, Int n, Int chunks) {
        channel = blockIdx.x / chunks, number = blockIdx.x % chunks;
        length = min(CHUNK, n - number * CHUNK);
        // Neighbouring threads have neighbouring pixels; a thread's next value is blockDim.x on.
        // A division takes long. So there is one for the first value; the others are reached by
        // adding whole images and pixels, with a carry.
        Int value = number * CHUNK + threadIdx.x, image = value / plane, pixel = value % plane;
        Int images = blockDim.x / plane, pixels = blockDim.x % plane;
        for (int k = 0; k < OWN; ++k) {
            at[k] = value < n ? (image * channels + channel) * plane + pixel : -1;
            value += blockDim.x, image += images, pixel += pixels;
            if (pixel >= plane) pixel -= plane, ++image;
        }
    }
    __device__ void read(const T* x, T* own) const {
        for (int k = 0; k < OWN; ++k) own[k] = at[k] < 0 ? (T)0 : x[at[k]];
    }
    __device__ void write(const T* own, T* y) const {
        for (int k = 0; k < OWN; ++k) if (at[k] >= 0) y[at[k]] = own[k];
    }
};

// The moments of a number of values: how many they are, their mean and their variance.
struct Moments { T count, mean, variance; };

// Each chunk's own moments. They are taken from x - mean: the squares of x itself would lose the
// digits of a small deviation around a large mean.
extern "C" __global__ void batch_norm_chunks(const T* x, T* means, T* variances, Int channels,
                                             Int plane, Int n, Int chunks) {
    Chunk chunk(channels, plane, n, chunks);
    T own[OWN], sum = 0, squares = 0;
    chunk.read(x, own);
    for (int k = 0; k < OWN; ++k) sum += own[k];
    T mean = block_sum(sum) / chunk.length;
    for (int k = 0; k < OWN; ++k)
        if (chunk.at[k] >= 0) squares += (own[k] - mean) * (own[k] - mean);
    squares = block_sum(squares);
    if (threadIdx.x == 0) means[blockIdx.x] = mean, variances[blockIdx.x] = squares / chunk.length;
}

// The moments of the values of a and of b together (Chan, Golub, LeVeque 1979). b's are the `share`
// of them. Two groups apart from each other have a variance even if neither has one of its own.
DEVICE Moments join(Moments a, Moments b) {
    if (b.count == 0) return a;
    T count = a.count + b.count, share = b.count / count, apart = b.mean - a.mean;
    T within = a.variance + (b.variance - a.variance) * share;
    return {count, a.mean + apart * share, within + (apart * share) * (apart * (1 - share))};
}

// Mean and variance of each channel: a warp joins its chunks. Each thread takes every 32nd chunk;
// then 16 threads join what the other 16 have, 8 what the other 8 have, and so on.
extern "C" __global__ void batch_norm_join(const T* means, const T* variances, T* mean, T* variance,
                                           Int channels, Int n, Int chunks) {
    Int channel = ((Int)blockIdx.x * blockDim.x + threadIdx.x) / 32, first = channel * chunks;
    if (channel >= channels) return;
    Moments own = {0, 0, 0};
    for (Int k = threadIdx.x % 32; k < chunks; k += 32)
        own = join(own, {(T)min(CHUNK, n - k * CHUNK), means[first + k], variances[first + k]});
    for (int apart = 16; apart > 0; apart /= 2)
        own = join(own, {__shfl_down_sync(EVERY_LANE, own.count, apart),
                         __shfl_down_sync(EVERY_LANE, own.mean, apart),
                         __shfl_down_sync(EVERY_LANE, own.variance, apart)});
    if (threadIdx.x % 32 == 0) mean[channel] = own.mean, variance[channel] = own.variance;
}

extern "C" __global__ void batch_norm_affine(const T* x, const T* mean, const T* scale,
                                             const T* bias, T* y, Int channels, Int plane, Int n,
                                             Int chunks) {
    Chunk chunk(channels, plane, n, chunks);
    Int c = chunk.channel;
    T own[OWN], m = mean[c], s = scale[c], b = bias[c];
    chunk.read(x, own);
    for (int k = 0; k < OWN; ++k) own[k] = (own[k] - m) * s + b;
    chunk.write(own, y);
}

// Each chunk's part of dbias = sum of g, and of dweight = sum of g (x - mean) inverse.
extern "C" __global__ void batch_norm_sums(const T* g, const T* x, const T* mean, const T* inverse,
                                           T* dbias, T* dweight, Int channels, Int plane, Int n,
                                           Int chunks) {
    Chunk chunk(channels, plane, n, chunks);
    T slope[OWN], own[OWN], m = mean[chunk.channel], sum = 0, product = 0;
    chunk.read(g, slope), chunk.read(x, own);
    for (int k = 0; k < OWN; ++k) sum += slope[k], product += slope[k] * (own[k] - m);
    sum = block_sum(sum), product = block_sum(product) * inverse[chunk.channel];
    if (threadIdx.x == 0) dbias[blockIdx.x] = sum, dweight[blockIdx.x] = product;
}

// dx = weight inverse (g - dbias / count - (x - mean) inverse dweight / count).
//
// Every warp adds the `parts` of its channel's two sums, all of them in the same order: fewer
// launches than if one block added them for all. The first chunk's block also stores both sums.
extern "C" __global__ void batch_norm_grads(const T* g, const T* x, const T* weight, const T* mean,
                                            const T* inverse, const T* dbias, const T* dweight,
                                            T* dx, T* sums, Int parts, Int count, Int channels,
                                            Int plane, Int n, Int chunks) {
    Chunk chunk(channels, plane, n, chunks);
    Int c = chunk.channel;
    T slope[OWN], own[OWN], by_bias = 0, by_weight = 0;
    chunk.read(g, slope), chunk.read(x, own);
    for (Int k = threadIdx.x % 32; k < parts; k += 32)
        by_bias += dbias[c * parts + k], by_weight += dweight[c * parts + k];
    by_bias = warp_sum(by_bias), by_weight = warp_sum(by_weight);
    if (chunk.number == 0 && threadIdx.x == 0) sums[c] = by_bias, sums[channels + c] = by_weight;
    T m = mean[c], level = by_bias / count, tilt = inverse[c] * by_weight / count;
    T scale = weight[c] * inverse[c];
    for (int k = 0; k < OWN; ++k) own[k] = (slope[k] - level - (own[k] - m) * tilt) * scale;
    chunk.write(own, dx);
}

// 1/sqrt(variance + eps) and weight/sqrt(variance + eps): a thread for each channel.
extern "C" __global__ void batch_norm_scale(const T* variance, const T* weight, T* inverse,
                                            T* scale, double eps, Int channels) {
    ELEMENT(c, channels);
    inverse[c] = 1 / sqrt(variance[c] + (T)eps);
    scale[c] = weight[c] * inverse[c];
}

// Running moments move towards those of a batch. The results may lie where the running ones are.
extern "C" __global__ void batch_norm_follow(const T* mean, const T* variance, const T* seen_mean,
                                             const T* seen_variance, T* to_mean, T* to_variance,
                                             double momentum, double unbiased, Int channels) {
    ELEMENT(c, channels);
    T keep = (T)(1 - momentum), take = (T)momentum;
    to_mean[c] = mean[c] * keep + take * seen_mean[c];
    to_variance[c] = variance[c] * keep + take * (seen_variance[c] * (T)unbiased);
}
