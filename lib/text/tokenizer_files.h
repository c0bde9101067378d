/* Reading and writing a tokenizer's files. Both forms write bytes as characters that can be printed. */
#ifndef SN_TEXT_TOKENIZER_FILES_H
#define SN_TEXT_TOKENIZER_FILES_H

#include <jansson.h>

#include "base/buffer.h"
#include "text/tokenizer.h"

#define MAX_TOKENIZER_FILE_BYTES ((size_t)16 << 20)

/* The bytes that `text` stands for, into bytes[MAX_TOKEN_BYTES]: their number, 0 if it is empty or too
 * long or holds a character that stands for no byte. */
size_t unmap_token(char *bytes, const char *text, size_t length);

int fail_file_memory(struct sn_context *context, const char *path);

/* The value as JSON for a message, or what kind of thing it is when that is long; NULL: "absent". */
#define SHOWN_JSON 80
void show_json(char text[SHOWN_JSON], const json_t *value);

/* A whole JSON file into *root, which the caller json_decref()s. */
int read_json_file(json_t **root, struct sn_context *context, const char *path);

/* names[id] = the key of that id in {"token": id}, NULL where no token has it; lent by root. `where`
 * names the object in messages ("model.vocab: ", or ""). The caller frees names[size] also when it
 * fails. */
int collect_names(const char ***names, size_t *size, struct sn_context *context, const char *path,
                  const char *where, json_t *root);
/* Puts the token that `name` writes. */
int put_name(struct sn_tokenizer *tokenizer, struct sn_context *context, const char *path,
             const char *where, const char *name, size_t id);
int check_bytes(const struct sn_tokenizer *tokenizer, struct sn_context *context, const char *path,
                const char *where);

/* Each form whole: an indexed tokenizer in *out, which is the caller's also when it fails. */
int read_encoder_files(struct sn_tokenizer **out, struct sn_context *context, const char *encoder_path,
                       const char *merges_path);
int read_tokenizer_json(struct sn_tokenizer **out, struct sn_context *context, const char *path);

/* Writing; a failure shows in the buffer. */
void write_encoder_json(struct buffer *buffer, const struct sn_tokenizer *tokenizer);
void write_vocab_bpe(struct buffer *buffer, const struct sn_tokenizer *tokenizer);
void write_tokenizer_json(struct buffer *buffer, const struct sn_tokenizer *tokenizer);

#endif
