/*
 * sparsenet.h - the whole public API of libsparsenet: weight-sparse transformers and their circuits.
 *
 * Read from the top: SIMPLE (load, run, train, find a circuit), ADVANCED (sites, interventions,
 * gradients, sparse matrices, host integration). docs/conventions.md states the rules once; in short:
 *
 *  - Every function that can fail returns an int status, SN_OK (0) or one of SN_ERROR_*; the message
 *    of the last failure stands in the context: sn_context_message().
 *  - Out-parameters come first, then the context or the object that owns one, then inputs.
 *  - NULL in place of an object, an array or a text is refused like any wrong argument, unless the comment
 *    allows it; a function without a status then answers with 0, NULL, -1 or "".
 *  - sn_X_create/load/... give an owned object through `sn_X **out` (set to NULL on failure);
 *    sn_X_free accepts NULL. A returned `const char *` is lent: it lives as long as its object.
 *  - Arrays are handed out as pointer + capacity + needed: `*needed` is always set to the element
 *    count; with capacity < *needed nothing is copied and SN_ERROR_CAPACITY is returned, so calling
 *    with (NULL, 0, &needed) asks for the size. (NULL, 0) itself is a query and returns SN_OK.
 *  - Matrices of activations are token-major: row t holds the channels of token t.
 *  - Paper sections refer to Gao et al. 2025, arXiv 2511.13653.
 *
 * Sections, in this order (search for "- name" with a few dashes in front):
 *   SIMPLE    status, handles, context, options, tokenizer, corpus, model, session, generator, trainer,
 *             tasks, circuits
 *             of a circuit: labels and notes, evidence for nodes, contributions, binarisation, motifs,
 *             page; checks: ablations, patching, linear replacement, controls; plots for reports
 *   ADVANCED  host integration, sites and gradients, tensors, sparse matrices
 *
 * The header is clean from C89 and C++98 on. SPDX-License-Identifier: MIT
 */
#ifndef SPARSENET_H
#define SPARSENET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SN_API __attribute__((visibility("default")))
#else
#define SN_API
#endif

#define SN_VERSION_MAJOR 0
#define SN_VERSION_MINOR 1
#define SN_VERSION_PATCH 0

/* ------------------------------------------------------------------ status */

#define SN_OK 0
#define SN_ERROR_ARGUMENT 1    /* an argument is NULL, out of range or contradicts another */
#define SN_ERROR_MEMORY 2      /* an allocation failed */
#define SN_ERROR_IO 3          /* the operating system refused to read or write */
#define SN_ERROR_FORMAT 4      /* a file or text is malformed, or its tensors do not fit */
#define SN_ERROR_UNSUPPORTED 5 /* well-formed, but not something this build or machine can do */
#define SN_ERROR_NUMERIC 6     /* a NaN or an infinity turned up */
#define SN_ERROR_CANCELLED 7   /* the progress callback asked to stop */
#define SN_ERROR_STATE 8       /* the call comes too early or too late for this object */
#define SN_ERROR_CAPACITY 9    /* the caller's array is too small; *needed says how large */
#define SN_ERROR_TARGET 10     /* the model cannot do the task, or no circuit reaches the target loss */

/* "0.1.0"; static storage. */
SN_API const char *sn_version_string(void);
/* A short English name of a status code, never NULL; static storage. */
SN_API const char *sn_status_string(int status);

/* ----------------------------------------------------------------- handles */

typedef struct sn_context sn_context; /* errors, threads, memory, kernels; one per thread at a time */
typedef struct sn_options sn_options; /* named settings for any call that takes them */
typedef struct sn_matrix sn_matrix;   /* one dense or sparse matrix */
typedef struct sn_tensors sn_tensors; /* named arrays of floats, a safetensors file */
typedef struct sn_model sn_model;     /* weights; reference-counted, immutable, of no context */
typedef struct sn_session sn_session; /* runs one model */
typedef struct sn_generator sn_generator; /* goes on token by token */
typedef struct sn_tokenizer sn_tokenizer; /* byte-level BPE; immutable */
typedef struct sn_corpus sn_corpus;       /* documents and their tokens */
typedef struct sn_trainer sn_trainer;     /* weight-sparse training of one model */
typedef struct sn_task sn_task;           /* pairs of prompts with two targets each */
typedef struct sn_means sn_means;         /* mean activation of every node over a corpus */
typedef struct sn_ablation sn_ablation;   /* what ablated nodes and cut edges carry */
typedef struct sn_search sn_search;
typedef struct sn_circuit sn_circuit;     /* kept nodes, the edges between them, what was measured */

/* ================================================================== SIMPLE */

/* ----------------------------------------------------------------- context */

/* Host allocator. Sizes are bytes; `release` and `reallocate` are told the old size. All three must be
 * callable from any thread; allocate and reallocate return NULL on failure. Blocks must be aligned as
 * malloc aligns them (the library aligns further by itself). */
typedef struct sn_allocator {
    void *(*allocate)(size_t size, void *payload);
    void *(*reallocate)(void *block, size_t old_size, size_t new_size, void *payload);
    void (*release)(void *block, size_t size, void *payload);
    void *payload;
} sn_allocator;

/* Creates a context with one thread. allocator: copied; NULL takes malloc/realloc/free.
 * The environment variable SPARSENET_ISA = portable|avx2|avx512 forces an instruction set.
 * Errors: SN_ERROR_ARGUMENT (an allocator that lacks a function), SN_ERROR_MEMORY, SN_ERROR_UNSUPPORTED
 * (forced set unknown or absent on this machine); the message of a failed creation is in sn_status_string only. */
SN_API int sn_context_create(sn_context **out, const sn_allocator *allocator);
/* Lets go of the context and removes its callbacks. Objects may be freed before it or after it, in any order:
 * sessions, generators, trainers and searches hold what they need of it until they are freed themselves; all
 * others belong to no context. */
SN_API void sn_context_free(sn_context *context);
/* Message of the last failure in this context, "" if none; lent, valid until the next call. */
SN_API const char *sn_context_message(const sn_context *context);
/* "portable", "avx2" or "avx512": the kernels in use. */
SN_API const char *sn_context_isa(const sn_context *context);
/* Number of threads (1..256) for this context's work; results do not depend on it. */
SN_API int sn_context_set_threads(sn_context *context, size_t n_threads);

/* Progress of long work. stage: lent; done of total units; value: what the stage watches (a loss,
 * bytes, ...). Called on the caller's thread. Return nonzero to cancel: the call then returns
 * SN_ERROR_CANCELLED and leaves its objects consistent. */
typedef int (*sn_progress_callback)(const char *stage, size_t done, size_t total, double value,
                                    void *payload);
/* Sets (or with NULL removes) the callback. */
SN_API void sn_context_set_progress(sn_context *context, sn_progress_callback callback, void *payload);

/* ----------------------------------------------------------------- options */

/* Named settings. Each function that takes options lists its keys with defaults; it refuses unknown
 * keys and values out of range, naming them. NULL stands for all defaults. Keys are copied. */
SN_API int sn_options_create(sn_options **out, sn_context *context);
SN_API void sn_options_free(sn_options *options);
SN_API int sn_options_set(sn_options *options, sn_context *context, const char *key, double value);
SN_API int sn_options_set_text(sn_options *options, sn_context *context, const char *key,
                               const char *value);

/* --------------------------------------------------------------- tokenizer */

/* Byte-level BPE; text is cut by the released models' split pattern or GPT-2's. Immutable once made; may
 * be shared by threads. `path`: a folder with tokenizer.json, or else with encoder.json + vocab.bpe; or
 * one of these files itself (any other name is read as tokenizer.json). docs/formats.md says what of a
 * tokenizer.json is read. Errors: SN_ERROR_IO, SN_ERROR_FORMAT naming file, field and value. */
SN_API int sn_tokenizer_load(sn_tokenizer **out, sn_context *context, const char *path);
/* Learns `vocabulary_size` tokens (256 bytes first, then merges) from the text documents of `corpus`,
 * fewer where it has no more pairs to merge; options: "required" (text; tokens separated by newlines
 * that must end up as single tokens; each is built by merges of its own after the learnt ones, counted
 * inside vocabulary_size; inside a token a newline, carriage return or tab is written as the two
 * characters \n, \r or \t, a backslash as two).
 * Errors: SN_ERROR_ARGUMENT (size below 256 + required, empty corpus, a required token that the split
 * pattern cuts). Progress stage "tokenizer". */
SN_API int sn_tokenizer_train(sn_tokenizer **out, sn_context *context, const sn_corpus *corpus,
                              size_t vocabulary_size, const sn_options *options);
/* Writes encoder.json and vocab.bpe into `directory` (created if absent), each atomically, or for a
 * tokenizer that was loaded from it tokenizer.json. Errors: SN_ERROR_IO, SN_ERROR_STATE (a tokenizer.json
 * stands there, which loading would prefer to what is saved). */
SN_API int sn_tokenizer_save(const sn_tokenizer *tokenizer, sn_context *context, const char *directory);
SN_API void sn_tokenizer_free(sn_tokenizer *tokenizer);
SN_API size_t sn_tokenizer_size(const sn_tokenizer *tokenizer);
/* Bytes of one token (not NUL-terminated; `*length` bytes), lent; NULL when out of range. */
SN_API const char *sn_tokenizer_token(size_t *length, const sn_tokenizer *tokenizer, int32_t token);
/* The token whose bytes are exactly text[0..length), or -1. */
SN_API int32_t sn_tokenizer_find(const sn_tokenizer *tokenizer, const char *text, size_t length);
/* Text (any bytes) to tokens; decode is its exact inverse. Special tokens: those of a tokenizer.json are
 * found in the text, others are never made of it. Token ids out of range: SN_ERROR_ARGUMENT. */
SN_API int sn_tokenizer_encode(int32_t *tokens, size_t capacity, size_t *needed, sn_context *context,
                               const sn_tokenizer *tokenizer, const char *text, size_t length);
SN_API int sn_tokenizer_decode(char *text, size_t capacity, size_t *needed, sn_context *context,
                               const sn_tokenizer *tokenizer, const int32_t *tokens, size_t n_tokens);

/* ------------------------------------------------------------------ corpus */

/* A corpus is a list of documents (texts, or token arrays) in the order added. */
SN_API int sn_corpus_create(sn_corpus **out, sn_context *context);
SN_API void sn_corpus_free(sn_corpus *corpus);
/* Adds one text document (bytes copied). */
SN_API int sn_corpus_add_text(sn_corpus *corpus, sn_context *context, const char *text, size_t length);
/* Adds one document of tokens (copied; each >= 0). A corpus holds texts or tokens, not both. */
SN_API int sn_corpus_add_tokens(sn_corpus *corpus, sn_context *context, const int32_t *tokens,
                                size_t n_tokens);
/* Adds every regular file below `directory` whose name ends in `suffix`, in sorted order of path,
 * symbolic links not followed, files above max_file_bytes (0 = 1 MiB) and empty ones skipped, up to
 * the first that would make it more than max_total_bytes (0 = no limit). After a failure or a
 * cancellation the corpus is as before. Progress stage "corpus". Errors: SN_ERROR_IO. */
