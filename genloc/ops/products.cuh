// Products on tensor cores: logits of 16 tokens by TILES * 8 keypoints, and of gradients.

// c += a b of float32 values on tf32 tensor cores. Each value is split into two of 11 bits; what
// is lost is 2^-24 of a product. The large part has its own accumulator: tensor cores cut sums
// off where float32 rounds them, and over many steps that would add up.
DEVICE void mma_f32(float (&c)[4], const float (&a)[4], const float (&b)[2]) {
    float high_a[4], low_a[4], high_b[2], low_b[2];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        high_a[i] = round_to_tf32(a[i]);
        low_a[i] = round_to_tf32(a[i] - high_a[i]);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        high_b[i] = round_to_tf32(b[i]);
        low_b[i] = round_to_tf32(b[i] - high_b[i]);
    }
    float high[4] = {0, 0, 0, 0}, low[4] = {0, 0, 0, 0};
    mma_tf32(high, high_a[0], high_a[1], high_a[2], high_a[3], high_b[0], high_b[1]);
    mma_tf32(low, low_a[0], low_a[1], low_a[2], low_a[3], high_b[0], high_b[1]);
    mma_tf32(low, high_a[0], high_a[1], high_a[2], high_a[3], low_b[0], low_b[1]);
#pragma unroll
    for (int i = 0; i < 4; ++i) c[i] += high[i] + low[i];
}

// c += a b for the gradients; of the two, one is an input and one a gradient in the logits.
// bfloat16 and float16 fit into tf32 without loss, and tf32 has float32's range, which a gradient
// needs and float16 has not. Rounded to tf32 the gradient is off by 2^-12: nothing beside rounding
// the result to bfloat16, but as much as rounding it to float16, where the rest is added as well.
DEVICE void mma_gradient(float (&c)[4], const float (&a)[4], const float (&b)[2], bool a_is_input) {
    if (ELEMENT == 0) {
        mma_f32(c, a, b);
        return;
    }
    float high_a[4], high_b[2];
#pragma unroll
    for (int i = 0; i < 4; ++i) high_a[i] = a_is_input ? a[i] : round_to_tf32(a[i]);
#pragma unroll
    for (int i = 0; i < 2; ++i) high_b[i] = a_is_input ? round_to_tf32(b[i]) : b[i];
    mma_tf32(c, high_a[0], high_a[1], high_a[2], high_a[3], high_b[0], high_b[1]);
    if (ELEMENT == 1) return;
    if (a_is_input) {
        mma_tf32(c, a[0], a[1], a[2], a[3], b[0] - high_b[0], b[1] - high_b[1]);
    } else {
        mma_tf32(c, a[0] - high_a[0], a[1] - high_a[1], a[2] - high_a[2], a[3] - high_a[3], b[0],
                 b[1]);
    }
}

// Products of tokens g and g + 8 with keypoints 2q and 2q + 1 of every tile.
struct Logits {
    float at[TILES][4];
};

// out += the products over the channels that the words hold; `keys` points at the same channels of
// the first keypoint in shared memory.
template <int COUNT>
DEVICE void multiply_words(Logits& out, const Words<COUNT>& low, const Words<COUNT>& high,
                           const unsigned char* keys) {
    keys += threadIdx.x % 32 / 4 * (PITCH * (int)sizeof(Element));
    Words<COUNT> key[TILES];
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile)
        key[tile] = load_words<COUNT, true>(keys + tile * 8 * PITCH * (int)sizeof(Element), true);
#pragma unroll
    for (int i = 0; i < COUNT; i += 2) {
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile) {
            float(&c)[4] = out.at[tile];
            const Words<COUNT>& b = key[tile];
#if ELEMENT == 0
            const float tokens[4] = {__uint_as_float(low.at[i]), __uint_as_float(high.at[i]),
                                     __uint_as_float(low.at[(i + 1) % COUNT]),
                                     __uint_as_float(high.at[(i + 1) % COUNT])};
            const float keypoints[2] = {__uint_as_float(b.at[i]), __uint_as_float(b.at[(i + 1) % COUNT])};
            mma_f32(c, tokens, keypoints);
#elif ELEMENT == 1
            if constexpr (COUNT == 1)
                mma_bf16(c, low.at[0], high.at[0], b.at[0]);
            else
                mma_bf16(c, low.at[i], high.at[i], low.at[i + 1], high.at[i + 1], b.at[i],
                         b.at[i + 1]);
#else
            if constexpr (COUNT == 1)
                mma_f16(c, low.at[0], high.at[0], b.at[0]);
            else
                mma_f16(c, low.at[i], high.at[i], low.at[i + 1], high.at[i + 1], b.at[i],
                        b.at[i + 1]);
#endif
        }
    }
}

