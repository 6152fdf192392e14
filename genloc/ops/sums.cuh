// The passes over the tokens that both ops are made of; an op's kernel.cu fills in what a logit is
// turned into. No pass uses atomics: blocks write partial results, and a second kernel adds them
// in one order, so that every result is the same in every run.

// Flat, because a launch passes numbers and addresses, no structures.
#define INPUTS                                                                                  \
    const Element *condition, long long condition_batch, long long condition_row,               \
        const Element *latent, long long latent_batch, long long latent_row, const float *plane, \
        long long plane_batch, long long plane_row, long long plane_token, long long heads,      \
        long long keypoints, long long tokens, float scale
#define GATHER_INPUTS                                                                      \
    {                                                                                      \
        condition, condition_batch, condition_row, latent, latent_batch, latent_row, plane, \
            plane_batch, plane_row, plane_token, int(heads), int(keypoints), int(tokens), scale \
    }

// Blocks of a kernel: [batch, splits, groups, heads], the last axis fastest.
#define BLOCKS long long groups, long long splits, long long split_tokens

// Three numbers per keypoint of the block's head, in shared memory.
struct Terms {
    float factor[KEYS], norm[KEYS], goal[KEYS];
};

// log2 of a sum of exp2, term by term: `sum` counts in units of exp2(top).
struct LogSum {
    float top, sum;

    DEVICE void clear() {
        top = -infinity();
        sum = 0;
    }

    // With top at minus infinity every term is 0, and so is exp2(-inf - 0). NaN ends up in `sum`.
    DEVICE float unit() const { return top == -infinity() ? 0.0f : top; }

    DEVICE void raise(float to) {
        if (to > top) {
            sum *= exp2f(top - to);
            top = to;
        }
    }

    DEVICE void add(float x) {
        raise(x);
        sum += exp2f(x - unit());
    }

    DEVICE void add(float x, float y) {
        raise(fmaxf(x, y));
        const float u = unit();
        sum += exp2f(x - u) + exp2f(y - u);
    }

    DEVICE void merge(float other_top, float other_sum) {
        raise(other_top);
        sum += other_sum * exp2f(other_top - unit());
    }

    DEVICE float log2() const { return top + log2f(sum); }
};

// ---------------------------------------------------------------------------- sums over the tokens

// For each (batch, head, keypoint), State's numbers over a split of the tokens, into `partial`
// [B, N, K, splits, State::SIZE]. Warps take strips of 16 tokens in turn and share nothing until
// the end; the latent is read once, from device memory straight into fragments.
template <class State>
DEVICE void sum_over_tokens(const Inputs& in, int groups, int splits, int split_tokens,
                            const Terms& terms, float* partial) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
    const Place here = place(in.heads, groups, splits);
    const int first = here.group * KEYS;
    Element* keys = reinterpret_cast<Element*>(shared_bytes);
    float* merged = reinterpret_cast<float*>(keys + KEYS * PITCH);  // [WARPS, KEYS, SIZE]
    stage_keys(keys, in, here.batch, here.head, first);
    __syncthreads();

    State state[TILES][2];
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
        for (int i = 0; i < 2; ++i) state[tile][i].start(terms, 8 * tile + 2 * q + i);

    const int end = min(in.tokens, (here.split + 1) * split_tokens);
    int token = here.split * split_tokens + STRIP * warp + g;  // and token + 8
    Held held, next;
    if constexpr (SHORT)
        hold<VECTOR>(held, token_row(in, here.batch, here.head, token), token < end,
                     token_row(in, here.batch, here.head, token + 8), token + 8 < end);
    for (; token - g < end; token += TOKENS) {
        const Element* row = token_row(in, here.batch, here.head, token);
        if constexpr (SHORT) {  // the next strip is on its way while this one is worked on
            const int after = token + TOKENS;
            hold<VECTOR>(next, row + TOKENS * in.latent_row, after < end,
                         row + (TOKENS + 8) * in.latent_row, after + 8 < end);
        }
        float beside[TILES][4];
        if (State::WITH_PLANE) {
#pragma unroll
            for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    beside[tile][i] = plane_at(in, here.batch, first + 8 * tile + 2 * q + i % 2,
                                               token + 8 * (i / 2));
        }
        Logits logits;
        if constexpr (SHORT) {
            multiply(logits, held, keys);
            held = next;
        } else {
            multiply<VECTOR>(logits, row, token < end, row + 8 * in.latent_row, token + 8 < end,
                             keys);
        }
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
            for (int i = 0; i < 2; ++i)
                state[tile][i].add(
                    token < end ? logits.at[tile][i] * in.scale : -infinity(),
                    token + 8 < end ? logits.at[tile][i + 2] * in.scale : -infinity(),
                    State::WITH_PLANE ? beside[tile][i] : 0.0f,
                    State::WITH_PLANE ? beside[tile][i + 2] : 0.0f);
    }

    // Lanes with the same q hold the same keypoints; then the warps.
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            State& mine = state[tile][i];
#pragma unroll 1
            for (int mask = 4; mask < 32; mask *= 2) {
                float other[State::SIZE];
#pragma unroll
                for (int j = 0; j < State::SIZE; ++j) other[j] = lane_xor(mine.value(j), mask);
                mine.merge(other);
            }
            if (g == 0)
