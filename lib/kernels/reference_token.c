#include "kernels/reference_token.h"

#include <math.h>
#include <string.h>

void reference_token_columns(float *y, const struct sparse_columns *columns, const uint32_t *active,
                             const float *x, size_t n_active)
{
    for (size_t a = 0; a < n_active; a++)
        for (uint32_t i = columns->start[active[a]]; i < columns->start[active[a] + 1]; i++)
            y[columns->row[i]] += x[a] * columns->value[i];
}

void reference_token_rows(float *y, const struct sparse_block *block, const float *x, const float *bias)
{
    for (size_t r = 0; r < block->rows; r++) {
        double sum = bias ? bias[r] : 0;
        for (uint32_t i = block->start[r]; i < block->end[r]; i++)
            sum += (double)block->value[i] * x[block->first_column + block->index[i]];
        y[r] = (float)sum;
    }
}

void reference_token_dense(float *y, const float *w, size_t rows, size_t cols, const float *x,
                           const float *bias)
{
    for (size_t r = 0; r < rows; r++) {
        double sum = bias ? bias[r] : 0;
        for (size_t c = 0; c < cols; c++)
            sum += (double)w[r * cols + c] * x[c];
        y[r] = (float)sum;
    }
}

static uint32_t magnitude_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7FFFFFFFu;
}

/* An entry stays when fewer than k are larger, or as large and in front of it. */
void reference_token_topk(float *x, size_t width, size_t k, void *scratch)
{
    unsigned char *drop = scratch;
    for (size_t i = 0; i < width; i++) {
        size_t before = 0;
        for (size_t j = 0; j < width; j++)
            before += magnitude_of(x[j]) > magnitude_of(x[i]) ||
                      (magnitude_of(x[j]) == magnitude_of(x[i]) && j < i);
        drop[i] = before >= k;
    }
    for (size_t i = 0; i < width; i++)
        if (drop[i])
            x[i] = 0;
}

void reference_token_rms_norm(float *y, const float *x, const float *weight, size_t width)
{
    double sum = 0;
    for (size_t c = 0; c < width; c++)
        sum += (double)x[c] * x[c];
    double inverse = 1 / sqrt(sum / (double)width + 0x1p-23);
    for (size_t c = 0; c < width; c++)
        y[c] = (float)(x[c] * inverse * weight[c]);
}

void reference_token_layer_norm(float *y, const float *x, const float *weight, const float *bias,
                                size_t width)
{
    double mean = 0, variance = 0;
    for (size_t c = 0; c < width; c++)
        mean += x[c] / (double)width;
    for (size_t c = 0; c < width; c++)
        variance += (x[c] - mean) * (x[c] - mean) / (double)width;
    double inverse = 1 / sqrt(variance + 1e-5);
    for (size_t c = 0; c < width; c++)
        y[c] = (float)((x[c] - mean) * inverse * weight[c] + (bias ? bias[c] : 0));
}

/* The value of a head's channel at a token; `part` is attention->key or attention->value. */
static double cached(const struct token_attention *attention, size_t part, size_t channel, size_t token)
{
    return attention->pages[token / PANEL][part + channel * PANEL + token % PANEL];
}

static double score_of(const float *q, const struct token_attention *attention, size_t token)
{
    double sum = 0;
    for (size_t c = 0; c < attention->d_head; c++)
        sum += q[c] * cached(attention, attention->key, c, token);
    return sum * attention->scale;
}

void reference_token_attention(float *y, const float *q, const struct token_attention *attention,
                               void *scratch)
{
    double largest = attention->has_sink ? (double)attention->sink : -INFINITY;
    (void)scratch;
    for (size_t t = 0; t < attention->n_tokens; t++)
        largest = fmax(largest, score_of(q, attention, t));
    double sum = attention->has_sink ? exp(attention->sink - largest) : 0;
    for (size_t t = 0; t < attention->n_tokens; t++)
        sum += exp(score_of(q, attention, t) - largest);
    for (size_t c = 0; c < attention->d_head; c++) {
        double value = 0;
        for (size_t t = 0; t < attention->n_tokens; t++)
            value += exp(score_of(q, attention, t) - largest) / sum *
                     cached(attention, attention->value, c, t);
        y[c] = (float)value;
    }
}
