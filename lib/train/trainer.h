/* The inside of a trainer, shared by the files of this floor: settings.c reads the options, sources.c
 * takes what is learnt from, windows.c draws batches, trainer.c runs steps, step_dense.c and
 * step_support.c are the two ways to update and mask, refresh.c drops and grows entries of the support,
 * checkpoint.c saves and resumes.
 *
 * A batch is a function of (seed, step), so a trainer holds no random state. */
#ifndef SN_TRAIN_TRAINER_H
#define SN_TRAIN_TRAINER_H

#include "base/options.h"
#include "model/session.h"
#include "optim/gradient_scale.h"
#include "optim/schedule.h"

enum train_gradient { TRAIN_DENSE, TRAIN_SUPPORT };
enum train_order { ORDER_DECAY_FIRST, ORDER_SCRIPT };

/* Which density governs a parameter; PARAMETER_DENSE ones are never masked. */
enum density_class { CLASS_MATRIX, CLASS_EMBEDDING, CLASS_BIAS, CLASS_BIGRAM, CLASS_DENSE, N_CLASSES };

struct train_settings {
    size_t steps, batch, window, seed, minimum_per_neuron, refresh_interval, checkpoint_interval;
    double learning_rate, warmup, beta1, beta2, epsilon, weight_decay, rms_limit;
    double density, density_embedding, density_bias, density_bigram;
    double schedule_power, schedule_start_density, schedule_start, schedule_end;
    double refresh_fraction, refresh_end, task_weight;
    int rms_mode, schedule, learning_rate_scale, gradient, order, recompute;
};

/* How far the update of one parameter has come: one that lacked memory goes on from there. */
enum update_stage { UPDATE_OPEN, UPDATE_SELECTED, UPDATE_MASKED, UPDATE_DONE };

/* One trainable parameter. The weights that AdamW updates are
 *   vectors:       the model's vector
 *   TRAIN_DENSE:   master->values (the model's matrix itself while that is dense)
 *   TRAIN_SUPPORT: the model's matrix->values
 * and the moments lie in the same order. */
struct train_parameter {
    size_t index; /* in model->parameters */
    enum density_class class;
    size_t elements; /* rows x cols, or rows */
    size_t n_values; /* length of the moments */
    float *first, *second;
    struct sn_matrix *master; /* TRAIN_DENSE, 2-D: zero off the support */
    unsigned char *keep;      /* elements, 0 or 1; NULL = all kept, or sparse in TRAIN_SUPPORT */
    size_t support;           /* kept entries */
    int minimum_lowered;      /* the minimum per neuron did not fit at the last selection */
    enum update_stage stage;  /* of this step's update */
    int changed;              /* this step chose another support */
    int replaced;             /* this step gave the model another matrix object */
};

/* What one step does beside AdamW. */
struct step_plan {
    double learning_rate;
    double density[N_CLASSES];
    int refresh;          /* TRAIN_SUPPORT: choose the support anew */
    double drop_fraction; /* of the support, replaced by growth */
};

struct train_source {
    const sn_corpus *corpus; /* lent */
    const sn_task *task;     /* lent, instead of a corpus; known by its public functions alone */
    double share;
    size_t window; /* of a corpus */
};

/* A batch, sequences packed end to end. A row is a token that has a target: every one of a window, of a
 * prompt the last. */
struct train_windows {
    size_t capacity, window; /* at most so many sequences of at most so many tokens */
    int32_t *tokens;         /* room for capacity x window, as all by the row */
    int32_t *targets;        /* by the row */
    float *weights;          /* by the row, NULL where there is no task */
    size_t *rows;            /* where the rows are in the batch, NULL where there is no task */
    size_t *offsets;         /* capacity + 1 */
    unsigned char *prompt;   /* by the sequence, NULL where there is no task */
    size_t n_sequences, n_rows;
};

/* What one step learns from. */
struct train_batch {
    const int32_t *tokens;
    const size_t *offsets;
    size_t n_sequences;
    const int32_t *targets; /* by the row */
    const size_t *rows;     /* NULL: every token */
    size_t n_rows;
    const float *weights; /* by the row; NULL: 1 each */
};