SN_API int sn_corpus_add_directory(sn_corpus *corpus, sn_context *context, const char *directory,
                                   const char *suffix, size_t max_file_bytes, size_t max_total_bytes);
/* Adds a raw little-endian file of tokens of `bytes_per_token` 2 or 4 as one document. */
SN_API int sn_corpus_add_token_file(sn_corpus *corpus, sn_context *context, const char *path,
                                    size_t bytes_per_token);
/* Pulls documents from a callback until it returns 0 (end) or negative (cancel). The callback sets
 * text and length, which are copied at once. After a failure what was added before stays. */
typedef int (*sn_document_callback)(const char **text, size_t *length, void *payload);
SN_API int sn_corpus_add_documents(sn_corpus *corpus, sn_context *context, sn_document_callback callback,
                                   void *payload);
SN_API size_t sn_corpus_count(const sn_corpus *corpus);
/* Lends document `index`'s text; NULL for a corpus of tokens or an index out of range. */
SN_API const char *sn_corpus_text(size_t *length, const sn_corpus *corpus, size_t index);
/* Lends document `index`'s tokens (after sn_corpus_tokenize); NULL before or out of range. */
SN_API const int32_t *sn_corpus_tokens(size_t *n_tokens, const sn_corpus *corpus, size_t index);
/* Total tokens of all documents, 0 before tokenising. */
SN_API size_t sn_corpus_token_count(const sn_corpus *corpus);
/* Moves a share (0..1) of the documents, chosen by `seed`, into a new corpus: training and validation
 * split by file. Errors: SN_ERROR_ARGUMENT (either side would be empty). */
SN_API int sn_corpus_split(sn_corpus **validation, sn_corpus *corpus, sn_context *context, double share,
                           uint64_t seed);
/* Encodes every text document with `tokenizer`. Progress stage "tokenize"; uses the context's threads. */
SN_API int sn_corpus_tokenize(sn_corpus *corpus, sn_context *context, const sn_tokenizer *tokenizer);
/* Draws `n_windows` windows of at most `window` tokens for training: window number `index` of a run
 * with this seed is always the same one. Windows start at the start of a line (texts) or anywhere
 * (tokens); lines of more than 1024 tokens may also be entered at every 1024th. A token drawn evenly
 * from the corpus decides the document and the line; the document's end cuts a window, to 1 at least.
 * One call draws the windows index * n_windows and following. tokens, targets: n_windows x window, row
 * i filled with lengths[i] entries, target = next token. Errors: SN_ERROR_STATE (not tokenised),
 * SN_ERROR_ARGUMENT (no document of 2 tokens). */
SN_API int sn_corpus_sample(int32_t *tokens, int32_t *targets, size_t *lengths, const sn_corpus *corpus,
                            sn_context *context, size_t n_windows, size_t window, uint64_t seed,
                            uint64_t index);

/* ------------------------------------------------------------------- model */

/* Creates a model with random weights (normal, standard deviation 0.02; projections into the residual
 * stream divided by sqrt(2 n_layer); norm gains 1; biases 0; bigram uniform [0, 0.02); sinusoidal
 * positions as in the released code). config_json: the released configuration keys (docs/formats.md),
 * `length` bytes. Errors: SN_ERROR_FORMAT naming the key and value. */
SN_API int sn_model_create(sn_model **out, sn_context *context, const char *config_json, size_t length,
                           uint64_t seed);
/* Loads a model from a folder (config.json or beeg_config.json with model.safetensors or
 * final_model.pt), from a file of torch.save with its configuration beside it, or from one native file
 * written by sn_model_save. Tensors are made sparse as they arrive; files are read in chunks, nothing in
 * them is executed. Errors: SN_ERROR_IO, SN_ERROR_FORMAT, SN_ERROR_UNSUPPORTED,
 * with file, tensor and reason. */
SN_API int sn_model_load(sn_model **out, sn_context *context, const char *path);
/* Bytes that sn_model_load of this path makes the context hold afterwards (*held) and at most while it loads
 * (*peak), before anything is loaded: from the configuration and the headers of the files alone. density
 * (above 0, at most 1): the share of nonzeros assumed of matrices and embeddings that a file stores dense;
 * tables of positions and bigrams count as dense. Of sparse tensors the headers tell, and density changes
 * nothing. Either out-pointer may be NULL. What a session adds: sn_session_estimate_memory. Errors: as
 * sn_model_load, for what the headers show. */
SN_API int sn_model_estimate_memory(size_t *held, size_t *peak, sn_context *context, const char *path,
                                    double density);
/* Writes one native safetensors file, atomically: configuration in __metadata__, sparse tensors as
 * NAME.indptr, NAME.indices, NAME.values (entries of the support that are zero survive). */
SN_API int sn_model_save(const sn_model *model, sn_context *context, const char *path);
/* Writes a dense folder in the released layout, made where it is missing: model.safetensors (every
 * tensor F32, row by row: no dense copy is held), then config.json, each atomically. */
SN_API int sn_model_export(const sn_model *model, sn_context *context, const char *directory);
/* Takes another reference; thread-safe. sn_model_free drops one. */
SN_API sn_model *sn_model_retain(sn_model *model);
SN_API void sn_model_free(sn_model *model);
/* The full configuration as JSON; lent. */
SN_API const char *sn_model_config_json(const sn_model *model);
/* One integer of the configuration by its key ("d_model", "n_layer", "block_size", "vocab_size", ...);
 * flags give 0 or 1; absent d_pos_emb gives 0; unknown keys give -1. */
SN_API int64_t sn_model_config_number(const sn_model *model, const char *key);

/* Parameters, in the order and under the names of the released state dict. */
SN_API size_t sn_model_tensor_count(const sn_model *model);
SN_API const char *sn_model_tensor_name(const sn_model *model, size_t index);
/* rows and cols of a tensor (a vector has cols 0), its entries in the support and whether it is kept
 * sparse. Any out-pointer may be NULL. Returns SN_ERROR_ARGUMENT for an index out of range. */
SN_API int sn_model_tensor_info(size_t *rows, size_t *cols, size_t *support, int *is_sparse,
                                const sn_model *model, size_t index);
/* Dense row-major copy of a tensor. */
SN_API int sn_model_tensor(float *values, size_t capacity, size_t *needed, sn_context *context,
                           const sn_model *model, const char *name);

/* ----------------------------------------------------------------- session */

/* A session runs one model on ragged batches: sequences packed end to end, `offsets` has
 * n_sequences + 1 entries, offsets[0] = 0, sequence s is tokens[offsets[s] .. offsets[s+1]).
 * Options: "gradients" (text: "none" default, "support", "dense"): what backward computes for weights;
 * "backward" 1 (0: the session runs forward only, in a fraction of the memory: activations pass through a
 * buffer that all layers share. The numbers are the same bits; sites are recorded and interventions act as
 * ever; a backward is refused with SN_ERROR_STATE; "gradients" must be "none");
 * "selected_only" 0 (1: where logits are selected, a run that goes from the last layer's attention or
 * from in front of it to the logits computes of that layer, behind its keys and values, the selected
 * tokens alone. From there on sites, sn_session_residual and gradients at sites have one row for each
 * selected token);
 * "recompute" (text: "auto"; "never", "always"): of what lies inside the layers - the stream between their
 * halves, what they read after AbsTopK, queries, keys and values, and the MLP's neurons - one layer's is
 * held at a time, and the backward computes the others' anew: about 0.35 of the memory for some 12 per cent
 * more time, the same bits. "auto": where that saves more than 64 MB and at most 1/8 of the weights are
 * nonzero. Between a forward and its backward weights may not change then.
 * The session retains the model, and holds its context until freed. */
SN_API int sn_session_create(sn_session **out, sn_context *context, sn_model *model,
                             const sn_options *options);
SN_API void sn_session_free(sn_session *session);
/* Runs forward. Errors: SN_ERROR_ARGUMENT (token outside the vocabulary, sequence longer than
 * block_size or empty; says which), SN_ERROR_MEMORY. */
SN_API int sn_session_forward(sn_session *session, const int32_t *tokens, const size_t *offsets,
                              size_t n_sequences);
/* Logits of the last forward, n_rows x vocab_size, a row per selected token (all by default). */
SN_API int sn_session_logits(float *logits, size_t capacity, size_t *needed, sn_session *session);
/* Mean cross-entropy, nats, over rows with targets[i] >= 0 (one target per logits row, -1 = not
 * counted). Errors: SN_ERROR_NUMERIC when it is not finite, SN_ERROR_ARGUMENT when no row counts. */
SN_API int sn_session_loss(double *loss, sn_session *session, const int32_t *targets);

/* --------------------------------------------------------------- generator */

/* A generator holds the tokens of one sequence, up to the model's block_size, with their keys and
 * values, and runs only what is new (docs/running.md). Options: "temperature" 1 (0: always the likeliest
 * token, ties to the lowest), "top_k" 0 (draw among the k likeliest, ties to the lowest; 0: among all),
 * "seed" 0. Retains the model, and holds its context until freed. Memory: 6 bytes for each nonzero weight
 * behind an AbsTopK, and 8 bytes for each layer, attention channel and token held. */
SN_API int sn_generator_create(sn_generator **out, sn_context *context, sn_model *model,
                               const sn_options *options);
SN_API void sn_generator_free(sn_generator *generator);
/* Appends tokens (a prompt, or a choice of the caller's own). The first append runs 64 tokens at a time
 * where it is long. After a failure the generator is as before. Errors: SN_ERROR_STATE naming block_size
 * when they do not fit, SN_ERROR_ARGUMENT (token outside the vocabulary), SN_ERROR_NUMERIC when the next
 * logits have a NaN or an infinity. */
SN_API int sn_generator_append(sn_generator *generator, const int32_t *tokens, size_t n_tokens);
/* Draws the next token and appends it. Errors: as sn_generator_append; SN_ERROR_STATE without tokens. */
SN_API int sn_generator_next(int32_t *token, sn_generator *generator);
/* Logits of the token that comes next, vocab_size. Errors: SN_ERROR_STATE without tokens. */
SN_API int sn_generator_logits(float *logits, size_t capacity, size_t *needed, sn_generator *generator);
/* Number of tokens held. */
SN_API size_t sn_generator_count(const sn_generator *generator);
/* Forgets the tokens and starts the seed anew; interventions and recording stay. */
SN_API int sn_generator_reset(sn_generator *generator);

/* ----------------------------------------------------------------- trainer */

