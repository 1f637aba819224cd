// The generator Philox4x64-10: eight random numbers of 32 bits for each number `block`, from a key of
// two words. It has no state that one number hands on to the next. So each thread computes its own.
// Source: Salmon, Moraes, Dror, Shaw 2011, section 3.3.
typedef unsigned long long Word;

DEVICE void philox(Word block, Word key, Word other_key, Word words[4]) {
    words[0] = block, words[1] = words[2] = words[3] = 0;
    for (int round = 0; round < 10; ++round) {
        const Word first = 0xD2E7470EE14C6C93, second = 0xCA5A826395121157;
        Word high = __umul64hi(first, words[0]), low = first * words[0];
        Word other_high = __umul64hi(second, words[2]), other_low = second * words[2];
        words[0] = other_high ^ words[1] ^ key, words[1] = other_low;
        words[2] = high ^ words[3] ^ other_key, words[3] = low;
        key += 0x9E3779B97F4A7C15, other_key += 0xBB67AE8584CAA73B;
    }
}

// `scale` where a random number in [0, 1) is not below p, else 0. These are the random numbers of
// NumPy's Philox from the position key[2] on: NumPy begins with block 1, takes the lower half of a
// word first, and makes a float of the upper 24 of 32 bits. A thread computes the numbers of a block.
extern "C" __global__ void dropout_mask(T* mask, const Word* key, double p, double scale, Int n) {
    ELEMENT(thread, n / 8 + 2);
    Word block = key[2] / 8 + thread, words[4];
    philox(block + 1, key[0], key[1], words);
    #pragma unroll
    for (int k = 0; k < 8; ++k) {
        long long e = (long long)(block * 8 + k - key[2]);
        unsigned bits = (unsigned)(words[k / 2] >> (32 * (k % 2)));
        if (e >= 0 && e < n) mask[e] = (bits >> 8) * (1.0f / (1 << 24)) >= (float)p ? (T)scale : (T)0;
    }
}
