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

// The moments of the values of a and of b together (Chan, Golub, LeVeque 1979). b's are the `share`
// of them. Two groups apart from each other have a variance even if neither has one of its own.
DEVICE Moments join(Moments a, Moments b) {
    if (b.count == 0) return a;
    T count = a.count + b.count, share = b.count / count, apart = b.mean - a.mean;
    T within = a.variance + (b.variance - a.variance) * share;
    return {count, a.mean + apart * share, within + (apart * share) * (apart * (1 - share))};
}

// The moments of each channel. Every block takes those of a chunk, and the channel's last block
// joins all its chunks. The result is true in one thread for each channel: it has `found` them.
//
// A chunk's moments are taken from x - mean: the squares of x itself would lose the digits of a
// small deviation around a large mean. To join them, each thread of a warp takes every 32nd chunk.
// Then 16 threads join what the other 16 have, 8 what the other 8 have, and so on. This order never
// changes, whichever block is the last.
DEVICE bool moments(const T* x, T* means, T* variances, unsigned* counters, Int channels, Int plane,
                    Int n, Int chunks, Int& channel, Moments& found) {
    Chunk chunk(channels, plane, n, chunks);
    T own[OWN], sum = 0, squares = 0;
    chunk.read(x, own);
    for (int k = 0; k < OWN; ++k) sum += own[k];
    T mean = block_sum(sum) / chunk.length;
    for (int k = 0; k < OWN; ++k)
        if (chunk.at[k] >= 0) squares += (own[k] - mean) * (own[k] - mean);
    squares = block_sum(squares);
    if (threadIdx.x == 0) means[blockIdx.x] = mean, variances[blockIdx.x] = squares / chunk.length;

    channel = chunk.channel, found = {0, 0, 0};
    if (!is_last(counters + channel, chunks) || threadIdx.x >= 32) return false;
    Int first = channel * chunks;
    for (Int k = threadIdx.x; k < chunks; k += 32)
        found = join(found, {(T)min(CHUNK, n - k * CHUNK), means[first + k], variances[first + k]});
    for (int apart = 16; apart > 0; apart /= 2)
        found = join(found, {__shfl_down_sync(EVERY_LANE, found.count, apart),
                             __shfl_down_sync(EVERY_LANE, found.mean, apart),
                             __shfl_down_sync(EVERY_LANE, found.variance, apart)});
    return threadIdx.x == 0;
}

extern "C" __global__ void batch_norm_moments(const T* x, T* means, T* variances,
                                              unsigned* counters, T* mean, T* variance,
                                              Int channels, Int plane, Int n, Int chunks) {
    Int c;
    Moments all;
    if (moments(x, means, variances, counters, channels, plane, n, chunks, c, all))
        mean[c] = all.mean, variance[c] = all.variance;
}

// What a layer needs of a channel besides its mean: inverse = 1/sqrt(variance + eps), scale =
// weight inverse, and the running moments, which move from the old ones towards those of the batch.
// The new ones may lie where the old ones are. `batches` counts the batches that they followed.
#define LAYER const T* weight, const T* old_mean, const T* old_variance, T* new_mean, \
    T* new_variance, long long* batches, T* inverse, T* scale, double eps, double momentum, \
    double unbiased
DEVICE void settle(Int c, T mean, T variance, LAYER) {
    inverse[c] = 1 / sqrt(variance + (T)eps);
    scale[c] = weight[c] * inverse[c];
    T keep = (T)(1 - momentum), take = (T)momentum;
    new_mean[c] = old_mean[c] * keep + take * mean;
    new_variance[c] = old_variance[c] * keep + take * (variance * (T)unbiased);
    if (c == 0) ++*batches;
}

// For moments that are there already, those of a larger batch: a thread for each channel.
extern "C" __global__ void batch_norm_settle(const T* mean, const T* variance, LAYER,
                                             Int channels) {
    ELEMENT(c, channels);
    settle(c, mean[c], variance[c], weight, old_mean, old_variance, new_mean, new_variance,
           batches, inverse, scale, eps, momentum, unbiased);
}