/* Trains a copy of `model` (paper 2.1, A.2; docs/training.md explains every option).
 * Options (default): "steps" (1000), "batch" (16 windows), "window" (block_size), "seed" (0),
 * "learning_rate" (0.01), "warmup" (0.01 of the run), "beta1" 0.9, "beta2" 0.95, "epsilon" 0.1,
 * "weight_decay" 0.1, "rms_mode" ("normalize"; or "clip"), "rms_limit" 1,
 * "density" (1/32: matrices), "density_embedding" (= density), "density_bias" (= density; 1 = dense),
 * "density_bigram" 1, "minimum_per_neuron" (4), "schedule" ("exponential"; "linear", "power"),
 * "schedule_power" 3, "schedule_start_density" 1, "schedule_start" 0, "schedule_end" 0.5 (of the run),
 * "learning_rate_scale" ("sharkfin" = 1/sqrt(L0 fraction); "final" = sqrt(final/current); "none"),
 * "gradient" ("dense"; "support"), "refresh_interval" 20, "refresh_fraction" 0.3,
 * "refresh_end" 0.9 (of the run), "order" ("decay_first"; "script" as in the authors' script),
 * "checkpoint_interval" 0 (steps; with sn_trainer_set_checkpoint),
 * "task_weight" 16 (tokens of text that a prompt of sn_trainer_add_task counts as in a step's mean loss),
 * "recompute" ("auto"; as of sn_session_create: less memory, more time, the same bits).
 * A density leaves int(density x entries) of each tensor, at least 1; densities never rise during a run
 * (a target above the start density holds from the beginning); with "gradient" = "support" they fall at
 * refreshes. "normalize" divides the gradient by its RMS + 1e-5; the RMS is over all trainable entries.
 * Where the minimum per neuron does not fit into the budget it is lowered for that matrix to what
 * fits; sn_trainer_statistic("minimum_lowered") counts such matrices. */
SN_API int sn_trainer_create(sn_trainer **out, sn_context *context, const sn_model *model,
                             const sn_options *options);
/* Bytes that creating this trainer and running it to its end makes the context hold at most, on its threads, beside
 * the model that is given, corpora and tasks; nothing of it is made. It supposes windows of full length; tasks add
 * their prompts. Errors: as sn_trainer_create. */
SN_API int sn_trainer_estimate_memory(size_t *bytes, sn_context *context, const sn_model *model,
                                      const sn_options *options);
SN_API void sn_trainer_free(sn_trainer *trainer);
/* Adds a source of training windows: `share` of each batch's windows (relative), cut at `window`
 * tokens (0 = the trainer's). The corpus is lent and must outlive the trainer. */
SN_API int sn_trainer_add_corpus(sn_trainer *trainer, const sn_corpus *corpus, double share,
                                 size_t window);
/* Adds a task to learn: `share` (as above) of the windows are pairs of it, drawn at random. Both prompts of a pair
 * stand in the same step. Of a prompt only the last token has a loss, the cross-entropy of its target over the
 * whole vocabulary, which counts as "task_weight" tokens of text. The task is lent, must outlive the trainer
 * and not change. Errors: SN_ERROR_ARGUMENT (no pairs; naming the pair, a prompt above block_size tokens or
 * a token outside the vocabulary). */
SN_API int sn_trainer_add_task(sn_trainer *trainer, const sn_task *task, double share);
/* One optimizer step on the next batch; `*loss` (may be NULL) is the batch's mean cross-entropy before
 * the step, by weight where prompts are among its windows. Errors: SN_ERROR_NUMERIC stops before
 * anything is changed; after SN_ERROR_MEMORY the next call goes on where this one stopped, with the same
 * bits in the end (saving, validating and snapshots wait for it: SN_ERROR_STATE). */
SN_API int sn_trainer_step(double *loss, sn_trainer *trainer);
/* Steps until the run's end or `n_steps` (0 = to the end). Progress stage "train", value = loss. */
SN_API int sn_trainer_run(sn_trainer *trainer, size_t n_steps);
/* Mean cross-entropy over up to n_windows windows of another corpus. */
SN_API int sn_trainer_validate(double *loss, sn_trainer *trainer, const sn_corpus *corpus,
                               size_t n_windows);
/* An immutable copy of the current weights, owned by the caller. */
SN_API int sn_trainer_snapshot(sn_model **out, sn_trainer *trainer);
/* A number by name: "step", "steps", "loss", "text_loss" and "task_loss" (the last step's over text and over
 * prompts, without weights; 0: it had none), "learning_rate", "density", "gradient_rms", "nonzeros",
 * "parameters", "dead_neurons", "minimum_lowered". "density" is that of the matrices; "nonzeros" and
 * "parameters" count matrices and embeddings, kept entries and all; a dead neuron is one of an MLP that
 * reads or writes nothing. Unknown names: SN_ERROR_ARGUMENT. */
SN_API int sn_trainer_statistic(double *value, sn_trainer *trainer, const char *name);
/* Where sn_trainer_run writes checkpoints every "checkpoint_interval" steps. */
SN_API int sn_trainer_set_checkpoint(sn_trainer *trainer, const char *path);
/* Writes the whole state, with a checksum, atomically; resuming gives the same bits as going on. SN_ERROR_NUMERIC where
 * weights or moments are no finite numbers: the checkpoint that was there stays. */
SN_API int sn_trainer_save(sn_trainer *trainer, const char *path);
/* Reads a state written by sn_trainer_save; corpora and tasks must be added again in the same order. */
SN_API int sn_trainer_load(sn_trainer **out, sn_context *context, const char *path);

/* ------------------------------------------------------------------- tasks */

/* A task: pairs of prompts that differ in one respect, each pair with two single-token targets
 * (paper 2.3, A.3). The right next token of prompt A is target_a, of prompt B target_b. */
SN_API int sn_task_create(sn_task **out, sn_context *context, const char *name);
SN_API void sn_task_free(sn_task *task);
SN_API const char *sn_task_name(const sn_task *task);
/* Adds a pair of token prompts (copied). Errors: SN_ERROR_ARGUMENT (empty prompt, equal targets). */
SN_API int sn_task_add_pair(sn_task *task, sn_context *context, const int32_t *prompt_a, size_t n_a,
                            const int32_t *prompt_b, size_t n_b, int32_t target_a, int32_t target_b);
/* The same from NUL-terminated text. Errors: SN_ERROR_ARGUMENT naming a target that is not one token,
 * or that is not what the tokenizer would produce there (prompt + target must encode to the prompt's
 * tokens followed by the target). */
SN_API int sn_task_add_text_pair(sn_task *task, sn_context *context, const sn_tokenizer *tokenizer,
                                 const char *prompt_a, const char *prompt_b, const char *target_a,
                                 const char *target_b);
/* Reads a task from JSON Lines (docs/tasks.md): in each line an object with "prompt" and "alternative", what
 * prompts A and B are, and "target" and "alternative_target", their right next tokens. With a tokenizer
 * the four may be texts, under the rules of sn_task_add_text_pair; with or without, arrays of token ids and
 * single ids. Blank lines are skipped; a line has at most 1 MiB. The task is named like the file, without
 * folder and ".jsonl". Progress stage "task". Errors: SN_ERROR_IO, SN_ERROR_FORMAT naming file, line and
 * field (not JSON, not UTF-8, a field missing or unknown, a bad target, no pair at all). */
SN_API int sn_task_load_jsonl(sn_task **out, sn_context *context, const sn_tokenizer *tokenizer,
                              const char *path);
/* Writes a task as JSON Lines, atomically, so that sn_task_load_jsonl gives the same pairs: text where there
 * is a tokenizer (may be NULL) and the text comes back as the same tokens, else token ids. Errors:
 * SN_ERROR_IO, SN_ERROR_ARGUMENT (a token that the tokenizer does not have, a task without pairs),
 * SN_ERROR_UNSUPPORTED (a pair that takes more than a line may have). */
SN_API int sn_task_save_jsonl(const sn_task *task, sn_context *context, const sn_tokenizer *tokenizer,
                              const char *path);
SN_API size_t sn_task_count(const sn_task *task);
/* Lends pair `index`; any out-pointer may be NULL. */
SN_API int sn_task_pair(const int32_t **prompt_a, size_t *n_a, const int32_t **prompt_b, size_t *n_b,
                        int32_t *target_a, int32_t *target_b, const sn_task *task, size_t index);

/* Generated Python (lib/python, built on this header alone; paper A.3 and the first component of its
 * training data). */

/* Adds about `n_bytes` of generated simple Python idioms as documents. Options: "seed" 0,
 * "constructs" (text: "all", or names of tasks separated by commas: only their constructs),
 * "short" 0 (1: every document is one unit, for drill windows of some 48 tokens). Names and strings
 * are drawn from the training pool only. After a failure what was added before stays. Errors:
 * SN_ERROR_ARGUMENT naming an unknown construct. */
SN_API int sn_python_add_idioms(sn_corpus *corpus, sn_context *context, size_t n_bytes,
                                const sn_options *options);
/* Number and names of the tasks that sn_python_task can make. */
SN_API size_t sn_python_task_count(void);
SN_API const char *sn_python_task_name(size_t index);
/* The strings that must be single tokens for all tasks, in the form that "required" of
 * sn_tokenizer_train takes; static storage. */
SN_API const char *sn_python_required_tokens(void);
/* Makes `n_pairs` pairs of the named task (docs/tasks.md shows one of each) for any tokenizer in which both
 * targets are single tokens; where it keeps newlines apart from what stands in front, the targets are
 * without them ("]]" and "]"). What the prompts differ in may be any number of tokens.
 * Options: "seed" 0, "split" (text: "prune", "develop", "fresh"; no template of one is in another, and of
 * the last two none is in the generator's lists, nor are their identifiers and strings those of training
 * or of one another; "train": words of training in templates of its own where the task has such, else
 * those of "prune", for sn_trainer_add_task), "min_tokens" 20, "max_tokens" 120, "distractor" 0.33 (share of pairs behind
 * unrelated code). Errors: SN_ERROR_ARGUMENT naming the task, the target that is no single token and what
 * the tokenizer makes of it. */
SN_API int sn_python_task(sn_task **out, sn_context *context, const sn_tokenizer *tokenizer,
                          const char *name, size_t n_pairs, const sn_options *options);
/* Checks that no identifier and no word of a string in the prompts of `fresh` occurs in the texts of
 * `training`. Words are runs of four letters or more, compared without case (a_name is two), Python's
 * own (keywords, builtins, common methods) excepted. *n_checked (may be NULL): how many different words
 * were looked up.
 * Errors: SN_ERROR_ARGUMENT naming the first word found and its document. */
SN_API int sn_python_check_fresh(size_t *n_checked, sn_context *context, const sn_tokenizer *tokenizer,
                                 const sn_task *fresh, const sn_corpus *training);
/* Cuts lines of real source (text documents of `source`) that end in a string and its closer, in
 * front of the closing quote, and makes pairs: the line as it stands, and the same line with the
 * opening quote swapped. target_a closes with ' and target_b with ". closer: what follows the closing
 * quote to the end of the line (")", "),", ",", "]", ":", "": the bare end of the line); the targets
 * are quote + closer + newline. At most `n_pairs`, fewer where the source has no more, and alternating
 * between lines that had ' and lines that had " as far as both last.
 * Options: "seed" 0 (order of the lines), "min_tokens" 8, "max_tokens" 120 (preceding lines are kept
 * while they fit), "context" 1 (0: the line alone). Errors: SN_ERROR_ARGUMENT (no such line; a target
 * that is no single token). */
SN_API int sn_python_quote_lines(sn_task **out, sn_context *context, const sn_tokenizer *tokenizer,
                                 const sn_corpus *source, const char *closer, size_t n_pairs,
                                 const sn_options *options);

/* ---------------------------------------------------------------- circuits */

/* Mean of every node's activation over windows of `corpus` (mean ablation, paper 2.3).
 * Options: "tokens" (32768), "window" (block_size), "seed" 0. Progress stage "means". */
