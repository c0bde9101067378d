#include "model_numbers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train_model.h"

#define N_WINDOWS 32
#define N_TOKENS 128

/* The first tokens of the first documents that are long enough. */
static size_t take_windows(int32_t *tokens, const sn_corpus *corpus)
{
    size_t taken = 0, n;
    for (size_t i = 0; i < sn_corpus_count(corpus) && taken < N_WINDOWS; i++) {
        const int32_t *document = sn_corpus_tokens(&n, corpus, i);
        if (n >= N_TOKENS)
            memcpy(tokens + N_TOKENS * taken++, document, N_TOKENS * sizeof *tokens);
    }
    return taken;
}

static double kurtosis_of(const float *values, size_t n)
{
    double mean = 0, second = 0, fourth = 0;
    for (size_t i = 0; i < n; i++)
        mean += values[i];
    mean /= (double)n;
    for (size_t i = 0; i < n; i++) {
        double d = values[i] - mean;
        second += d * d;
        fourth += d * d * d * d;
    }
    return fourth * (double)n / (second * second);
}

static double measure_kurtosis(sn_context *context, sn_model *model, const sn_corpus *corpus)
{
    int32_t tokens[N_WINDOWS * N_TOKENS];
    size_t offsets[N_WINDOWS + 1], needed, n = take_windows(tokens, corpus);
    sn_session *session;
    for (size_t i = 0; i <= n; i++)
        offsets[i] = i * N_TOKENS;
    check(context, sn_session_create(&session, context, model, NULL));
    check(context, sn_session_forward(session, tokens, offsets, n));
    size_t count = n * N_TOKENS * (size_t)sn_model_config_number(model, "d_model");
    float *values = malloc(count * sizeof *values);
    if (!values)
        stop("no memory for", "a residual stream");
    check(context, sn_session_residual(values, count, &needed, session));
    double result = kurtosis_of(values, needed);
    free(values);
    sn_session_free(session);
    return result;
}

struct model_numbers model_numbers_measure(const struct setup *setup, const struct texts *texts,
                                           sn_context *context, const struct model_spec *spec)
{
    char path[PATH_CAPACITY];
    struct model_numbers numbers;
    model_path(path, setup, spec, ".csv");
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%*[^,],%*[^,],%*u,%*u,%*f,%*u,%zu,%*u,%lf,%lf,%zu", &numbers.nonzeros,
                        &numbers.idiom_loss, &numbers.real_loss, &numbers.n_learnt) != 4)
        stop("cannot read", path);
    fclose(file);
    sn_model *model = load_trained_model(setup, spec, context);
    numbers.kurtosis = measure_kurtosis(context, model, texts->held_out_real);
    sn_model_free(model);
    return numbers;
}

double model_loss(const struct model_numbers *numbers)
{
    return (numbers->idiom_loss + numbers->real_loss) / 2;
}