struct refresh;

struct sn_trainer {
    struct sn_context *context;
    struct memory *memory; /* retained */
    struct sn_model *model;
    struct sn_session *session;
    struct thread_pool *serial; /* of one thread, for work inside a chunk */
    struct train_settings settings;
    struct train_parameter *parameters;
    struct optim_array *arrays; /* one per parameter, set anew at each step */
    size_t n_parameters;
    size_t n_elements; /* of all trainable parameters: the RMS is over them */
    struct train_source *sources;
    size_t n_sources;
    struct train_windows windows;
    struct refresh *refresh; /* refresh.c; NULL between refreshes */
    char *checkpoint_path;
    size_t step; /* steps done */
    double loss, text_loss, task_loss, gradient_rms, learning_rate;
    struct step_plan plan; /* of an unfinished step */
    double unfinished_loss;
    int unfinished; /* weights have moved, and memory lacked for what follows: the next step does that first */
    int broken; /* a step failed otherwise after it had begun to change weights */
};

/* settings.c */
extern const struct option_spec train_option_specs[];
extern const size_t n_train_option_specs;
int settings_read(struct train_settings *settings, struct sn_context *context, const char *function,
                  const struct config *config, const sn_options *options);
/* Contradictions between settings, and between them and the model. */
int settings_check(const struct train_settings *settings, struct sn_context *context,
                   const char *function, const struct config *config);
/* Densities once `done` steps are done. */
void settings_densities(double density[N_CLASSES], const struct train_settings *settings, size_t done);
/* What step number `step` (from 0) does. */
struct step_plan settings_plan(const struct train_settings *settings, size_t step);

/* trainer.c */
/* A trainer around `model` (taken over also on failure), parameters listed, session made; the caller
 * fills moments and supports. */
int trainer_allocate(struct sn_trainer **out, struct sn_context *context, struct sn_model *model,
                     const struct train_settings *settings);
/* SN_ERROR_STATE while a step is half made: then the weights are nobody's to see. */
int trainer_check_whole(struct sn_trainer *trainer, const char *function);
/* How many parameters of a model are trained, and the list of them in trainer->parameters. */
size_t train_count_parameters(const struct sn_model *model);
void train_list_parameters(struct sn_trainer *trainer);
/* Exactly one step with explicit data, rate and densities (method 3); for parity with golden steps. */
int trainer_step_with(struct sn_trainer *trainer, const int32_t *tokens, const size_t *offsets,
                      size_t n_sequences, const int32_t *targets, double learning_rate,
                      double density_matrix, double density_embedding, double *loss, double *grad_rms);
struct parameter *train_model_parameter(const struct sn_trainer *trainer,
                                        const struct train_parameter *parameter);

/* parameters.c. A `context` here is the trainer's, or one chunk's own (see train_for_parameters). */
/* Entries that `density` leaves of a parameter: int(density * elements), at least 1. */
size_t train_budget(const struct train_parameter *parameter, const struct step_plan *plan);
/* Whether so many entries are stored sparse. */
int train_stored_sparse(const struct train_parameter *parameter, size_t support);
/* Zeroed moments of n_values entries, replacing the old ones. */
int train_moments_create(struct sn_context *context, struct train_parameter *parameter, size_t n_values);
/* Finite means of gradients, and of their squares none below zero. (Squares may be too large for a float.) */
int train_moments_are_sound(const struct sn_trainer *trainer, const struct train_parameter *parameter);
void train_keep_free(struct sn_context *context, struct train_parameter *parameter);
/* Room for a keep mask, its contents undefined if it is new. */
int train_keep_create(struct sn_context *context, struct train_parameter *parameter);
/* keep = the `budget` entries of `weights` largest in magnitude, with the minimum per neuron; sets
 * minimum_lowered. */
