#include "circuit/path_text.h"

#include <string.h>

#include "base/buffer.h"

#define ARROW " \xe2\x86\x92 " /* U+2192 */
#define MINUS " \xe2\x88\x92 " /* U+2212 */
#define SPACE "\xe2\x90\xa3"   /* U+2423 */

/* Printable ASCII as it is; spaces, control and other bytes made visible. */
static void append_token(struct buffer *text, const sn_tokenizer *tokenizer, int32_t token)
{
    size_t length = 0;
    const char *bytes = tokenizer ? sn_tokenizer_token(&length, tokenizer, token) : NULL;
    if (!bytes)
        buffer_format(text, "#%d", (int)token);
    for (size_t i = 0; bytes && i < length; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == ' ')
            buffer_text(text, SPACE);
        else if (c == '\n')
            buffer_text(text, "\\n");
        else if (c == '\t')
            buffer_text(text, "\\t");
        else if (c < 0x20 || c > 0x7e)
            buffer_format(text, "\\x%02x", c);
        else
            buffer_append(text, bytes + i, 1);
    }
}

static int same_targets(const struct pair_batch *batch)
{
    for (size_t i = 1; i < batch->n_pairs; i++)
        if (batch->targets[2 * i] != batch->targets[0] || batch->targets[2 * i + 1] != batch->targets[1])
            return 0;
    return 1;
}

static void append_logits(struct buffer *text, const struct flow *flow, const sn_tokenizer *tokenizer)
{
    if (!same_targets(&flow->batch)) {
        buffer_text(text, "logit of target a" MINUS "logit of target b");
        return;
    }
    buffer_text(text, "logit ");
    append_token(text, tokenizer, flow->batch.targets[0]);
    buffer_text(text, MINUS "logit ");
    append_token(text, tokenizer, flow->batch.targets[1]);
}

char *path_text(struct memory *memory, const struct flow *flow, const struct path_step *steps,
                const struct found_path *path, const sn_tokenizer *tokenizer)
{
    struct buffer text;
    buffer_init(&text, memory);
    if (path->source == SOURCE_POSITION) {
        buffer_text(&text, "position");
    } else {
        buffer_text(&text, "token ");
        append_token(&text, tokenizer, path->token);
    }
    buffer_text(&text, ARROW);
    if (path->source == SOURCE_DIRECT)
        buffer_text(&text, "embedding" ARROW);
    if (path->source == SOURCE_BIGRAM)
        buffer_text(&text, "bigram table" ARROW);
    for (size_t step = path->step; step != NO_STEP; step = steps[step].parent) {
        buffer_text(&text, flow->circuit->graph.names[steps[step].node]);
        buffer_text(&text, ARROW);
    }
    append_logits(&text, flow, tokenizer);
    char *copy = text.failed ? NULL : memory_copy_text(memory, text.bytes, text.size);
    buffer_free(&text);
    return copy;
}
