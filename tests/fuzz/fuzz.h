/* What the fuzz targets share. A target is one function of bytes; libFuzzer drives it (`make fuzz`), and
 * replay.c runs it over files with any compiler. */
#ifndef SN_TESTS_FUZZ_H
#define SN_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "sparsenet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A context whose allocator refuses beyond so many MiB: bad sizes must end in a status. */
sn_context *fuzz_context(size_t mebibytes);
/* Writes a file into this process' own folder and returns its path, lent until the next call. */
const char *fuzz_write(const char *name, const void *bytes, size_t size);
/* The same of a zip archive, its checksums put right first: a fuzzer cannot guess them. */
const char *fuzz_write_zip(const char *name, const void *bytes, size_t size);
const char *fuzz_folder(void);
/* Length of the bytes before the first NUL; *rest is what follows it, NULL when there is none. */
size_t fuzz_split(const uint8_t **rest, size_t *n_rest, const uint8_t *data, size_t size);
/* What every failure must be: a status with a message. */
void fuzz_check(int status, const sn_context *context);
/* sn_model_load, behind the estimate of its memory. */
void fuzz_load_model(sn_model **model, sn_context *context, const char *path);
/* A model that was accepted must run, save and load again. */
void fuzz_use_model(sn_model *model, sn_context *context);
/* The same of the dense folder that it leaves as, unless that is large. Takes long: not for every input. */
void fuzz_export_model(sn_model *model, sn_context *context);

#endif