// The moments and all that follows from them.
extern "C" __global__ void batch_norm_statistics(const T* x, T* means, T* variances,
                                                 unsigned* counters, T* mean, LAYER, Int channels,
                                                 Int plane, Int n, Int chunks) {
    Int c;
    Moments all;
    if (!moments(x, means, variances, counters, channels, plane, n, chunks, c, all)) return;
    mean[c] = all.mean;
    settle(c, all.mean, all.variance, weight, old_mean, old_variance, new_mean, new_variance,
           batches, inverse, scale, eps, momentum, unbiased);
}

// y before relu. `fma` rounds once, and so in the same way wherever it stands: the gradients
// compute y again, and must find y > 0 where it was. Reading it from memory would take longer.
#define Y(x) fma((x) - m, s, b)

// y = (x - mean) scale + bias; where `rectify` is 1, 0 if that is negative. A NaN stays.
extern "C" __global__ void batch_norm_affine(const T* x, const T* mean, const T* scale,
                                             const T* bias, T* y, Int rectify, Int channels,
                                             Int plane, Int n, Int chunks) {
    Chunk chunk(channels, plane, n, chunks);
    Int c = chunk.channel;
    T own[OWN], m = mean[c], s = scale[c], b = bias[c];
    chunk.read(x, own);
    for (int k = 0; k < OWN; ++k) {
        own[k] = Y(own[k]);
        if (rectify && own[k] <= 0) own[k] = 0;
    }
    chunk.write(own, y);
}

// Of y with relu (`bias` is given), only those g count where y > 0: the others become 0.
#define KEEP_POSITIVE(slope, own, c) if (bias) { \
    T s = weight[c] * inverse[c], b = bias[c]; \
    for (int k = 0; k < OWN; ++k) if (!(Y(own[k]) > 0)) slope[k] = 0; \
}

// Each chunk's part of dbias = sum of g, and of dweight = sum of g (x - mean) inverse.
extern "C" __global__ void batch_norm_sums(const T* g, const T* x, const T* weight, const T* mean,
                                           const T* inverse, const T* bias, T* dbias, T* dweight,
                                           Int channels, Int plane, Int n, Int chunks) {
    Chunk chunk(channels, plane, n, chunks);
    T slope[OWN], own[OWN], m = mean[chunk.channel], sum = 0, product = 0;
    chunk.read(g, slope), chunk.read(x, own);
    KEEP_POSITIVE(slope, own, chunk.channel)
    for (int k = 0; k < OWN; ++k) sum += slope[k], product += slope[k] * (own[k] - m);
    sum = block_sum(sum), product = block_sum(product) * inverse[chunk.channel];
    if (threadIdx.x == 0) dbias[blockIdx.x] = sum, dweight[blockIdx.x] = product;
}

// dx = weight inverse (g - dbias / count - (x - mean) inverse dweight / count).
//
// Every warp adds the `parts` of its channel's two sums, all of them in the same order: fewer
// launches than if one block added them for all. The first chunk's block also stores both sums.
extern "C" __global__ void batch_norm_grads(const T* g, const T* x, const T* weight, const T* mean,
                                            const T* inverse, const T* bias, const T* dbias,
                                            const T* dweight, T* dx, T* bias_grad, T* weight_grad,
                                            Int parts, Int count, Int channels, Int plane, Int n,
                                            Int chunks) {
    Chunk chunk(channels, plane, n, chunks);
    Int c = chunk.channel;
    T slope[OWN], own[OWN], by_bias = 0, by_weight = 0;
    chunk.read(g, slope), chunk.read(x, own);
    for (Int k = threadIdx.x % 32; k < parts; k += 32)
        by_bias += dbias[c * parts + k], by_weight += dweight[c * parts + k];
    by_bias = warp_sum(by_bias), by_weight = warp_sum(by_weight);
    if (chunk.number == 0 && threadIdx.x == 0) bias_grad[c] = by_bias, weight_grad[c] = by_weight;
    T m = mean[c], level = by_bias / count, tilt = inverse[c] * by_weight / count;
    T scale = weight[c] * inverse[c];
    KEEP_POSITIVE(slope, own, c)
    for (int k = 0; k < OWN; ++k) own[k] = (slope[k] - level - (own[k] - m) * tilt) * scale;
    chunk.write(own, dx);
}
