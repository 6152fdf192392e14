// Rows of tokens and keypoints: how the kernels of both ops read their inputs.
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
