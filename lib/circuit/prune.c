#include "circuit/prune.h"

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "optim/adamw.h"
#include "optim/schedule.h"

#define CLIP_NORM 1.0

int masks_create(struct masks *masks, struct sn_context *context, size_t n)
{
    memset(masks, 0, sizeof *masks);
    masks->memory = memory_retain(context->memory);
    masks->n = n;
    masks->tau = memory_allocate_zeroed_array(masks->memory, n, sizeof(float));
    masks->gradient = memory_allocate_zeroed_array(masks->memory, n, sizeof(float));
    masks->first = memory_allocate_zeroed_array(masks->memory, n, sizeof(float));
    masks->second = memory_allocate_zeroed_array(masks->memory, n, sizeof(float));
    if (masks->tau && masks->gradient && masks->first && masks->second)
        return SN_OK;
    masks_free(masks);
    return fail_memory(context, "node masks", 4 * n * sizeof(float));
}

void masks_free(struct masks *masks)
{
    if (!masks->memory)
        return;
    size_t size = masks->n * sizeof(float);
    memory_free(masks->memory, masks->tau, size);
    memory_free(masks->memory, masks->gradient, size);
    memory_free(masks->memory, masks->first, size);
    memory_free(masks->memory, masks->second, size);
    memory_release(masks->memory);
    memset(masks, 0, sizeof *masks);
}

static void clamp(float *tau, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tau[i] = tau[i] > 1 ? 1 : tau[i] < -1 ? -1 : tau[i];
}

void masks_start(struct masks *masks, uint64_t seed, double bias, double noise)
{
    struct random_state random;
    random_seed(&random, seed, 0);
    for (size_t i = 0; i < masks->n; i++)
        masks->tau[i] = (float)(bias + noise * random_normal(&random));
    clamp(masks->tau, masks->n);
    memset(masks->first, 0, masks->n * sizeof(float));
    memset(masks->second, 0, masks->n * sizeof(float));
    memset(&masks->loss, 0, sizeof masks->loss);
    memset(&masks->kept, 0, sizeof masks->kept);
}

void masks_heaviside(float *mask, const float *tau, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mask[i] = tau[i] > 0 ? 1.0f : 0.0f;
}

void masks_surrogate(struct masks *masks, const float *dm, double k_coef, double temperature)
{
    for (size_t i = 0; i < masks->n; i++) {
        double s = 1 / (1 + exp(-(double)masks->tau[i] / temperature));
        masks->gradient[i] = (float)(((double)dm[i] + k_coef) * s * (1 - s) / temperature);
    }
}

static double clip_scale(const float *gradient, size_t n, double clip)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)gradient[i] * (double)gradient[i];
    double norm = sqrt(sum);
    return clip > 0 && norm > clip ? clip / norm : 1;
}

int masks_step(struct masks *masks, struct sn_context *context, uint64_t t, double learning_rate,
               double weight_decay, double beta2, double clip)
{
    struct adamw adamw = {.learning_rate = (float)learning_rate,
                          .epsilon = 1e-8f,
                          .gradient_scale = (float)clip_scale(masks->gradient, masks->n, clip)};
    adamw_set_step(&adamw, 0.9, beta2, t);
    struct optim_array array = {.weight = masks->tau,
                                .first = masks->first,
                                .second = masks->second,
                                .gradient = masks->gradient,
                                .n = masks->n,
                                .decay_factor = (float)(1 - learning_rate * weight_decay)};
    int status = adamw_update(context, &adamw, &array, 1);
    clamp(masks->tau, masks->n);
    return status;
}

/* One run: which pairs come next (every pair once, in a random order, then again in another). */
struct learner {
    struct masks *masks;
    struct judge *judge;
    const struct extract_settings *settings;
    const size_t *partner;
    double k_coef;
    struct random_state random;
    size_t *deck, *batch;
    size_t n_deck, next, n_batch;
    unsigned char *kept_edges; /* with masks of edges: those above 0 */
};

static void draw_batch(struct learner *learner)
{
    for (size_t i = 0; i < learner->n_batch; i++) {
        if (learner->next == learner->n_deck) {
            random_shuffle(&learner->random, learner->deck, learner->n_deck);
            learner->next = 0;
        }
        learner->batch[i] = learner->deck[learner->next++];
    }
}

