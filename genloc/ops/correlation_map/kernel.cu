// correlation_map: one pass over the latent for the normalisers and one that writes the map;
// backward one pass for <map, upstream> per row and one for the gradients.
//
// The text before this is that of the .cuh files in genloc/ops. Per (batch, head,
// keypoint), statistics [2, B, N, K]: top, the largest logit in base 2, and sum = sum_t exp(l - top);
// kept apart, because the logarithm of the sum would cost the map a bit or two. For the backward
// pass dot = sum_t exp(l - top) upstream[t].

struct NormState {
    static constexpr int SIZE = 2;
    static constexpr bool WITH_PLANE = false;
    LogSum norm;

    DEVICE void start(const Terms&, int) { norm.clear(); }
    DEVICE void add(float x, float y, float, float) { norm.add(x, y); }
    DEVICE float value(int i) const { return i == 0 ? norm.top : norm.sum; }
    DEVICE void merge(const float* other) { norm.merge(other[0], other[1]); }
};

struct DotState {
    static constexpr int SIZE = 1;
    static constexpr bool WITH_PLANE = true;
    float sum, top;

    DEVICE void start(const Terms& terms, int key) {
        sum = 0;
        top = terms.norm[key];
    }
    DEVICE void add(float x, float y, float upstream_x, float upstream_y) {
        sum += exp2f(x - top) * upstream_x + exp2f(y - top) * upstream_y;
    }
    DEVICE float value(int) const { return sum; }
    DEVICE void merge(const float* other) { sum += other[0]; }
};

struct MapOp {
    static constexpr bool WITH_PLANE = false;
    const float* statistics;
    long long rows;     // B * N * K
    const float* dots;  // [B, N, K, splits] or null
    int dot_splits;
    float factor;

    DEVICE void terms(Terms& terms, const Inputs& in, long long batch, int head, int first) const {
        const int key = threadIdx.x;
        if (key >= KEYS) return;
        const bool exists = first + key < in.keypoints;
        const long long row = exists ? row_index(in, batch, head, first + key) : 0;
        const float sum = exists ? statistics[rows + row] : 1.0f;
        float dot = 0;
        if (exists && dots)
            for (int split = 0; split < dot_splits; ++split) dot += dots[row * dot_splits + split];
        terms.norm[key] = exists ? statistics[row] : 0.0f;
        terms.goal[key] = dot / sum;
        terms.factor[key] = exists ? factor / sum : 0.0f;
    }
    DEVICE static float gradient(float x, float upstream, const Terms& terms, int key) {
        return terms.factor[key] * exp2f(x - terms.norm[key]) * (upstream - terms.goal[key]);
    }
    DEVICE static float weigh(float x, float, const Terms& terms, int key) {
        return terms.factor[key] * exp2f(x - terms.norm[key]);
    }
};

// partial [B, N, K, splits, 2]
extern "C" __global__ void __launch_bounds__(THREADS, 1) map_sums(INPUTS, BLOCKS, float* partial) {
    const Inputs in = GATHER_INPUTS;
    sum_over_tokens<NormState>(in, int(groups), int(splits), int(split_tokens),
                               *reinterpret_cast<const Terms*>(shared_bytes), partial);
}

// One thread per row: statistics [2, B, N, K].
extern "C" __global__ void __launch_bounds__(128)
    map_merge(const float* partial, long long splits, long long count, float* statistics) {
    const long long row = (long long)blockIdx.x * 128 + threadIdx.x;
    if (row >= count) return;
    LogSum all;
    all.clear();
    for (long long split = 0; split < splits; ++split) {
        const float* from = partial + (row * splits + split) * NormState::SIZE;
        all.merge(from[0], from[1]);
    }
    statistics[row] = all.top;
    statistics[count + row] = all.sum;
}

// to [B, K, T], the mean over the heads
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    map_write(INPUTS, BLOCKS, const float* statistics, long long rows, float* to) {
    const Inputs in = GATHER_INPUTS;
    const MapOp op = {statistics, rows, nullptr, 0, 1.0f / float(heads)};
    sum_over_heads(in, int(groups), int(splits), op, to);
}

// partial [B, N, K, splits]
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    map_dots(INPUTS, BLOCKS, const float* statistics, long long rows, float* partial) {
    const Inputs in = GATHER_INPUTS;
    unsigned char* merged = shared_bytes + KEYS * PITCH * sizeof(Element);
    Terms& terms =
        *reinterpret_cast<Terms*>(merged + WARPS * KEYS * DotState::SIZE * sizeof(float));
    const MapOp op = {statistics, rows, nullptr, 0, 1.0f};
    const Place here = place(in.heads, int(groups), int(splits));
    op.terms(terms, in, here.batch, here.head, here.group * KEYS);
    sum_over_tokens<DotState>(in, int(groups), int(splits), int(split_tokens), terms, partial);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    map_gradients(INPUTS, BLOCKS, const float* statistics, long long rows, const float* dots,
                  long long dot_splits, float slope, Element* latent_gradient, float* partial) {
    const Inputs in = GATHER_INPUTS;
    const MapOp op = {statistics, rows, dots, int(dot_splits), slope / float(heads)};
    both_gradients(in, int(groups), int(splits), int(split_tokens), op, latent_gradient, partial);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    map_latent_gradient(INPUTS, BLOCKS, const float* statistics, long long rows, const float* dots,
                        long long dot_splits, float slope, Element* latent_gradient) {
    const Inputs in = GATHER_INPUTS;
    const MapOp op = {statistics, rows, dots, int(dot_splits), slope / float(heads)};
    gradient_of_latent(in, int(groups), int(splits), op, latent_gradient);
}
