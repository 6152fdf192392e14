// What the kernels of both ops share: logits of 16 tokens by TILES * 8 keypoints on tensor cores.
//
// Set by the compiler's command line: ELEMENT (0 float32, 1 bfloat16, 2 float16), DEPTH (channels
// per head, a multiple of 8), TILES (8 keypoints each, 1 to 4), WARPS, and VECTOR (1 if every row
// starts at a multiple of 16 bytes).
//
// Tokens are the rows of a product, keypoints its columns: 17 keypoints then cost 24 columns, not
// 32 rows. A contraction may take its channels in any order, as long as both sides take the same:
// a lane loads 16 neighbouring bytes of a token and of a keypoint and hands them to the tensor
// cores as if they were the scattered channels that its fragment asks for. So nothing is staged
// or shuffled on the way from device memory to the product.
//
// Everything exponential is in base 2: logits come out multiplied by scale * log2(e).

#define DEVICE __device__ __forceinline__

static constexpr int KEYS = 8 * TILES;
static constexpr int THREADS = 32 * WARPS;
static constexpr int STRIP = 16;              // tokens that a warp takes at a time
static constexpr int TOKENS = STRIP * WARPS;  // and a block
static constexpr float LOG2E = 1.44269504088896341f;
static constexpr float LN2 = 0.693147180559945309f;

#if ELEMENT == 0
typedef float Element;
DEVICE float to_float(Element x) { return x; }
DEVICE Element from_float(float x) { return x; }
#elif ELEMENT == 1
typedef unsigned short Element;
DEVICE float to_float(Element x) { return __uint_as_float((unsigned)x << 16); }
DEVICE Element from_float(float x) { return float_to_bf16(x); }
#else
typedef unsigned short Element;
DEVICE float to_float(Element x) { return f16_to_float(x); }
DEVICE Element from_float(float x) { return float_to_f16(x); }
#endif

static constexpr int ROW_BYTES = DEPTH * (int)sizeof(Element);
static constexpr int PITCH = DEPTH + 16 / (int)sizeof(Element);  // of a row in shared memory

extern __shared__ __align__(16) unsigned char shared_bytes[];

DEVICE float infinity() { return __int_as_float(0x7f800000); }

// ---------------------------------------------------------------------------------- rows of input

// What a lane holds of COUNT * 16 neighbouring bytes of a row: COUNT words of 4 bytes.
template <int COUNT>
struct Words {
    unsigned at[COUNT];
};

DEVICE unsigned load_halves(const unsigned char* p) {
    const unsigned short* half = reinterpret_cast<const unsigned short*>(p);
    return half[0] | (unsigned)half[1] << 16;
}

template <int COUNT, bool ALIGNED>
DEVICE Words<COUNT> load_words(const unsigned char* row, bool valid) {
    const unsigned char* p = row + threadIdx.x % 4 * (4 * COUNT);
    Words<COUNT> words;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) words.at[i] = 0;
    if (!valid) return words;
    if constexpr (ALIGNED && COUNT == 4) {
        const uint4 v = *reinterpret_cast<const uint4*>(p);
        words.at[0] = v.x;
        words.at[1] = v.y;
        words.at[2] = v.z;
        words.at[3] = v.w;
    } else if constexpr (ALIGNED && COUNT == 2) {
        const uint2 v = *reinterpret_cast<const uint2*>(p);
        words.at[0] = v.x;
        words.at[1] = v.y;
    } else {
#pragma unroll
        for (int i = 0; i < COUNT; ++i)
            words.at[i] = ALIGNED || sizeof(Element) == 4
                              ? *reinterpret_cast<const unsigned*>(p + 4 * i)
                              : load_halves(p + 4 * i);
    }
    return words;
}

// `rows` rows of `stride` elements each into shared memory; rows from `valid` on become zero.
DEVICE void stage_rows(Element* to, const Element* from, long long stride, int rows, int valid) {
    if (VECTOR) {
        constexpr int PIECES = ROW_BYTES / 16;
        for (int i = threadIdx.x; i < rows * PIECES; i += THREADS) {
            const int row = i / PIECES, column = i % PIECES * (16 / (int)sizeof(Element));
            uint4 v = {0, 0, 0, 0};
            if (row < valid) v = *reinterpret_cast<const uint4*>(from + row * stride + column);
            *reinterpret_cast<uint4*>(to + row * PITCH + column) = v;
        }
    } else {
        for (int i = threadIdx.x; i < rows * DEPTH; i += THREADS) {
            const int row = i / DEPTH, column = i % DEPTH;
            to[row * PITCH + column] = row < valid ? from[row * stride + column] : Element(0);
        }
    }
}