// A row comes in pieces: 64 bytes as long as there are as many, then 32, then 16.
static constexpr int WHOLE = ROW_BYTES / 64;
static constexpr bool WITH_32 = ROW_BYTES % 64 >= 32;
static constexpr bool WITH_16 = ROW_BYTES % 32 != 0;
static constexpr int AT_16 = ROW_BYTES - 16;
// The lane's part of a row fits into a few registers, beside what the products need.
static constexpr bool SHORT = ELEMENT != 0 && WHOLE <= 2;

// Two tokens' rows, held in registers.
struct Held {
    Words<4> low[WHOLE + 1], high[WHOLE + 1];
    Words<2> low_32, high_32;
    Words<1> low_16, high_16;
};

template <bool ALIGNED>
DEVICE void hold(Held& held, const Element* low, bool low_valid, const Element* high,
                 bool high_valid) {
    const unsigned char* a = reinterpret_cast<const unsigned char*>(low);
    const unsigned char* b = reinterpret_cast<const unsigned char*>(high);
#pragma unroll
    for (int i = 0; i < WHOLE; ++i) {
        held.low[i] = load_words<4, ALIGNED>(a + 64 * i, low_valid);
        held.high[i] = load_words<4, ALIGNED>(b + 64 * i, high_valid);
    }
    if constexpr (WITH_32) {
        held.low_32 = load_words<2, ALIGNED>(a + 64 * WHOLE, low_valid);
        held.high_32 = load_words<2, ALIGNED>(b + 64 * WHOLE, high_valid);
    }
    if constexpr (WITH_16) {
        held.low_16 = load_words<1, ALIGNED>(a + AT_16, low_valid);
        held.high_16 = load_words<1, ALIGNED>(b + AT_16, high_valid);
    }
}

DEVICE void clear(Logits& out) {
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
        for (int i = 0; i < 4; ++i) out.at[tile][i] = 0;
}

DEVICE void multiply(Logits& out, const Held& held, const Element* keys) {
    const unsigned char* k = reinterpret_cast<const unsigned char*>(keys);
    clear(out);
#pragma unroll
    for (int i = 0; i < WHOLE; ++i)
        multiply_words<4>(out, held.low[i], held.high[i], k + 64 * i);
    if constexpr (WITH_32) multiply_words<2>(out, held.low_32, held.high_32, k + 64 * WHOLE);
    if constexpr (WITH_16) multiply_words<1>(out, held.low_16, held.high_16, k + AT_16);
}

// The same straight from memory, piece by piece: for rows too long to be held.
template <bool ALIGNED>
DEVICE void multiply(Logits& out, const Element* low, bool low_valid, const Element* high,
                     bool high_valid, const Element* keys) {
    if constexpr (SHORT) {
        Held held;
        hold<ALIGNED>(held, low, low_valid, high, high_valid);
        multiply(out, held, keys);
        return;
    }
    const unsigned char* a = reinterpret_cast<const unsigned char*>(low);
    const unsigned char* b = reinterpret_cast<const unsigned char*>(high);
    const unsigned char* k = reinterpret_cast<const unsigned char*>(keys);
    clear(out);
#pragma unroll 1
    for (int i = 0; i < WHOLE; ++i) {
        // Each piece has its own sum, because tensor cores cut off where an addition rounds.
        Logits piece;
        clear(piece);
        multiply_words<4>(piece, load_words<4, ALIGNED>(a + 64 * i, low_valid),
                          load_words<4, ALIGNED>(b + 64 * i, high_valid), k + 64 * i);
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
            for (int j = 0; j < 4; ++j) out.at[tile][j] += piece.at[tile][j];
    }
    if constexpr (WITH_32)
        multiply_words<2>(out, load_words<2, ALIGNED>(a + 64 * WHOLE, low_valid),
                          load_words<2, ALIGNED>(b + 64 * WHOLE, high_valid), k + 64 * WHOLE);
    if constexpr (WITH_16)
        multiply_words<1>(out, load_words<1, ALIGNED>(a + AT_16, low_valid),
                          load_words<1, ALIGNED>(b + AT_16, high_valid), k + AT_16);
}