SN_API int sn_means_create(sn_means **out, sn_context *context, sn_model *model, const sn_corpus *corpus,
                           const sn_options *options);
SN_API void sn_means_free(sn_means *means);
/* Lends the means of a site (width floats), NULL if the site carries no nodes. */
SN_API const float *sn_means_site(size_t *width, const sn_means *means, const char *site);

/* What a model, or a model under a circuit, does on a task. Losses in nats over the two targets of
 * each pair (chance ln 2 = 0.693). Set struct_size = sizeof(sn_evaluation) before the call. */
typedef struct sn_evaluation {
    size_t struct_size;
    size_t n_pairs;
    double loss;         /* calibrated: scale in [0, 4] and shift fitted on the fitting task */
    double accuracy;     /* share of prompts whose right target wins, calibrated */
    double raw_loss;     /* uncalibrated */
    double raw_accuracy; /* uncalibrated */
    double scale;        /* the calibration used */
    double shift;
} sn_evaluation;

#define SN_ABLATE_NOTHING 0    /* the full model */
#define SN_ABLATE_REST 1       /* all nodes outside the circuit at their means: sufficiency */
#define SN_ABLATE_CIRCUIT 2    /* only the circuit's nodes at their means: necessity */
#define SN_ABLATE_EVERYTHING 3 /* every node at its mean: the bigram table and biases alone */
/* Of sn_evaluate and sn_evaluate_ablation: only the circuit's edges are cut, so that they carry their sources' means; all
 * other edges, and all nodes, are as they are. Necessity of edges: it takes less away than SN_ABLATE_CIRCUIT. */
#define SN_ABLATE_EDGES 4

/* Evaluates on `task`, with calibration fitted on `fit` (may be the same task). circuit and means may
 * be NULL where the mode does not need them. */
SN_API int sn_evaluate(sn_evaluation *result, sn_context *context, sn_model *model,
                       const sn_means *means, const sn_circuit *circuit, int ablate, const sn_task *fit,
                       const sn_task *task);

/* Finds a circuit: learned masks, bisection to the target loss, greedy removal, then growing until
 * the circuit is necessary as well (paper 2.3, A.5; docs/circuits.md). "method" says what has masks: "nodes",
 * with all edges between the kept ones, or "edges": single nonzero weights, where what is not kept carries its
 * source's mean, and the nodes are the ends of kept edges. Nodes are grown until SN_ABLATE_CIRCUIT loses the task,
 * edges until SN_ABLATE_EDGES does. Where that is not reached the circuit is returned all the same: with "grow" 1 it
 * has the measurements "grown_necessity" (the recalibrated loss of the complement, the smaller of both tasks'),
 * "necessity_wanted" (ln 2 - "necessity") and "necessity_reached" (1 or 0).
 * Options: "target_loss" 0.15, "calibrated" 1 (0: the target holds without calibration), "steps" 150,
 * "batch" 32 (pairs), "k_coef" (0 = search over 1e-4, 3e-4, 1e-3, 3e-3), "learning_rate" 0.01,
 * "init_bias" 0.1, "init_noise" 0.01, "temperature" 1, "weight_decay" 1e-3, "beta2" 0.95, "warmup" 0,
 * "tie_query_key" 0, "method" ("nodes"; "edges"), "scores" ("learned";
 * "attribution", "integrated": gradients instead of learned masks, the paper's figure 31), "loss" ("pair";
 * "vocabulary"),
 * "greedy" 2 (passes), "swap" 0 (passes over exchanges of what is left out for what can go then), "grow" 1,
 * "necessity" 0.15 (grow until the recalibrated loss of the complement >= ln 2 - this), "seed" 0, "runs" 0
 * (else as many as that are searched as sn_search does, and the circuit is cut from the best).
 * `develop` (may be NULL: `task`) is where settings are chosen; the target must hold on it and on
 * `task`.
 * Errors: SN_ERROR_TARGET when the model cannot do the task, the target stays out of reach or no node is needed to
 * reach it (an empty circuit); the message says what was achieved. Progress stages "prune", "attribute",
 * "greedy", "eliminate", "swap", "grow". */
SN_API int sn_circuit_extract(sn_circuit **out, sn_context *context, sn_model *model,
                              const sn_means *means, const sn_task *task, const sn_task *develop,
                              const sn_options *options);
/* From a circuit, found otherwise, for a stricter target or chosen by hand, to the smallest inside it that meets
 * the target on both tasks: greedy removal, elimination, exchanges, and growing, by the options of
 * sn_circuit_extract that concern them ("target_loss", "calibrated", "greedy", "swap", "grow", "necessity";
 * "method": whether nodes or edges are removed, always edges where some have been cut already). `circuit` stays
 * as it is. Errors: SN_ERROR_TARGET when it misses the target. Progress stages "greedy", "eliminate", "swap",
 * "grow". */
SN_API int sn_circuit_refine(sn_circuit **out, sn_context *context, const sn_circuit *circuit,
                             const sn_means *means, const sn_task *task, const sn_task *develop,
                             const sn_options *options);
/* Bytes that this call of sn_circuit_extract makes the context hold at most beside what it is given, on its
 * threads: from the tasks' prompts and the model, of which nothing is run. Errors: as it, for what can be told. */
SN_API int sn_circuit_estimate_memory(size_t *bytes, sn_context *context, sn_model *model,
                                      const sn_means *means, const sn_task *task, const sn_task *develop,
                                      const sn_options *options);
/* A search for the settings of learned masks: "runs" of them (12), the first with the options as given, the others
 * drawn around them by "seed" ("k_coef" within a factor of 10, of 1e-3 where it is 0; "learning_rate" up to
 * 3 times as much; "init_bias" from 0.02 to 0.3). All learn for a third of the steps; the third of them that needs the fewest edges
 * at "target_loss" then learns anew for all steps. As many runs go on side by side as the context has threads, with
 * the same results on any number. From their masks circuits can be cut for any target loss.
 * Options: those of sn_circuit_extract; "scores" must be "learned". means and tasks are lent, must outlive the
 * search and not change; it is bound to the context. Errors: as sn_circuit_extract, SN_ERROR_TARGET where the
 * model itself misses "target_loss". */
SN_API int sn_search_create(sn_search **out, sn_context *context, sn_model *model, const sn_means *means,
                            const sn_task *task, const sn_task *develop, const sn_options *options);
SN_API void sn_search_free(sn_search *search);
/* Keeps what has been learned in a file, written atomically now and after each round of runs. If the file is there
 * already, the search goes on where it stopped: the results are those of one that never did. SN_ERROR_FORMAT where it
 * is damaged or of another model, other means, tasks or options; SN_ERROR_IO where the path leads to no regular file
 * or none can be written; the search keeps the file that it had. */
SN_API int sn_search_set_file(sn_search *search, const char *path);
/* Runs what has not been run. After a cancel it can be called again. Progress stage "search" counts runs, the value
 * is the edges of one of them; on one thread also "prune". */
SN_API int sn_search_run(sn_search *search);
/* The smallest circuit at a target loss, calibrated or not: from the masks of the two runs that need the fewest
 * edges there, with all that sn_circuit_extract does after learning. SN_ERROR_STATE before sn_search_run has come to
 * its end, SN_ERROR_TARGET as of sn_circuit_extract. */
SN_API int sn_search_circuit(sn_circuit **out, sn_search *search, double target_loss, int calibrated);
SN_API size_t sn_search_run_count(const sn_search *search);
/* The settings of a run; the edges that its masks need at "target_loss" (0 before it has been run), and whether it
 * has learned for all steps. Out-pointers may be NULL. */
SN_API int sn_search_run_info(double *k_coef, double *learning_rate, double *init_bias, size_t *n_edges,
                              int *whole, const sn_search *search, size_t index);
/* An empty circuit of a model, to be filled by hand. The circuit retains the model. task: a name, may be NULL. */
SN_API int sn_circuit_create(sn_circuit **out, sn_context *context, sn_model *model, const char *task);
/* A random circuit of the size of `like`, a control: with the same number of nodes at every site; where `like` is a
 * circuit of edges, with the same number of edges between every two sites (drawn among the model's nonzero weights
 * there), its nodes being their ends. */
SN_API int sn_circuit_create_random(sn_circuit **out, sn_context *context, const sn_circuit *like,
                                    uint64_t seed);
/* A circuit that the authors released (viz_data.pt, docs/formats.md), of the model it was found in; nothing
 * in the file is executed. Nodes are the kept channels; edges are the model's own nonzero weights between
 * them; losses, ablation results and how many of the file's edges agree become measurements "released_...".
 * task (may be NULL): its prompts, first half against second half. The file names no targets: options
 * "target_a", "target_b" (tokens; -1 = of each half the model's answer, the token of the greatest mean log
 * probability), "name" (text, "released": of circuit and task). Errors: SN_ERROR_IO, SN_ERROR_UNSUPPORTED,
 * SN_ERROR_FORMAT naming file, key and value (malformed, or of another model), SN_ERROR_TARGET (both
 * answers are the same). */
SN_API int sn_circuit_load_released(sn_circuit **circuit, sn_task **task, sn_context *context,
                                    sn_model *model, const char *path, const sn_options *options);
/* What each node and each edge is worth: the rise of the loss on `task` when that one node goes to its mean, or that
 * one edge carries its source's mean, beside all that the circuit leaves out. Calibration is that of the whole circuit,
 * fitted on `fit`, and stays. The results are kept with the circuit until its nodes or edges change. Progress stage
 * "deltas". */
SN_API int sn_circuit_measure_deltas(sn_circuit *circuit, sn_context *context, const sn_means *means,
                                     const sn_task *fit, const sn_task *task);
/* Nats, calibrated and raw; out-pointers may be NULL. SN_ERROR_STATE before sn_circuit_measure_deltas. */
SN_API int sn_circuit_node_delta(double *loss, double *raw_loss, const sn_circuit *circuit, size_t index);
SN_API int sn_circuit_edge_delta(double *loss, double *raw_loss, const sn_circuit *circuit, size_t index);
/* A circuit of `model` from a file that sn_report_write_json wrote: nodes, edges (those between its nodes that the
 * file leaves out are cut), measurements and paths (docs/circuit-json.md). Nothing is taken on trust. Errors:
 * SN_ERROR_IO; SN_ERROR_UNSUPPORTED for a later version; SN_ERROR_FORMAT naming file, field and value: malformed, or
 * of another model, whose configuration or weights differ. */
SN_API int sn_circuit_load(sn_circuit **out, sn_context *context, sn_model *model, const char *path);
#define SN_UNION 0        /* nodes and edges of either */
#define SN_INTERSECTION 1 /* of both */
#define SN_DIFFERENCE 2   /* nodes of a that b lacks, and the edges of a between them */
/* A new circuit from two of one model; its task is "a | b", "a & b" or "a - b". An edge that one of them cut counts
 * as not its own. Errors: SN_ERROR_ARGUMENT where the models are not the same. */
SN_API int sn_circuit_combine(sn_circuit **out, sn_context *context, const sn_circuit *a, const sn_circuit *b,
                              int operation);