#pragma unroll
                for (int j = 0; j < State::SIZE; ++j)
                    merged[(warp * KEYS + 8 * tile + 2 * q + i) * State::SIZE + j] = mine.value(j);
        }
    __syncthreads();
    const int key = threadIdx.x;
    if (key < KEYS && first + key < in.keypoints) {
        State total;
        total.start(terms, key);
        for (int w = 0; w < WARPS; ++w) total.merge(merged + (w * KEYS + key) * State::SIZE);
        float* to = partial + (row_index(in, here.batch, here.head, first + key) * splits +
                               here.split) * State::SIZE;
#pragma unroll
        for (int j = 0; j < State::SIZE; ++j) to[j] = total.value(j);
    }
}

// ----------------------------------------------------------------------------- sums over the heads

// to[b, k, t] = sum over the heads of Op::weigh(logit, plane, terms). Blocks: heads = 1 in `place`.
template <class Op>
DEVICE void sum_over_heads(const Inputs& in, int groups, int splits, const Op& op, float* to) {
    const int lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
    const Place here = place(1, groups, splits);
    const int first = here.group * KEYS;
    Element* keys = reinterpret_cast<Element*>(shared_bytes);
    Terms& terms = *reinterpret_cast<Terms*>(keys + KEYS * PITCH);
    const int token = here.split * TOKENS + threadIdx.x / 32 * STRIP + g;
    float beside[TILES][4], sum[TILES][4];
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            beside[tile][i] = Op::WITH_PLANE ? plane_at(in, here.batch,
                                                        first + 8 * tile + 2 * q + i % 2,
                                                        token + 8 * (i / 2))
                                             : 0.0f;
            sum[tile][i] = 0;
        }
    for (int head = 0; head < in.heads; ++head) {
        __syncthreads();  // the keypoints of the head before have been read
        stage_keys(keys, in, here.batch, head, first);
        op.terms(terms, in, here.batch, head, first);
        __syncthreads();
        Logits logits;
        const Element* row = token_row(in, here.batch, head, token);
        multiply<VECTOR>(logits, row, token < in.tokens, row + 8 * in.latent_row,
                         token + 8 < in.tokens, keys);
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
            for (int i = 0; i < 4; ++i)
                sum[tile][i] += Op::weigh(logits.at[tile][i] * in.scale, beside[tile][i], terms,
                                          8 * tile + 2 * q + i % 2);
    }
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int key = first + 8 * tile + 2 * q + i % 2, at = token + 8 * (i / 2);
            if (key < in.keypoints && at < in.tokens)
                to[(here.batch * in.keypoints + key) * in.tokens + at] = sum[tile][i];
        }
}