/* Tied masks move as one: both get the sum of their gradients. */
static void tie(float *gradient, const size_t *partner, size_t n)
{
    for (size_t i = 0; partner && i < n; i++) {
        if (partner[i] <= i)
            continue;
        gradient[i] += gradient[partner[i]];
        gradient[partner[i]] = gradient[i];
    }
}

/* Forward and backward of pairs [first, last) of the batch; adds their share of the loss. */
static int add_gradient(double *loss, struct learner *learner, size_t first, size_t last)
{
    static const struct calibration raw = {1, 0};
    struct judge *judge = learner->judge;
    struct pair_batch *batch = &judge->batch;
    double part = 0, share = (double)(last - first) / (double)learner->n_batch;
    int status = pair_batch_fill(batch, judge->context, judge->tasks[JUDGE_FIT], learner->batch + first,
                                 0, last - first, judge->model->config.vocab_size);
    if (status == SN_OK)
        status = pair_batch_forward(batch, judge->session);
    if (status == SN_OK)
        status = learner->settings->loss == LOSS_PAIR
                     ? pair_batch_backward(&part, batch, judge->session, raw, share)
                     : pair_batch_backward_vocabulary(&part, batch, judge->session);
    *loss += share * part;
    return status;
}

/* Tokens of one forward and backward. What is kept between the two is most of the memory, and waits for slower
 * caches where it is much: so few tokens, of large models the fewest; but enough that few panels are filled
 * only in part and threads have some to share. */
#define LEAST_TOKENS 512
#define MOST_TOKENS 1024
#define CHANNELS ((size_t)1 << 22) /* of the streams of all tokens, between the two */

size_t prune_chunk_tokens(const struct config *config)
{
    size_t tokens = CHANNELS / (config->n_layer * config->d_model + 1);
    if (tokens > MOST_TOKENS)
        return MOST_TOKENS;
    return tokens < LEAST_TOKENS ? LEAST_TOKENS : tokens;
}

/* Gradient of the task loss by the masks on the next batch, a few pairs at a time. (The loss over the vocabulary
 * has no shares: it takes the batch as one.) */
static int batch_gradient(double *loss, struct learner *learner)
{
    struct judge *judge = learner->judge;
    size_t tokens =
        learner->settings->loss == LOSS_PAIR ? prune_chunk_tokens(&judge->model->config) : (size_t)-1;
    draw_batch(learner);
    gates_zero_gradient(&judge->gates);
    *loss = 0;
    int status = sn_session_zero_gradients(judge->session);
    for (size_t first = 0, last; status == SN_OK && first < learner->n_batch; first = last) {
        last = pair_batch_end(judge->tasks[JUDGE_FIT], learner->batch, first, learner->n_batch, tokens);
        status = add_gradient(loss, learner, first, last);
    }
    return status;
}

static int learn_step(double *loss, struct learner *learner, size_t step)
{
    const struct extract_settings *settings = learner->settings;
    struct masks *masks = learner->masks;
    struct judge *judge = learner->judge;
    int status = SN_OK;
    if (learner->kept_edges) {
        for (size_t i = 0; i < masks->n; i++)
            learner->kept_edges[i] = masks->tau[i] > 0;
        status = gated_set(&judge->gated, judge->context, learner->kept_edges, 1);
    } else {
        masks_heaviside(judge->gates.mask, masks->tau, masks->n);
    }
    if (status == SN_OK)
        status = batch_gradient(loss, learner);
    if (status != SN_OK)
        return status;
    if (learner->kept_edges)
        gated_gradient(&judge->gated, judge->session);
    masks_surrogate(masks, learner->kept_edges ? judge->gated.gradient : judge->gates.gradient,
                    learner->k_coef, settings->temperature);
    tie(masks->gradient, learner->partner, masks->n);
    double rate =
        settings->learning_rate * schedule_warmup_decay(step, settings->steps, settings->warmup);
    return masks_step(masks, learner->judge->context, step + 1, rate, settings->weight_decay,
                      settings->beta2, CLIP_NORM);
}

static void record_step(struct masks *masks, size_t step, double loss)
{
    size_t n_kept = 0;
    for (size_t i = 0; i < masks->n; i++)
        n_kept += masks->tau[i] > 0;
    curve_add(&masks->loss, (double)step, loss);
    curve_add(&masks->kept, (double)step, (double)n_kept);
}

