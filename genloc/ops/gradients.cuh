// Gradients in latent and condition, from what an op makes of a logit.

// c[4] += (gradient in the logits) (keypoints) for two neighbouring channels per lane, of which
// `column` is the one this lane reads. A logit's columns 2q and 2q + 1 are handed over as the
// columns q and q + 4 of the fragment: the contraction over keypoints may take them in any order.
DEVICE void multiply_keys(float (&c)[4], const Logits& gradient, const Element* keys, int column) {
    const int q = threadIdx.x % 4;
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile) {
        const float(&at)[4] = gradient.at[tile];
        const float a[4] = {at[0], at[2], at[1], at[3]};
        const Element* row = keys + (8 * tile + 2 * q) * PITCH + column;
        const float b[2] = {to_float(row[0]), to_float(row[PITCH])};
        mma_gradient(c, a, b, false);
    }
}

DEVICE void store_word(Element* to, float x, float y) {
    if (ELEMENT == 0) {
        to[0] = from_float(x);
        to[1] = from_float(y);
    } else {
        *reinterpret_cast<unsigned*>(to) = (unsigned)from_float(x) | (unsigned)from_float(y) << 16;
    }
}

// One token's gradient in four neighbouring channels. The op allocates it, so it is aligned.
DEVICE void store_four(Element* to, float x, float y, float z, float w) {
    if (ELEMENT == 0) {
        *reinterpret_cast<float4*>(to) = make_float4(x, y, z, w);
    } else {
        *reinterpret_cast<uint2*>(to) =
            make_uint2((unsigned)from_float(x) | (unsigned)from_float(y) << 16,
                       (unsigned)from_float(z) | (unsigned)from_float(w) << 16);
    }
}

// Columns of 16 channels for two products: with these, a lane's four results per token lie side by
// side, and four lanes fill a sector of 32 bytes.
DEVICE int paired_column(int g) { return g / 2 * 4 + g % 2; }

// The logits' gradient of a strip: Op::gradient where token and keypoint exist, else 0.
template <class Op>
DEVICE void differentiate(Logits& logits, const Inputs& in, const Terms& terms, long long batch,
                          int first, int token, int end) {
    const int q = threadIdx.x % 4;
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int key = 8 * tile + 2 * q + i % 2, at = token + 8 * (i / 2);
            float& x = logits.at[tile][i];
            if (first + key < in.keypoints && at < end)
                x = Op::gradient(x * in.scale, plane_at(in, batch, first + key, at), terms, key);
            else
                x = 0;
        }
}

// Both gradients in one pass over the latent; for up to KEYS keypoints, or the condition's alone.
// `latent_gradient` [B, T, N*D] and `partial` [B, splits, N, K, D]: either may be null.
template <class Op>
DEVICE void both_gradients(const Inputs& in, int groups, int splits, int split_tokens,
                           const Op& op, Element* latent_gradient, float* partial) {
    constexpr int GRADIENT_PITCH = KEYS + (TILES % 2 ? 0 : 8);  // no two lanes in one bank
    constexpr int ROWS = (DEPTH + 15) / 16;                     // 16 channels each
    constexpr int MINE = (ROWS + WARPS - 1) / WARPS;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
    const Place here = place(in.heads, groups, splits);
    const int first = here.group * KEYS;
    Element* keys = reinterpret_cast<Element*>(shared_bytes);
    Element* tile_latent = keys + KEYS * PITCH;                                     // [TOKENS, D]
    float* tile_gradient = reinterpret_cast<float*>(tile_latent + TOKENS * PITCH);  // [TOKENS, K]
    Terms& terms = *reinterpret_cast<Terms*>(tile_gradient + TOKENS * GRADIENT_PITCH);
    stage_keys(keys, in, here.batch, here.head, first);
    op.terms(terms, in, here.batch, here.head, first);

    float sum[MINE][TILES][4];
#pragma unroll
    for (int m = 0; m < MINE; ++m)
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
            for (int i = 0; i < 4; ++i) sum[m][tile][i] = 0;

    const int begin = here.split * split_tokens, end = min(in.tokens, begin + split_tokens);
    for (int start = begin; start < end; start += TOKENS) {
        stage_rows(tile_latent, token_row(in, here.batch, here.head, start), in.latent_row, TOKENS,
                   end - start);
        __syncthreads();
        const int mine = warp * STRIP + g, token = start + mine;
        const Element* row = tile_latent + mine * PITCH;
        Logits gradient;
        multiply<true>(gradient, row, true, row + 8 * PITCH, true, keys);
        differentiate<Op>(gradient, in, terms, here.batch, first, token, end);

        if (latent_gradient) {
            Element* to = latent_gradient +
                          ((here.batch * in.tokens + token) * in.heads + here.head) * DEPTH;
            Element* to_high = to + 8LL * in.heads * DEPTH;
#pragma unroll 1
            for (int d = 0; d + 16 <= DEPTH; d += 16) {
                float x[4] = {0, 0, 0, 0}, y[4] = {0, 0, 0, 0};
                multiply_keys(x, gradient, keys, d + paired_column(g));
                multiply_keys(y, gradient, keys, d + paired_column(g) + 2);
                if (token < end) store_four(to + d + 4 * q, x[0], x[1], y[0], y[1]);
                if (token + 8 < end) store_four(to_high + d + 4 * q, x[2], x[3], y[2], y[3]);
            }
            if (DEPTH % 16) {
                float x[4] = {0, 0, 0, 0};
                multiply_keys(x, gradient, keys, DEPTH - 8 + g);
                if (token < end) store_word(to + DEPTH - 8 + 2 * q, x[0], x[1]);
                if (token + 8 < end) store_word(to_high + DEPTH - 8 + 2 * q, x[2], x[3]);
            }
        }
        if (partial) {
#pragma unroll
            for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    tile_gradient[(mine + 8 * (i / 2)) * GRADIENT_PITCH + 8 * tile + 2 * q +
                                  i % 2] = gradient.at[tile][i];
            __syncthreads();
            // Channels by tokens times tokens by keypoints: each warp its share of the channels.
#pragma unroll 1
            for (int t = q; t < TOKENS; t += 8) {
                float b[TILES][2];
#pragma unroll
                for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
                    for (int i = 0; i < 2; ++i)
                        b[tile][i] = tile_gradient[(t + 4 * i) * GRADIENT_PITCH + 8 * tile + g];
#pragma unroll
                for (int m = 0; m < MINE; ++m) {
                    const int d = 16 * (warp + m * WARPS) + g;
                    if (16 * (warp + m * WARPS) >= DEPTH) continue;  // the whole warp
                    const Element* at = tile_latent + t * PITCH + d;
                    const bool whole = d - g + 16 <= DEPTH;
                    const float a[4] = {to_float(at[0]), whole ? to_float(at[8]) : 0.0f,
                                  to_float(at[4 * PITCH]),
                                  whole ? to_float(at[4 * PITCH + 8]) : 0.0f};
#pragma unroll
                    for (int tile = 0; tile < TILES; ++tile)
                        mma_gradient(sum[m][tile], a, b[tile], true);
                }
            }
        }
        __syncthreads();  // before the next tokens take the place of these
    }

    if (!partial) return;
    float* to = partial + ((here.batch * splits + here.split) * in.heads + here.head) *
                              in.keypoints * DEPTH;
#pragma unroll
    for (int m = 0; m < MINE; ++m)
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int d = 16 * (warp + m * WARPS) + g + 8 * (i / 2);
                const int key = first + 8 * tile + 2 * q + i % 2;
                if (d < DEPTH && key < in.keypoints) to[key * DEPTH + d] = sum[m][tile][i];
            }
}