int train_select(struct sn_trainer *trainer, struct sn_context *context,
                 struct train_parameter *parameter, unsigned char *keep, const float *weights,
                 size_t budget);
/* Selects of a 1-D parameter. */
int train_select_vector(struct sn_trainer *trainer, struct sn_context *context,
                        struct train_parameter *parameter, const struct step_plan *plan);
/* AdamW on trainer->arrays; unless the step is unfinished, and has had it. Opens the parameters' updates. */
int train_adamw(struct sn_trainer *trainer, const struct step_plan *plan);
/* Zeroes what the keep mask drops, unless the parameter is beyond that already, and decays where decay comes
 * after the mask (order "script"). */
int train_mask(struct sn_trainer *trainer, struct sn_context *context, struct train_parameter *parameter,
               const struct step_plan *plan);
typedef int (*parameter_function)(struct sn_trainer *trainer, struct sn_context *context,
                                  struct train_parameter *parameter, const struct step_plan *plan);
/* Calls `function` for every parameter: small ones side by side, each with a context of its own that
 * runs on one thread, large ones in turn with all threads. */
int train_for_parameters(struct sn_trainer *trainer, const struct step_plan *plan,
                         parameter_function function);

/* step_dense.c */
int dense_prepare(struct sn_trainer *trainer);
int dense_update(struct sn_trainer *trainer, const struct step_plan *plan);

/* step_support.c */
/* The first support, by magnitude (zeros in random order), and zero moments. */
int support_prepare(struct sn_trainer *trainer, const struct step_plan *plan);
/* Zeroes gradients off the support of matrices that are stored dense. */
int support_mask_gradients(struct sn_trainer *trainer);
int support_update(struct sn_trainer *trainer, const struct step_plan *plan);
/* retain[i] = 1 for the k of the pattern's entries largest in magnitude after the `minimum` largest of
 * every row or column are reserved (minimum x neurons <= k); ties to the lowest entry. */
int support_select(unsigned char *retain, struct sn_context *context, struct pattern *pattern,
                   const float *values, size_t k, int axis, size_t minimum);

/* refresh.c */
/* Bytes of what begins a refresh of a support of nnz entries, of which n_grow are replaced: `shown` times
 * each candidate is met. */
size_t refresh_estimate(size_t nnz, size_t n_grow, size_t shown);
int refresh_wanted(const struct sn_trainer *trainer, const struct step_plan *plan);
/* Chooses what stays and listens to the next backward for what to grow. */
int refresh_begin(struct sn_trainer *trainer, const struct step_plan *plan);
/* Rebuilds the supports: dropped entries go, grown ones start at 0 with zero moments. */
int refresh_apply(struct sn_trainer *trainer);
void refresh_end(struct sn_trainer *trainer);

/* top_keys.c: unique 64-bit keys, magnitude above, complement of the index below, so that a larger key
 * is a larger magnitude or, among equals, a lower index. */
static inline uint64_t magnitude_key(float value, uint32_t index)
{
    union {
        float value;
        uint32_t bits;
    } word = {value};
    return (uint64_t)(word.bits & 0x7FFFFFFFu) << 32 | (uint32_t)~index;
}
static inline uint32_t key_index(uint64_t key)
{
    return ~(uint32_t)key;
}
/* Reorders keys so that the k largest stand first, in no order. */
void top_keys(uint64_t *keys, size_t n, size_t k);
/* Ascending. */
void sort_keys(uint64_t *keys, size_t n);

/* windows.c */
/* with_prompts: room for what only batches with prompts have. */
int windows_create(struct train_windows *windows, struct sn_context *context, size_t capacity,
                   size_t window, int with_prompts);
void windows_free(struct train_windows *windows, struct memory *memory);
/* The batch of a step. */
int windows_draw(struct sn_trainer *trainer, size_t step);
/* `n` windows of one corpus, numbered from `first`. */
int windows_draw_corpus(struct train_windows *windows, struct sn_context *context,
                        const sn_corpus *corpus, size_t n, size_t window, uint64_t seed, uint64_t first);

#endif