/* A circuit as a model of its own (paper 2.2): ablated means become biases, weights that no kept node needs are
 * gone, and what is left saves, loads and runs as any model. Embedding, unembedding, bigram table and all channels of
 * the stream stay, so that norms and AbsTopK in front of the reads are those of the circuit.
 * Options: "topk" ("exact"; "off"): behind q, k, v, neurons and writes AbsTopK chooses among nodes that are gone.
 * "exact" keeps what it needs of them and holds them at their means ("held_nodes", docs/formats.md): the circuit to
 * rounding. "off" keeps none and lets kept nodes always pass: smaller, but another function; sn_evaluate tells how far
 * off. Without AbsTopK there both are the same. Errors: SN_ERROR_ARGUMENT where means belong to another model. */
SN_API int sn_circuit_fold(sn_model **out, sn_context *context, const sn_circuit *circuit,
                           const sn_means *means, const sn_options *options);
/* What an ablation costs in pretraining loss: mean cross-entropy of the next token over windows of `corpus`, nats, with
 * nodes at their means as `ablate` says; SN_ABLATE_NOTHING is the full model, to compare with: the same "seed" draws the
 * same windows. circuit and means may be NULL where the mode does not need them. Options: "tokens" (32768), "window"
 * (block_size), "seed" 0. Progress stage "text_loss", the value is the loss so far. */
SN_API int sn_circuit_text_loss(double *loss, sn_context *context, sn_model *model, const sn_means *means,
                                const sn_circuit *circuit, int ablate, const sn_corpus *corpus,
                                const sn_options *options);
SN_API void sn_circuit_free(sn_circuit *circuit);
/* The name of its task, and its model (lent: sn_model_retain to keep it). */
SN_API const char *sn_circuit_task(const sn_circuit *circuit);
SN_API sn_model *sn_circuit_model(const sn_circuit *circuit);
/* Adds or removes a node by name ("0.mlp.post_act.86", "1.attn.v.head2.ch0"). */
SN_API int sn_circuit_add_node(sn_circuit *circuit, sn_context *context, const char *node);
SN_API int sn_circuit_remove_node(sn_circuit *circuit, sn_context *context, const char *node);
SN_API size_t sn_circuit_node_count(const sn_circuit *circuit);
/* Name of node `index` (nodes in order of site and channel); lent; NULL out of range. */
SN_API const char *sn_circuit_node_name(const sn_circuit *circuit, size_t index);
SN_API size_t sn_circuit_edge_count(const sn_circuit *circuit);
/* Edges of the whole model that touch a node of the circuit at one end or both: what a reader of the circuit would
 * have to rule out (paper: 41 against the 9 of the quote circuit). */
SN_API size_t sn_circuit_touching_edge_count(const sn_circuit *circuit);
/* Edge `index`: from and to are node indices; weight as in the model. */
SN_API int sn_circuit_edge(size_t *from, size_t *to, float *weight, const sn_circuit *circuit,
                           size_t index);
/* Strongest paths from the difference of the two target logits back through nonzero weights to input
 * tokens (docs/circuits.md says how strength is measured). Options: "paths" 10, "max_length" 40. The
 * circuit keeps them: sn_circuit_path. Progress stage "trace". Errors: SN_ERROR_ARGUMENT. */
SN_API int sn_circuit_trace(sn_circuit *circuit, sn_context *context, const sn_means *means,
                            const sn_tokenizer *tokenizer, const sn_task *task,
                            const sn_options *options);
SN_API size_t sn_circuit_path_count(const sn_circuit *circuit);
/* A traced path in words, product of its weights and mean contribution on the task (in logits of
 * difference); lent; NULL out of range. weight and contribution may be NULL. */
SN_API const char *sn_circuit_path(double *weight, double *contribution, const sn_circuit *circuit,
                                   size_t index);
/* Keeps a number under a name with the circuit ("fresh_raw_loss"), for reports; a name set again takes
 * the new value. Changing the nodes forgets them all. Errors: SN_ERROR_ARGUMENT (not finite). */
SN_API int sn_circuit_set_measurement(sn_circuit *circuit, sn_context *context, const char *name,
                                      double value);
SN_API size_t sn_circuit_measurement_count(const sn_circuit *circuit);
/* Name of measurement `index` in the order first set, lent; NULL out of range. value may be NULL. */
SN_API const char *sn_circuit_measurement(double *value, const sn_circuit *circuit, size_t index);
/* A curve kept under a name with the circuit, 1 to 65536 points, all finite; a name set again takes the new one. Of a
 * circuit at most 4096.
 * Changing the nodes forgets them. Extraction keeps "loss_by_size" (the loss that the target is for, of the first k
 * nodes or edges in order of their masks, at each k that was tried; where the loss on a few pairs was hopeless, that),
 * and of learned masks "pruning_loss" and "pruning_size" (by step: loss of the batch, nodes or edges kept), which a
 * search for settings does not. x, y: copied. */
SN_API int sn_circuit_set_series(sn_circuit *circuit, sn_context *context, const char *name, size_t n,
                                 const double *x, const double *y);
SN_API size_t sn_circuit_series_count(const sn_circuit *circuit);
/* Name of series `index` in the order first set, lent, and its points, lent; NULL out of range. Out-pointers may be
 * NULL. */
SN_API const char *sn_circuit_series(const double **x, const double **y, size_t *n,
                                     const sn_circuit *circuit, size_t index);
/* Writes the circuit as one JSON object (docs/formats.md: version, task, model, nodes, edges, paths,
 * measurements) or as a Graphviz digraph, atomically. Errors: SN_ERROR_IO. */
SN_API int sn_report_write_json(sn_context *context, const sn_circuit *circuit, const char *path);
SN_API int sn_report_write_dot(sn_context *context, const sn_circuit *circuit, const char *path);
/* GraphML, for networkx, Gephi and others: nodes under their names with layer, site, channel and, once measured, delta;
 * edges with weight and delta. Text that is not UTF-8 or holds characters that XML forbids is left out. */
SN_API int sn_report_write_graphml(sn_context *context, const sn_circuit *circuit, const char *path);
/* A picture as SVG, light or dark as its reader has it: a column for each step of the forward pass, nodes under their
 * channel and label, edges dashed where negative and as wide as their weight is large; of more than 4000 edges the
 * heaviest (and says so), of more than 2000 residual links the first. Names beyond 500 nodes in a column are shown on
 * hover only. Texts as in GraphML. Errors: SN_ERROR_IO. */
SN_API int sn_report_write_svg(sn_context *context, const sn_circuit *circuit, const char *path);
/* The same reports, and the page, to a callback: sn_report_send. */

/* ------------------------------------------------------- labels and notes */

#define SN_LABEL 0 /* one line, at most 1024 bytes */
#define SN_NOTE 1  /* lines, at most 1048576 bytes */
/* What people say about a node of a circuit: UTF-8 without control characters (a note may have
 * newlines and tabs); NULL or "" takes it away. It stays with the node while other nodes come and go,
 * and goes with it; it is kept in the circuit's JSON and shown in DOT and GraphML. A union or
 * intersection holds what both circuits say (side by side where they differ; a's alone where that
 * would be too long), a difference what a says. Errors: SN_ERROR_ARGUMENT (not a node of the circuit,
 * not such text). */
SN_API int sn_circuit_set_label(sn_circuit *circuit, sn_context *context, const char *node, int kind,
                                const char *text);
/* That of node `index`, lent until it is set again or the nodes change; NULL where there is none. */
SN_API const char *sn_circuit_label(const sn_circuit *circuit, size_t index, int kind);

/* ------------------------------------------------------ evidence for nodes */

/* What nodes do over a corpus: how their values are distributed, and where in the text they stand
 * out. Values are those at the node's site, after norm, activation function and AbsTopK, in the whole
 * model. */
typedef struct sn_evidence sn_evidence;

/* One pass over the corpus for all nodes given by name (any order; the evidence keeps it). The corpus
 * is cut into windows that begin at lines as far as they can; all are run, or as many of them, drawn
 * by "seed", as make "tokens". Options: "tokens" 32768 (0: all), "window" 0 (tokens; 0 = block_size),
 * "seed" 0, "bins" 64 (2 to 4096), "top" 8, "bottom" 8 (contexts), "quantiles" (text: numbers from 0
 * to 1 with commas between; "0.25,0.5,0.75,0.95"), "per_quantile" 2, "before" 16, "after" 8 (tokens
 * shown around the position), "sample" 256 (places drawn of each node, of which those at quantiles
 * are taken). Memory, beyond the session's: per node about (top + bottom + sample) x (60 + 4 (before
 * + after + 1)) bytes, while it runs, and 4 bytes for each token of a batch of windows. Progress
 * stage "evidence" (tokens). Errors: SN_ERROR_ARGUMENT naming the node or option, SN_ERROR_STATE
 * (corpus without tokens), SN_ERROR_NUMERIC. */
SN_API int sn_evidence_create(sn_evidence **out, sn_context *context, sn_model *model,
                              const sn_corpus *corpus, const char *const *nodes, size_t n_nodes,
                              const sn_options *options);
/* The same for all nodes of a circuit, in its order. */
SN_API int sn_evidence_create_circuit(sn_evidence **out, sn_context *context, const sn_circuit *circuit,
                                      const sn_corpus *corpus, const sn_options *options);
SN_API void sn_evidence_free(sn_evidence *evidence);
SN_API size_t sn_evidence_count(const sn_evidence *evidence);
/* Name of node `index`; lent; NULL out of range. */
SN_API const char *sn_evidence_node(const sn_evidence *evidence, size_t index);
/* Over all tokens of the pass. Set struct_size before the call. */
typedef struct sn_evidence_summary {
    size_t struct_size;
    uint64_t n_tokens;
    uint64_t n_zero; /* tokens at which the value is exactly 0 */
    double minimum, maximum, mean, deviation;
} sn_evidence_summary;
SN_API int sn_evidence_summarize(sn_evidence_summary *result, const sn_evidence *evidence, size_t index);
/* The values that are not exactly zero, in bins of one width: bin i counts edges[i] <= value <
 * edges[i + 1]. The width is the smallest power of two with which "bins" bins hold all. Lends n_bins
 * counts (0 where every value is zero) and n_bins + 1 edges. */
SN_API int sn_evidence_histogram(const double **edges, const uint64_t **counts, size_t *n_bins,
                                 const sn_evidence *evidence, size_t index);

#define SN_CONTEXT_TOP 0      /* largest values first */
#define SN_CONTEXT_BOTTOM 1   /* smallest values first */
#define SN_CONTEXT_QUANTILE 2 /* "per_quantile" of each quantile, in the order given */
/* Text around one position. Set struct_size before the call; arrays are lent by the evidence. */
typedef struct sn_token_context {
    size_t struct_size;
    size_t document;          /* of the corpus */
    size_t position;          /* in the document, tokens */
    size_t n_tokens;          /* shown: they begin at position - at */
    size_t at;                /* the position among them */
    const int32_t *tokens;    /* n_tokens */
    const float *activations; /* n_tokens: the node's value at each */
    double quantile;          /* asked for; 1 for top, 0 for bottom */
    double value;             /* activations[at] */
} sn_token_context;
/* Contexts of values that are not exactly zero; fewer than asked for where there are no more. No two
 * of a list (of a quantile) overlap or show the same tokens; where the corpus has at least four times
 * as many documents as the list has room, they are of different documents. Quantiles are those of the
 * values that are not zero, as the sample knows them. Ties go to the first in the corpus. */
