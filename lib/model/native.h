/* The library's own file (docs/formats.md): a safetensors file whose __metadata__ holds the version
 * and the configuration. A sparse tensor NAME stands as NAME.indptr (U32, rows + 1), NAME.indices
 * (U16 or U32) and NAME.values (F32); a dense one under its own name. */
#ifndef SN_MODEL_NATIVE_H
#define SN_MODEL_NATIVE_H

#define NATIVE_VERSION_KEY "sparsenet.version"
#define NATIVE_VERSION "1"
#define NATIVE_CONFIG_KEY "sparsenet.config"

#endif