// The latent's gradient alone, for any number of keypoints: KEYS of them after the other.
template <class Op>
DEVICE void gradient_of_latent(const Inputs& in, int groups, int splits, const Op& op,
                               Element* latent_gradient) {
    const int lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
    const Place here = place(in.heads, 1, splits);
    Element* keys = reinterpret_cast<Element*>(shared_bytes);
    Terms& terms = *reinterpret_cast<Terms*>(keys + KEYS * PITCH);
    const int token = here.split * TOKENS + threadIdx.x / 32 * STRIP + g;
    const Element* row = token_row(in, here.batch, here.head, token);
    Element* to =
        latent_gradient + ((here.batch * in.tokens + token) * in.heads + here.head) * DEPTH;
    // At most 80 channels at a time: more sums than that do not fit into registers.
    constexpr int SLICES = (DEPTH + 79) / 80;
    constexpr int SLICE = (DEPTH / 8 + SLICES - 1) / SLICES;  // in steps of 8 channels
#pragma unroll 1
    for (int slice = 0; slice < SLICES; ++slice) {
        float sum[SLICE][4];
#pragma unroll
        for (int i = 0; i < SLICE; ++i)
#pragma unroll
            for (int j = 0; j < 4; ++j) sum[i][j] = 0;
        for (int group = 0; group < groups; ++group) {
            const int first = group * KEYS;
            __syncthreads();  // the keypoints before have been read
            stage_keys(keys, in, here.batch, here.head, first);
            op.terms(terms, in, here.batch, here.head, first);
            __syncthreads();
            Logits gradient;
            multiply<VECTOR>(gradient, row, token < in.tokens, row + 8 * in.latent_row,
                             token + 8 < in.tokens, keys);
            differentiate<Op>(gradient, in, terms, here.batch, first, token, in.tokens);
#pragma unroll
            for (int i = 0; i < SLICE; ++i) {
                const int d = 8 * (slice * SLICE + i);
                if (d < DEPTH) multiply_keys(sum[i], gradient, keys, d + g);
            }
        }
#pragma unroll
        for (int i = 0; i < SLICE; ++i) {
            const int d = 8 * (slice * SLICE + i);
            if (d >= DEPTH) break;
            if (token < in.tokens) store_word(to + d + 2 * q, sum[i][0], sum[i][1]);
            if (token + 8 < in.tokens)
                store_word(to + 8LL * in.heads * DEPTH + d + 2 * q, sum[i][2], sum[i][3]);
        }
    }
}

// condition_gradient [C, K, N*D] = partial [C, parts, N, K, D] summed over `parts`; C is 1 for a
// shared condition, whose parts are all crops' splits. Blocks of 32 values by 8 shares of the parts.
extern "C" __global__ void __launch_bounds__(256)
    sum_condition_gradient(const float* partial, long long parts, long long heads,
                           long long keypoints, long long count, Element* to) {
    float* share = reinterpret_cast<float*>(shared_bytes);  // [8, 32]
    const int column = threadIdx.x % 32, row = threadIdx.x / 32;
    const long long values = heads * keypoints * DEPTH;
    const long long i = (long long)blockIdx.x * 32 + column;  // in [C, N, K, D]
    float sum = 0;
    if (i < count) {
        const float* from = partial + i / values * parts * values + i % values;
        for (long long part = row; part < parts; part += 8) sum += from[part * values];
    }
    share[32 * row + column] = sum;
    __syncthreads();
    if (row == 0 && i < count) {
        for (int r = 1; r < 8; ++r) sum += share[32 * r + column];
        const long long d = i % DEPTH, key = i / DEPTH % keypoints;
        const long long head = i / DEPTH / keypoints % heads, crop = i / values;
        to[((crop * keypoints + key) * heads + head) * DEPTH + d] = from_float(sum);
    }
}