SN_API size_t sn_evidence_context_count(const sn_evidence *evidence, size_t index, int kind);
SN_API int sn_evidence_context(sn_token_context *result, const sn_evidence *evidence, size_t index,
                               int kind, size_t context);

#define SN_INCOMING 0
#define SN_OUTGOING 1
/* A nonzero weight of the model at one end of which a node is. */
typedef struct sn_node_edge {
    char node[96];  /* the other end */
    float weight;
    int in_circuit; /* 1: the other end is in the circuit */
    int used;       /* 1: the weight is an edge of the circuit */
} sn_node_edge;
/* All nonzero weights of the model into a node or out of it, strongest first (ties: as the model has
 * them); of attention c_proj the other end is the v channel. circuit may be NULL: then in_circuit and
 * used are 0. */
SN_API int sn_node_edges(sn_node_edge *edges, size_t capacity, size_t *needed, sn_context *context,
                         const sn_model *model, const sn_circuit *circuit, const char *node,
                         int direction);

#define SN_TOKENS_EMBEDDING 0   /* whose embedding writes to the channel */
#define SN_TOKENS_UNEMBEDDING 1 /* whose logit reads it, as it is behind the final norm */
/* The tokens at the residual channel of an act_in or resid_delta node: those with a nonzero entry
 * there, strongest first (ties: the lower id), and the entries. *needed is 0 for other nodes and for
 * channels of concatenated positions. tokens, weights: capacity each. */
SN_API int sn_node_tokens(int32_t *tokens, float *weights, size_t capacity, size_t *needed,
                          sn_context *context, const sn_model *model, const char *node, int table);

/* The attention of the head that a q, k or v channel belongs to, over given tokens: n_tokens x
 * n_tokens, row = the token that looks, column = the one looked at, 0 where that comes later; rows
 * sum to 1, less with a sink. share (may be NULL): of q and k, this channel's part of each score, q k
 * / sqrt(d_head) (a score is the sum over channels); of v, what the channel carries, probability x v,
 * whose row sum is the channel of attn.y. capacity is that of each array. In the whole model, or with
 * everything outside a circuit at its mean (circuit may be NULL). Errors: SN_ERROR_ARGUMENT (another
 * kind of node). */
SN_API int sn_node_attention(float *probability, float *share, size_t capacity, size_t *needed,
                             sn_context *context, sn_model *model, const sn_circuit *circuit,
                             const sn_means *means, const char *node, const int32_t *tokens,
                             size_t n_tokens);

/* ------------------------------------- contributions: where a node's value is from */

typedef struct sn_contributions sn_contributions;

#define SN_SOURCE_NODE 0      /* a node; into act_in: an earlier write on its channel, weight 1 */
#define SN_SOURCE_BIAS 1      /* the bias of the linear map */
#define SN_SOURCE_EMBEDDING 2 /* into act_in: the token's entry in the channel */
#define SN_SOURCE_POSITION 3  /* into act_in: the position's entry in the channel */
#define SN_SOURCE_STREAM 4    /* into act_in: what ReLU or AbsTopK of the residual stream took away there */

typedef struct sn_contribution {
    size_t struct_size; /* set to sizeof(sn_contribution) before the call */
    char source[96];    /* a node; "bias", "embedding", "position"; the stream's site ("0.resid_mid") */
    int kind;           /* SN_SOURCE_* */
    int used;           /* 0: held at its mean by the circuit, as its source is outside or the edge is cut */
    double weight;      /* 1 where no weight stands between */
    double value;       /* what it contributes; of a task: the mean over its prompts A */
    double value_b;     /* of a task: the mean over its prompts B; else 0 */
} sn_contribution;

/* What makes a node's value at one token: a contribution for EVERY nonzero weight of the model that
 * leads to it, in the circuit or not, and for its bias. Together they are the node's input, which is
 *   post_act     what goes into the activation function, c_fc's output: weight x act_in;
 *   q, k, v      c_attn's output before AbsTopK: weight x act_in;
 *   resid_delta  c_proj's output before AbsTopK: weight x post_act, or, of attention, weight x channel
 *                of attn.y, which is the v channel as attention carries it, and named after that;
 *   act_in       the residual stream's channel before norm and AbsTopK: embedding, position and each
 *                earlier write, as written. (A model that concatenates positions: a channel from
 *                d_model on is the position's entry before its norm.)
 * The value follows by norm, activation function and AbsTopK, which makes it 0 where others are larger.
 * circuit NULL: of the whole model; means is not looked at. Else everything outside the circuit is at
 * its mean, as under SN_ABLATE_REST: a source outside contributes weight x its mean (of attention as
 * attention carries it), a cut edge likewise. The node need not be in the circuit. At token `position`
 * of tokens. Errors: SN_ERROR_ARGUMENT. */
SN_API int sn_contributions_create(sn_contributions **out, sn_context *context, sn_model *model,
                                   const sn_circuit *circuit, const sn_means *means, const char *node,
                                   const int32_t *tokens, size_t n_tokens, size_t position);
/* The same at the last token of each prompt of a task: means over the prompts A and over the prompts
 * B. Progress stage "contributions". */
SN_API int sn_contributions_create_task(sn_contributions **out, sn_context *context, sn_model *model,
                                        const sn_circuit *circuit, const sn_means *means,
                                        const char *node, const sn_task *task);
SN_API void sn_contributions_free(sn_contributions *contributions);
SN_API size_t sn_contributions_count(const sn_contributions *contributions);
/* Contribution `index`, largest |value| + |value_b| first. */
SN_API int sn_contributions_get(sn_contribution *result, const sn_contributions *contributions,
                                size_t index);
/* The node's input, which is the sum of all contributions, and its value at its site (before the
 * circuit puts the node itself at its mean); means over prompts A (_b: B) of a task. Out-pointers may
 * be NULL. */
SN_API int sn_contributions_sum(double *input, double *input_b, double *value, double *value_b,
                                const sn_contributions *contributions);

/* ------------------------------- nodes of two values: binarisation (figure 34) */

/* A circuit whose every node is a step between two values l <= r: l up to halfway between them, r above. It keeps
 * a copy of the circuit's nodes and edges. */
typedef struct sn_binarised sn_binarised;

/* Starts, per node, from the best (in squares) of thresholds at 1/4, 1/2, 3/4 of the range that the node has on the
 * task's prompts, with l and r the means below and above. Then nodes go from x to the step, as
 * t x + (1 - t) step with t = (1 - progress)^5, while l and r, and so the threshold, are learned on the pairs (raw
 * loss). Everything outside the circuit is at its mean throughout. If learning gained nothing, the start is kept.
 * Options: "steps" 200 (0: the start alone), "learning_rate" 0.01 (of a node's range), "batch" 32 (pairs), "seed" 0.
 * Progress stage "binarise", the value is the batch's loss. Errors: SN_ERROR_ARGUMENT (an empty circuit; means of
 * another model), SN_ERROR_NUMERIC. */
SN_API int sn_binarised_create(sn_binarised **out, sn_context *context, const sn_circuit *circuit,
                               const sn_means *means, const sn_task *task, const sn_options *options);
SN_API void sn_binarised_free(sn_binarised *binarised);
SN_API size_t sn_binarised_count(const sn_binarised *binarised);
/* Name of node `index`, lent, and its two values; NULL out of range. low and high may be NULL. */
SN_API const char *sn_binarised_node(double *low, double *high, const sn_binarised *binarised,
                                     size_t index);
/* Raw loss on the pairs that it was made from, nats, of two-valued nodes: at the start and as they are now.
 * Out-pointers may be NULL. */
SN_API int sn_binarised_losses(double *start_loss, double *loss, const sn_binarised *binarised);
/* As sn_evaluate with SN_ABLATE_REST. Not from two threads at once. */
SN_API int sn_binarised_evaluate(sn_evaluation *result, sn_context *context, sn_binarised *binarised,
                                 const sn_means *means, const sn_task *fit, const sn_task *task);

/* ------------------------------------- what circuits have in common: motifs */

/* Nodes, edges and connected pieces that several circuits of one model share. A set of circuits is a
 * word: bit i stands for circuits[i] of the call. */
typedef struct sn_shared sn_shared;

/* 1 to 64 circuits; nothing of them is kept. Progress stage "shared". Errors: SN_ERROR_ARGUMENT
 * (circuits of different models), SN_ERROR_UNSUPPORTED (more than 1024 different sets of circuits
 * share edges). */
SN_API int sn_shared_create(sn_shared **out, sn_context *context, const sn_circuit *const *circuits,
                            size_t n_circuits);
SN_API void sn_shared_free(sn_shared *shared);
/* Nodes in two circuits or more, those of the most first. Name of node `index`, lent; NULL out of
 * range. */
SN_API size_t sn_shared_node_count(const sn_shared *shared);
SN_API const char *sn_shared_node(uint64_t *circuits, const sn_shared *shared, size_t index);
/* Edges likewise; out-pointers may be NULL, names are lent. */
SN_API size_t sn_shared_edge_count(const sn_shared *shared);
SN_API int sn_shared_edge(const char **from, const char **to, float *weight, uint64_t *circuits,
                          const sn_shared *shared, size_t index);
/* Motifs: two shared edges or more that hang together, by common nodes or as one writes a residual
 * channel that another reads later, and as large as all the motif's circuits have them. Those of most
 * circuits first, then of most edges. edges: lends indices of shared edges, ascending. */
SN_API size_t sn_shared_motif_count(const sn_shared *shared);
SN_API int sn_shared_motif(uint64_t *circuits, const size_t **edges, size_t *n_edges,
                           const sn_shared *shared, size_t index);
/* ------------------------------------------------------------ a circuit's page */

/* What a page shows beside the circuit; everything may be NULL or 0. Set struct_size before the call and the rest
 * to 0 or to what there is. */
typedef struct sn_page {
    size_t struct_size;
    const sn_tokenizer *tokenizer; /* texts of tokens; without it they are shown by their numbers */
    const sn_evidence *evidence;   /* histograms and contexts, of nodes by name */
    const sn_task *task;           /* pairs of prompts: values of nodes at every token, attention of heads */
    const sn_circuit *other;       /* to compare with: a circuit of the same model */
    const sn_task *other_task;     /* pairs of its own */
    size_t n_pairs;                /* of each task, spread over it; 0 = 4. Fewer where circuit and prompts are long */
} sn_page;

/* Writes the circuit as one HTML file that any browser opens offline (docs/viewer.md): graph, node cards, figures,
 * tokens, a table, comparison; labels and notes can be changed there and saved as circuit JSON. The file loads
 * nothing and runs nothing but its own script, which its Content Security Policy names by hash; text of the data
 * is shown as text. Values and attention are those of the whole model. inputs may be NULL. Progress stage "page"
 * (prompts). Written atomically. Errors: SN_ERROR_IO, SN_ERROR_ARGUMENT (circuits of different models; a prompt
 * that the model cannot run). */
SN_API int sn_report_write_html(sn_context *context, const sn_circuit *circuit, const sn_page *inputs,
                                const char *path);