static void learner_start(struct learner *learner)
{
    struct masks *masks = learner->masks;
    for (size_t i = 0; i < learner->n_deck; i++)
        learner->deck[i] = i;
    learner->next = learner->n_deck;
    random_seed(&learner->random, learner->settings->seed, 1);
    masks_start(masks, learner->settings->seed, learner->settings->init_bias,
                learner->settings->init_noise);
    for (size_t i = 0; learner->partner && i < masks->n; i++)
        masks->tau[i] = masks->tau[learner->partner[i] < i ? learner->partner[i] : i];
}

/* Masks of edges leave the nodes alone: what all of a node's edges carry is its mean then. */
static int learner_attach(struct learner *learner)
{
    struct judge *judge = learner->judge;
    if (!judge->gated.memory)
        return gates_attach(&judge->gates, judge->session, 1);
    learner->kept_edges = memory_allocate(judge->context->memory, learner->masks->n);
    return learner->kept_edges ? SN_OK
                               : fail_memory(judge->context, "masks of edges", learner->masks->n);
}

int prune_learn(struct masks *masks, struct judge *judge, const struct extract_settings *settings,
                double k_coef, const size_t *partner, size_t done, size_t total)
{
    struct memory *memory = judge->context->memory;
    struct learner learner = {.masks = masks,
                              .judge = judge,
                              .settings = settings,
                              .partner = partner,
                              .k_coef = k_coef,
                              .n_deck = judge->n_pairs[JUDGE_FIT]};
    learner.n_batch = settings->batch < learner.n_deck ? settings->batch : learner.n_deck;
    learner.batch = memory_allocate_array(memory, learner.n_batch, sizeof(size_t));
    learner.deck = memory_allocate_array(memory, learner.n_deck, sizeof(size_t));
    int status = SN_OK;
    if (!learner.batch || !learner.deck)
        status = fail_memory(judge->context, "a batch of pairs", learner.n_deck * sizeof(size_t));
    if (status == SN_OK) {
        learner_start(&learner);
        status = learner_attach(&learner);
    }
    for (size_t step = 0; status == SN_OK && step < settings->steps; step++) {
        double loss = 0;
        status = learn_step(&loss, &learner, step);
        record_step(masks, step + 1, loss);
        if (status == SN_OK)
            status = progress(judge->context, "prune", done + step + 1, total, loss);
    }
    gates_detach(&judge->gates);
    memory_free(memory, learner.kept_edges, masks->n);
    memory_free(memory, learner.batch, learner.n_batch * sizeof(size_t));
    memory_free(memory, learner.deck, learner.n_deck * sizeof(size_t));
    return status;
}

#define INTEGRATION_STEPS 16

/* tau in (-1, 0], the largest score at 0. */
static void scores_to_tau(struct masks *masks, const double *score)
{
    double largest = 0;
    for (size_t i = 0; i < masks->n; i++)
        largest = fmax(largest, fabs(score[i]));
    for (size_t i = 0; i < masks->n; i++)
        masks->tau[i] = largest > 0 ? (float)(fabs(score[i]) / largest) - 1 : 0;
}

static void tie_scores(double *score, const size_t *partner, size_t n)
{
    for (size_t i = 0; partner && i < n; i++)
        if (partner[i] > i) {
            score[i] += score[partner[i]];
            score[partner[i]] = score[i];
        }
}

int prune_attribute(struct masks *masks, struct judge *judge, enum mask_scores scores,
                    const size_t *partner)
{
    size_t n_steps = scores == SCORES_INTEGRATED ? INTEGRATION_STEPS : 1;
    double *score = memory_allocate_zeroed_array(masks->memory, masks->n, sizeof *score);
    int status = score ? SN_OK : fail_memory(judge->context, "attributions", masks->n * sizeof *score);
    for (size_t step = 0; status == SN_OK && step < n_steps; step++) {
        float level = n_steps > 1 ? ((float)step + 0.5f) / (float)n_steps : 1;
        status = judge_gradient_at(judge, level, JUDGE_FIT);
        const float *gradient = judge->gated.memory ? judge->gated.gradient : judge->gates.gradient;
        for (size_t i = 0; status == SN_OK && i < masks->n; i++)
            score[i] += (double)gradient[i];
        if (status == SN_OK)
            status = progress(judge->context, "attribute", step + 1, n_steps, 0);
    }
    if (status == SN_OK) {
        tie_scores(score, partner, masks->n);
        scores_to_tau(masks, score);
    }
    memory_free(masks->memory, score, masks->n * sizeof *score);
    return status;
}
