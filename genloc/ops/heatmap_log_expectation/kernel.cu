// heatmap_log_expectation: forward in one pass over the latent, backward in another.
//
// The text before this is that of the .cuh files in genloc/ops. Statistics per
// (batch, head, keypoint), all in base 2, [3, B, N, K]:
//   norm  = log sum_t exp(l)        goal = log sum_t exp(l + log target)
//   share = exp(goal - norm), over the sum of that over the heads

struct ExpectationState {
    static constexpr int SIZE = 4;
    static constexpr bool WITH_PLANE = true;
    LogSum norm, goal;

    DEVICE void start(const Terms&, int) {
        norm.clear();
        goal.clear();
    }
    DEVICE void add(float x, float y, float target_x, float target_y) {
        norm.add(x, y);
        goal.add(x + target_x * LOG2E, y + target_y * LOG2E);
    }
    DEVICE float value(int i) const {
        return i == 0 ? norm.top : i == 1 ? norm.sum : i == 2 ? goal.top : goal.sum;
    }
    DEVICE void merge(const float* other) {
        norm.merge(other[0], other[1]);
        goal.merge(other[2], other[3]);
    }
};

struct ExpectationOp {
    static constexpr bool WITH_PLANE = true;
    const float* upstream;  // [B, K]
    const float* statistics;
    long long rows;  // B * N * K
    float slope;     // of the logits in natural units

    DEVICE void terms(Terms& terms, const Inputs& in, long long batch, int head, int first) const {
        const int key = threadIdx.x;
        if (key >= KEYS) return;
        const bool exists = first + key < in.keypoints;
        const long long row = exists ? row_index(in, batch, head, first + key) : 0;
        terms.norm[key] = exists ? statistics[row] : 0.0f;
        terms.goal[key] = exists ? statistics[rows + row] : 0.0f;
        terms.factor[key] = exists ? upstream[batch * in.keypoints + first + key] *
                                         statistics[2 * rows + row] * slope
                                   : 0.0f;
    }
    // share * (Q - C): where the target lies, minus where the map is.
    DEVICE static float gradient(float x, float target, const Terms& terms, int key) {
        return terms.factor[key] *
               (exp2f(x + target * LOG2E - terms.goal[key]) - exp2f(x - terms.norm[key]));
    }
    DEVICE static float weigh(float x, float target, const Terms& terms, int key) {
        return terms.factor[key] * exp2f(x + target * LOG2E - terms.goal[key]);
    }
};

// partial [B, N, K, splits, 4]
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    expectation_sums(INPUTS, BLOCKS, float* partial) {
    const Inputs in = GATHER_INPUTS;
    sum_over_tokens<ExpectationState>(in, int(groups), int(splits), int(split_tokens),
                                      *reinterpret_cast<const Terms*>(shared_bytes), partial);
}

// One warp per (batch, keypoint), one lane per head: statistics [3, B, N, K] and out [B, K].
extern "C" __global__ void __launch_bounds__(128)
    expectation_merge(const float* partial, long long splits, long long heads, long long keypoints,
                      long long count, float* statistics, float* out) {
    const int lane = threadIdx.x % 32;
    const long long i = (long long)blockIdx.x * 4 + threadIdx.x / 32;
    if (i >= count) return;
    const long long batch = i / keypoints, key = i % keypoints, rows = count * heads;
    LogSum mean;
    mean.clear();
    for (long long head = lane; head < heads; head += 32) {
        const long long row = (batch * heads + head) * keypoints + key;
        ExpectationState all;
        all.norm.clear();
        all.goal.clear();
        for (long long split = 0; split < splits; ++split)
            all.merge(partial + (row * splits + split) * ExpectationState::SIZE);
        statistics[row] = all.norm.log2();
        statistics[rows + row] = all.goal.log2();
        mean.add(all.goal.log2() - all.norm.log2());
    }
    for (int mask = 1; mask < 32; mask *= 2) {
        const float top = lane_xor(mean.top, mask), sum = lane_xor(mean.sum, mask);
        mean.merge(top, sum);
    }
    const float merged = mean.log2();
    for (long long head = lane; head < heads; head += 32) {
        const long long row = (batch * heads + head) * keypoints + key;
        statistics[2 * rows + row] = exp2f(statistics[rows + row] - statistics[row] - merged);
    }
    if (lane == 0) out[i] = (merged - log2f(float(heads))) * LN2;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    expectation_gradients(INPUTS, BLOCKS, const float* upstream, const float* statistics,
                          long long rows, float slope, Element* latent_gradient, float* partial) {
    const Inputs in = GATHER_INPUTS;
    const ExpectationOp op = {upstream, statistics, rows, slope};
    both_gradients(in, int(groups), int(splits), int(split_tokens), op, latent_gradient, partial);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    expectation_latent_gradient(INPUTS, BLOCKS, const float* upstream, const float* statistics,
                                long long rows, float slope, Element* latent_gradient) {
    const Inputs in = GATHER_INPUTS;
    const ExpectationOp op = {upstream, statistics, rows, slope};
    gradient_of_latent(in, int(groups), int(splits), op, latent_gradient);
}

// to [B, K, T]
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    expectation_target_gradient(INPUTS, BLOCKS, const float* upstream, const float* statistics,
                                long long rows, float* to) {
    const Inputs in = GATHER_INPUTS;
    const ExpectationOp op = {upstream, statistics, rows, 1.0f};
    sum_over_heads(in, int(groups), int(splits), op, to);
}