#define SN_REPORT_JSON 0
#define SN_REPORT_DOT 1
#define SN_REPORT_GRAPHML 2
#define SN_REPORT_SVG 3
#define SN_REPORT_HTML 4
/* Takes the next `length` bytes of a report (UTF-8, lent, without a NUL). Returns 0, or anything else to cancel. */
typedef int (*sn_text_callback)(const char *text, size_t length, void *payload);
/* Any report without a file, for a notebook or a server: the bytes that sn_report_write_json, ..._html would write,
 * in their order, in one piece or several. form: SN_REPORT_*; inputs: of the page alone, else not looked at. What was
 * sent before an error is no report. Errors: as of the form, SN_ERROR_ARGUMENT, SN_ERROR_CANCELLED. */
SN_API int sn_report_send(sn_context *context, const sn_circuit *circuit, int form, const sn_page *inputs,
                          sn_text_callback callback, void *payload);

/* ------------------------------------------------- checks of a circuit: ablations */

/* What ablated nodes and cut edges carry (docs/checks.md). Options: "kind" (text: "mean", of `means`, default; "zero";
 * "resample": activations of random places of `corpus`, as in causal scrubbing); of resampling: "samples" 1024 (places
 * kept: each holds a float for every node and attention channel), "window" (block_size), "seed" 0, "draws" 8
 * (evaluations), "together" (text: "token", default: each token of a prompt takes another place; "prompt": one place
 * for all its tokens).
 * For a site and a token one place is drawn, and all ablated channels of the site, and all cut edges that leave it,
 * take that place's values together. Sites draw independently; the two prompts of a pair draw alike at the same
 * position. means and corpus may be NULL where the kind does not need them. Progress stage "samples". */
SN_API int sn_ablation_create(sn_ablation **out, sn_context *context, sn_model *model, const sn_means *means,
                              const sn_corpus *corpus, const sn_options *options);
SN_API void sn_ablation_free(sn_ablation *ablation);
/* Evaluations that sn_evaluate_ablation makes: "draws" of resampling, else 1. */
SN_API size_t sn_ablation_draw_count(const sn_ablation *ablation);

/* As sn_evaluation, each number the mean over draws, its spread their standard deviation (0 of one draw). The
 * calibration is fitted once, on the fitting pairs of all draws. Set struct_size before the call. */
typedef struct sn_ablation_result {
    size_t struct_size;
    size_t n_pairs;
    size_t n_draws;
    double loss, loss_spread;
    double accuracy, accuracy_spread;
    double raw_loss, raw_loss_spread;
    double raw_accuracy, raw_accuracy_spread;
    double scale, shift;
} sn_ablation_result;

/* sn_evaluate with any ablation: sufficiency with SN_ABLATE_REST, necessity with SN_ABLATE_CIRCUIT, of circuits of
 * nodes and of edges. raw_losses: raw loss of each draw (capacity and needed as ever; may be NULL, 0, NULL). The
 * same numbers for the same seed on any number of threads. Progress stage "ablation". */
SN_API int sn_evaluate_ablation(sn_ablation_result *result, double *raw_losses, size_t capacity,
                                size_t *needed, sn_context *context, sn_model *model,
                                const sn_ablation *ablation, const sn_circuit *circuit, int ablate,
                                const sn_task *fit, const sn_task *task);

/* ------------------------------------------------------------------- plots */

/* A figure of lines and points over two axes, as a report needs it: written as one SVG of 640 x 420 that is meant
 * to be read at the width of a column, in light and dark. */
typedef struct sn_plot sn_plot;
/* Texts are UTF-8, copied. Options: "log_x" 0, "log_y" 0 (1: a logarithmic axis; values must be above 0). */
SN_API int sn_plot_create(sn_plot **out, sn_context *context, const char *title, const char *x_label,
                          const char *y_label, const sn_options *options);
SN_API void sn_plot_free(sn_plot *plot);
#define SN_PLOT_LINE 0   /* points in the order given, joined */
#define SN_PLOT_POINTS 1 /* points alone */
#define SN_PLOT_DASHED 2 /* a dashed line without marks */
/* Adds n points under a name, which the legend shows ("" = not in the legend). low and high (both may be NULL):
 * the spread around each y, a band behind a line, bars at points. At most 12 series, of which each has a colour and a
 * mark of its own. Errors: SN_ERROR_ARGUMENT naming series, point and value: not finite, not above 0 on a logarithmic
 * axis, low above y or y above high. */
SN_API int sn_plot_add(sn_plot *plot, sn_context *context, const char *name, int style, size_t n, const double *x,
                       const double *y, const double *low, const double *high);
/* A thin line across at y, with its label at the right end. */
SN_API int sn_plot_add_level(sn_plot *plot, sn_context *context, const char *label, double y);
/* Writes it atomically. Errors: SN_ERROR_IO. */
SN_API int sn_plot_write_svg(const sn_plot *plot, sn_context *context, const char *path);
/* -------------------------------------------------- checks of a circuit: patching */

/* What patching does, in the whole model. Each prompt of each pair is the given one once, the other the counterfactual.
 * Effects are of the given value less the patched one, times +1 for prompt A and -1 for prompt B: positive where the
 * node speaks for the right answer (logits), or is larger in A (nodes). Set struct_size before the call. */
typedef struct sn_patch_result {
    size_t struct_size;
    size_t n_pairs;
    double logit_effect; /* of the difference of the pair's two logits; mean over prompts */
    double logit_spread; /* standard deviation over pairs of a pair's mean */
    double node_effect;  /* of the node's own value, at the token of the prompt where it changes most; mean */
    double node_spread;
    double total_effect; /* what replacing the whole prompt does to the difference; mean over pairs */
} sn_patch_result;

/* Activation patching: at all tokens of the given prompt `node` ("0.mlp.post_act.86") takes the value it has at the
 * same token of the counterfactual prompt; everything behind it is computed anew. "The same token": counted from the
 * front up to the first difference and in it, from the end in what both end with; tokens that the other prompt has no
 * match for keep their value (docs/checks.md). effects: 4 for each pair: of the logits and of the node with prompt A
 * given, then with prompt B given; capacity and needed as ever, or NULL, 0, NULL. Progress stage "patch". */
SN_API int sn_patch_node(sn_patch_result *result, double *effects, size_t capacity, size_t *needed,
                         sn_context *context, sn_model *model, const char *node, const sn_task *task);
/* Path patching: the effect of node `from` on node `to` by direct weights only. `from` takes its counterfactual value
 * while every other node is held at its given value, but for the channels that join the two: what the block of
 * `from` writes to by nonzero weights of `from`, and the same channels as the block of `to` reads them. node_effect is
 * the change of `to` then; logit_effect is what that change does, everything behind `to` computed anew. 0 where no
 * weights join the two. Errors: SN_ERROR_ARGUMENT naming a node that there is not, or `to` where its site does not
 * stand behind that of `from`. */
SN_API int sn_patch_path(sn_patch_result *result, double *effects, size_t capacity, size_t *needed,
                         sn_context *context, sn_model *model, const char *from, const char *to,
                         const sn_task *task);

/* ------------------------------------- checks of a circuit: linear replacement */

/* Is one node the same thing as another, but for a factor? What `node` = factor x `by` + offset does to a task. The
 * calibration is that from before the replacement. Set struct_size before the call. */
typedef struct sn_replacement {
    size_t struct_size;
    size_t n_pairs;
    size_t n_values;          /* tokens to which factor and offset were fitted */
    double factor, offset;    /* by least squares */
    double correlation;       /* of the two nodes over those tokens; 0 where one of them is constant */
    double explained;         /* R2 there: the share of `node`'s variance that the line explains */
    double explained_on_task; /* the same at all tokens of the pairs of `task`; below 0: worse than their mean */
    double loss_before, accuracy_before, raw_loss_before, raw_accuracy_before;
    double loss, accuracy, raw_loss, raw_accuracy; /* with the line in place of `node` */
    double loss_constant, accuracy_constant;       /* with `node`'s mean over those tokens in its place: */
    double raw_loss_constant, raw_accuracy_constant; /* as good as before = the node hardly matters */
    double scale, shift; /* the calibration */
} sn_replacement;

/* Fits `node` by another node at the same token, which stands at the same site or an earlier one, and puts the line's
 * value in its place at every token. In the whole model (circuit and means NULL), or inside a circuit that keeps
 * `node`, everything else at its mean throughout; `by` is taken as the circuit computes it, before it is ablated where
 * it is not kept. The fit is over windows of `corpus`, or, where that is NULL, over all tokens of the prompts of `fit`;
 * the calibration is fitted on `fit`, and losses are those of `task`. Options, of the corpus alone: "tokens" 32768,
 * "window" (block_size), "seed" 0. Progress stages "fit" (tokens or pairs), "replace" (evaluations). Errors:
 * SN_ERROR_ARGUMENT naming a node that there is not, that is not kept, or `by` where it stands behind `node`;
 * SN_ERROR_NUMERIC. */
SN_API int sn_replace_node(sn_replacement *result, sn_context *context, sn_model *model, const sn_means *means,
                           const sn_circuit *circuit, const char *node, const char *by,
                           const sn_corpus *corpus, const sn_task *fit, const sn_task *task,
                           const sn_options *options);

/* -------------------------------------------------- checks of a circuit: controls */

/* A circuit beside random ones of its size (sn_circuit_create_random). Sufficient: all else ablated; necessary: it
 * alone ablated, where the loss counts after calibration was fitted anew. Spreads are standard deviations over the
 * controls, of each the mean over draws. Set struct_size before the call. */
typedef struct sn_controls {
    size_t struct_size;
    size_t n_controls;
    size_t n_as_sufficient; /* controls whose raw loss, all else ablated, is at most the circuit's */
    size_t n_as_necessary;  /* controls without which the recalibrated loss is at least as high */
    double circuit_sufficient_raw_loss, circuit_necessary_loss;
    double sufficient_loss, sufficient_loss_spread; /* of the controls: calibrated */
    double sufficient_raw_loss, sufficient_raw_loss_spread;
    double necessary_loss, necessary_loss_spread; /* recalibrated */
    double necessary_raw_loss, necessary_raw_loss_spread;
    double nodes, edges; /* of a control, mean */
} sn_controls;

/* Measures n_controls (1 at least) random circuits, of seeds seed, seed + 1, ..., under any ablation. losses: 4 for
 * each control: calibrated and raw of sufficiency, recalibrated and raw of necessity; capacity and needed as ever,
 * or NULL, 0, NULL. Progress stages "controls", "ablation". */
SN_API int sn_circuit_measure_controls(sn_controls *result, double *losses, size_t capacity, size_t *needed,
                                       sn_context *context, const sn_ablation *ablation,
                                       const sn_circuit *circuit, size_t n_controls, uint64_t seed,
                                       const sn_task *fit, const sn_task *task);
/* A model of the same configuration, supports and values, with the nonzero values of every tensor permuted among
 * their places (a position table beside the stream, with "d_pos_emb", stays as it is): the control of a method that
 * claims to find what training put into the weights. Extraction on it should end with SN_ERROR_TARGET. */
SN_API int sn_model_create_shuffled(sn_model **out, sn_context *context, const sn_model *model,
                                    uint64_t seed);