// --------------------------------------------------------------------------------------- products

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

// c += a b for the gradients: `exact` holds inputs, `other` gradients in the logits. bfloat16 and
// float16 fit into tf32 without loss, and tf32 has float32's range, which a gradient needs and
// float16 has not; its 2^-12 is what rounding the result to float16 costs anyhow.
DEVICE void mma_gradient(float (&c)[4], float (&a)[4], float (&b)[2], bool a_is_exact) {
    if (ELEMENT == 0) {
        mma_f32(c, a, b);
        return;
    }
    if (a_is_exact) {
        b[0] = round_to_tf32(b[0]);
        b[1] = round_to_tf32(b[1]);
    } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) a[i] = round_to_tf32(a[i]);
    }
    mma_tf32(c, a[0], a[1], a[2], a[3], b[0], b[1]);
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
static constexpr bool SHORT = WHOLE <= 2;  // the lane's part of a row fits into a few registers

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
    for (int i = 0; i < WHOLE; ++i)
        multiply_words<4>(out, load_words<4, ALIGNED>(a + 64 * i, low_valid),
                          load_words<4, ALIGNED>(b + 64 * i, high_valid), k + 64 * i);
    if constexpr (WITH_32)
        multiply_words<2>(out, load_words<2, ALIGNED>(a + 64 * WHOLE, low_valid),
                          load_words<2, ALIGNED>(b + 64 * WHOLE, high_valid), k + 64 * WHOLE);
    if constexpr (WITH_16)
        multiply_words<1>(out, load_words<1, ALIGNED>(a + AT_16, low_valid),
                          load_words<1, ALIGNED>(b + AT_16, high_valid), k + AT_16);
}

// ------------------------------------------------------------------------------------- arguments

// What every kernel is given. Strides count elements.
struct Inputs {
    const Element* condition;  // [B or 1, K, heads * DEPTH]
    long long condition_batch, condition_row;  // condition_batch is 0 for a shared condition
    const Element* latent;  // [B, T, heads * DEPTH]
    long long latent_batch, latent_row;
    const float* plane;  // [B, K, T]: the log-target, or the upstream gradient of a map
    long long plane_batch, plane_row, plane_token;
    int heads, keypoints, tokens;
    float scale;
};

// The head's KEYS keypoints from `first` on.
DEVICE void stage_keys(Element* to, const Inputs& in, long long batch, int head, int first) {
    stage_rows(to, in.condition + batch * in.condition_batch + first * in.condition_row +
                       (long long)head * DEPTH,
               in.condition_row, KEYS, in.keypoints - first);
}

DEVICE const Element* token_row(const Inputs& in, long long batch, int head, int token) {
    return in.latent + batch * in.latent_batch + token * in.latent_row + (long long)head * DEPTH;
}

DEVICE float plane_at(const Inputs& in, long long batch, int keypoint, int token) {
    if (keypoint >= in.keypoints || token >= in.tokens) return 0;
    return in.plane[batch * in.plane_batch + keypoint * in.plane_row + token * in.plane_token];
}

// Index of (batch, head, keypoint) in a [B, N, K] tensor.
DEVICE long long row_index(const Inputs& in, long long batch, int head, int keypoint) {
    return (batch * in.heads + head) * in.keypoints + keypoint;
}

// Which part of the work a block does; the head runs fastest, so that neighbours in time are
// neighbours in memory: a head's row of 80 bytes ends in the middle of a 32-byte sector.
struct Place {
    int head, group, split;
    long long batch;
};

DEVICE Place place(int heads, int groups, int splits) {
    long long i = blockIdx.x;
    Place p;
    p.head = int(i % heads);
    i /= heads;
    p.group = int(i % groups);
    i /= groups;
    p.split = int(i % splits);
    p.batch = i / splits;
    return p;
}