/* ================================================================ ADVANCED */

/* -------------------------------------------------------- host integration */

/* Bytes now held and the largest ever held, of everything allocated through this context and the
 * objects made with it; either pointer may be NULL. */
SN_API void sn_context_memory(size_t *current, size_t *peak, const sn_context *context);
/* The most that this may become, for the context and all objects made with it: what would go beyond fails
 * with SN_ERROR_MEMORY and a message that names the limit, as if the host had no more (docs/memory.md).
 * 0 = no limit, the default. Below what is held already nothing can be had until enough is freed. */
SN_API int sn_context_set_memory_limit(sn_context *context, size_t bytes);
/* The host's own parallel loop: must call body(body_payload, i) once for each i in 0..n-1, from at
 * most n_threads threads at a time, and return when all are done. */
typedef void (*sn_parallel_for)(size_t n, void (*body)(void *body_payload, size_t index),
                                void *body_payload, void *payload);
SN_API int sn_context_set_parallel_for(sn_context *context, sn_parallel_for parallel_for, void *payload,
                                       size_t n_threads);

/* ------------------------------------------------------- sites and gradients */

/* Sites of a model in the order in which they occur, under the released hook names:
 * l.resid_in, l.attn.act_in, l.attn.k, l.attn.q, l.attn.v, l.attn.y, l.attn.resid_delta, l.resid_mid,
 * l.mlp.act_in, l.mlp.post_act, l.mlp.resid_delta, ..., final_resid. */
SN_API size_t sn_model_site_count(const sn_model *model);
SN_API const char *sn_model_site_name(const sn_model *model, size_t index);
/* Channels of a site; 0 when there is no such site. */
SN_API size_t sn_model_site_width(const sn_model *model, const char *site);

/* Selecting, recording and intervening concern the forwards that follow. What the last forward and backward left, but
 * for the gradients of weights, is to be read before: it may be gone then (SN_ERROR_STATE). */
/* Restricts logits to these packed token indices (ascending) in the forwards that follow;
 * (NULL, 0) = all tokens. */
SN_API int sn_session_select_logits(sn_session *session, const size_t *positions, size_t n_positions);
/* Keeps the values (and, after a backward, the gradients) of a site; NULL = forget all. */
SN_API int sn_session_record(sn_session *session, const char *site);
/* Recorded values after interventions, n_tokens x width. Errors: SN_ERROR_STATE (not recorded). */
SN_API int sn_session_activations(float *values, size_t capacity, size_t *needed, sn_session *session,
                                  const char *site);
SN_API int sn_session_site_gradient(float *values, size_t capacity, size_t *needed, sn_session *session,
                                    const char *site);

#define SN_SET 0   /* x = value */
#define SN_ADD 1   /* x = x + value */
#define SN_SCALE 2 /* x = x * value */
/* Attaches an intervention to a site; interventions of a site run in the order attached, after
 * AbsTopK, in all following forwards. channels: n_channels indices (NULL = all of the site's width).
 * values: one per channel (n_values = n_channels, or the width), or one per token and channel
 * (n_values = n_tokens x channels, token-major: patching from another run).
 * token_mask: one byte per packed token, nonzero where the intervention acts; NULL = everywhere.
 * All arrays are copied. Mean ablation is SN_SET with sn_means_site. */
SN_API int sn_session_intervene(sn_session *session, const char *site, int action,
                                const size_t *channels, size_t n_channels, const float *values,
                                size_t n_values, const unsigned char *token_mask, size_t n_tokens);
SN_API int sn_session_clear_interventions(sn_session *session);

/* The same for a generator: they act on each token appended from now on, those held keep their keys and
 * values. token_mask and values per token go by position in the sequence; behind the mask nothing acts,
 * behind the values appending fails (SN_ERROR_ARGUMENT). */
SN_API int sn_generator_intervene(sn_generator *generator, const char *site, int action,
                                  const size_t *channels, size_t n_channels, const float *values,
                                  size_t n_values, const unsigned char *token_mask, size_t n_tokens);
SN_API int sn_generator_clear_interventions(sn_generator *generator);
/* Keeps a site's values, after interventions, of the last token appended; NULL = forget all. */
SN_API int sn_generator_record(sn_generator *generator, const char *site);
/* They, one per channel. Errors: SN_ERROR_STATE (not recorded). */
SN_API int sn_generator_activations(float *values, size_t capacity, size_t *needed,
                                    sn_generator *generator, const char *site);

/* Runs sublayers [first, last) on a given residual stream, n_tokens x d_model: sublayer 2l is layer
 * l's attention, 2l+1 its MLP; last = 2 n_layer + 1 includes the final norm and logits. With
 * bigram tables and logits, `tokens` must be given; otherwise it may be NULL. */
SN_API int sn_session_forward_range(sn_session *session, const float *residual, const int32_t *tokens,
                                    const size_t *offsets, size_t n_sequences, size_t first,
                                    size_t last);
/* The residual stream after the last forward (n_tokens x d_model; with "selected_only" the selected tokens),
 * before the final norm. */
SN_API int sn_session_residual(float *values, size_t capacity, size_t *needed, sn_session *session);

/* Adds a gradient (n_tokens x width, or a row for each selected token: "selected_only") at a site in the next
 * backward only. */
SN_API int sn_session_add_site_gradient(sn_session *session, const char *site, const float *gradient,
                                        size_t n_values);
/* Backward of the mean cross-entropy over rows with targets >= 0; accumulates into the gradients. */
SN_API int sn_session_backward(sn_session *session, const int32_t *targets);
/* Backward from the caller's gradient of the logits (n_rows x vocab_size; NULL = zero) and of the
 * final residual (n_tokens x d_model; NULL = zero; only after a range without logits). */
SN_API int sn_session_backward_from(sn_session *session, const float *logits_gradient,
                                    const float *residual_gradient);
/* Gradient of the residual stream that entered the last forward_range or the embedding sum. */
SN_API int sn_session_input_gradient(float *values, size_t capacity, size_t *needed,
                                     sn_session *session);
SN_API int sn_session_zero_gradients(sn_session *session);
/* Accumulated gradient of a tensor as a dense row-major array (zero off the support when the session
 * computes support gradients). Errors: SN_ERROR_STATE with "gradients" none. */
SN_API int sn_session_gradient(float *values, size_t capacity, size_t *needed, sn_session *session,
                               const char *tensor);
/* Bytes that this session makes the context hold for a forward over n_tokens in n_sequences, with the logits
 * selected, the sites recorded and the interventions attached now; with "backward" 1 for the backward too,
 * and then also what the model's matrices make at their first backward, unless it is there. */
SN_API int sn_session_estimate_memory(size_t *bytes, sn_session *session, size_t n_tokens,
                                      size_t n_sequences);

/* ------------------------------------------------------------------ tensors */

/* Named arrays of floats in one safetensors file: how logits, activations and gradients leave for other
 * tools and come back. At most 8 dimensions; n_dimensions 0 is a single number. */
SN_API int sn_tensors_create(sn_tensors **out, sn_context *context);
/* Every tensor of a safetensors file, converted to float. Errors: SN_ERROR_IO, SN_ERROR_FORMAT. */
SN_API int sn_tensors_load(sn_tensors **out, sn_context *context, const char *path);
SN_API void sn_tensors_free(sn_tensors *tensors);
/* values: row-major, as many as the product of `shape`; copied. A name is UTF-8 and may stand once; not "__metadata__",
 * which a file uses for something else. */
SN_API int sn_tensors_add(sn_tensors *tensors, sn_context *context, const char *name,
                          const size_t *shape, size_t n_dimensions, const float *values);
/* Written atomically, as F32, in the order added. */
SN_API int sn_tensors_save(const sn_tensors *tensors, sn_context *context, const char *path);
SN_API size_t sn_tensors_count(const sn_tensors *tensors);
/* Lent; NULL for an index out of range. */
SN_API const char *sn_tensors_name(const sn_tensors *tensors, size_t index);
/* Values of a tensor by name and its shape, lent; NULL when there is none. The out-pointers may be NULL. */
SN_API const float *sn_tensors_values(const size_t **shape, size_t *n_dimensions,
                                      const sn_tensors *tensors, const char *name);

/* ---------------------------------------------------------- sparse matrices */

/* A rows x cols matrix from CSR arrays (copied): indptr rows + 1, indices ascending in each row,
 * values nnz (NULL = zeros). Errors: SN_ERROR_ARGUMENT naming the row and index. */
SN_API int sn_matrix_create_csr(sn_matrix **out, sn_context *context, size_t rows, size_t cols,
                                const size_t *indptr, const uint32_t *indices, const float *values);
/* From a dense row-major array; kept sparse when at most `max_density` of it is nonzero
 * (0.45 is where sparse kernels stop winning; docs/performance.md). */
SN_API int sn_matrix_create_dense(sn_matrix **out, sn_context *context, size_t rows, size_t cols,
                                  const float *values, double max_density);
SN_API void sn_matrix_free(sn_matrix *matrix);
SN_API size_t sn_matrix_rows(const sn_matrix *matrix);
SN_API size_t sn_matrix_cols(const sn_matrix *matrix);
/* Entries in the support. */
SN_API size_t sn_matrix_support(const sn_matrix *matrix);
/* New values on the same support, n = sn_matrix_support; order of the CSR arrays. */
SN_API int sn_matrix_set_values(sn_matrix *matrix, sn_context *context, const float *values, size_t n);
/* y = x W^T: x n_tokens x cols, y n_tokens x rows, token-major. */
SN_API int sn_matrix_multiply(float *y, sn_context *context, const sn_matrix *matrix, const float *x,
                              size_t n_tokens);
/* dx = dy W: dy n_tokens x rows, dx n_tokens x cols. */
SN_API int sn_matrix_multiply_transposed(float *dx, sn_context *context, const sn_matrix *matrix,
                                         const float *dy, size_t n_tokens);
/* Gradient of the weights on the support: values[i] += sum over tokens of dy[row_i] x[col_i]. */
SN_API int sn_matrix_gradient(float *values, sn_context *context, const sn_matrix *matrix,
                              const float *dy, const float *x, size_t n_tokens);
/* Per row of x (n_tokens x width): keep the k entries largest in magnitude, ties to the lowest index,
 * zero the rest (paper 2.1). A NaN counts as larger than infinity. y may be x. */
SN_API int sn_abs_topk(float *y, sn_context *context, const float *x, size_t n_tokens, size_t width,
                       size_t k);

#define SN_AXIS_NONE 0 /* no minimum */
#define SN_AXIS_ROW 1  /* every row keeps at least `minimum` entries */
#define SN_AXIS_COLUMN 2
/* keep[i] = 1 for the k entries of the rows x cols matrix w largest in magnitude, after the `minimum`
 * largest of every row or column have been reserved (they count inside k); ties to the lowest flat
 * index, a NaN counts as larger than infinity. Errors: SN_ERROR_ARGUMENT where minimum x neurons > k. */
SN_API int sn_magnitude_select(unsigned char *keep, sn_context *context, const float *w, size_t rows,
                               size_t cols, size_t k, int axis, size_t minimum);

#ifdef __cplusplus
}
#endif

#endif
