/* mutate_check MODEL_DIR N [SEED]: loads a copy of the folder N times, its final_model.pt with random bytes spoilt,
 * cut, or exchanged; says how many loaded. Meant for a build with sanitizers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/random.h"
#include "zip_fix.h"

static int write_file(const char *folder, const char *name, const char *bytes, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    int ok = file && fwrite(bytes, 1, size, file) == size;
    return file && fclose(file) == 0 && ok;
}

/* Prefers the pickle and the directory: two of three places lie where no tensor data are. */
static size_t pick(struct random_state *state, size_t size)
{
    const size_t part = size < 8192 ? size : 8192;
    switch (random_below(state, 3)) {
    case 0: return random_below(state, part);
    case 1: return size - 1 - random_below(state, part);
    default: return random_below(state, size);
    }
}

/* Three of four get right checksums again, so that what stands behind those is reached. */
static size_t mutate(char *bytes, size_t size, struct random_state *state)
{
    static const unsigned char telling[] = {0,   1,   0x7F, 0x80, 0xFF, '(',  '.',
                                            'R', 'Q', 't',  'h',  'q',  0x85, 0x8A};
    for (size_t n = 1 + random_below(state, 4); n; n--) {
        const size_t at = pick(state, size);
        switch (random_below(state, 4)) {
        case 0: bytes[at] = (char)random_below(state, 256); break;
        case 1: bytes[at] = (char)telling[random_below(state, sizeof telling)]; break;
        case 2: bytes[at] = (char)(bytes[at] ^ 1 << random_below(state, 8)); break;
        default: bytes[at] = bytes[pick(state, size)];
        }
    }
    if (random_below(state, 4))
        zip_fix_checksums((unsigned char *)bytes, size);
    return random_below(state, 50) ? size : random_below(state, size);
}

static int load_mutants(size_t *n_loaded, sn_context *context, const char *from, const char *to,
                        size_t n, uint64_t seed)
{
    char path[512], *whole = NULL, *copy = NULL;
    struct random_state state;
    size_t size = 0;
    random_seed(&state, seed, 0);
    snprintf(path, sizeof path, "%s/final_model.pt", from);
    int status = file_read_all(&whole, &size, context, path, (size_t)1 << 26);
    if (status == SN_OK && !(copy = malloc(size + 1)))
        status = SN_ERROR_MEMORY;
    for (size_t i = 0; i < n && status == SN_OK; i++) {
        sn_model *model = NULL;
        memcpy(copy, whole, size);
        if (!write_file(to, "final_model.pt", copy, mutate(copy, size, &state)))
            status = SN_ERROR_IO;
        else
            *n_loaded += sn_model_load(&model, context, to) == SN_OK;
        sn_model_free(model);
    }
    free(copy);
    memory_free(context->memory, whole, size + 1);
    return status;
}

int main(int argc, char **argv)
{
    char to[] = "/dev/shm/sparsenet-mutate-XXXXXX", path[512], *config = NULL;
    size_t n_config = 0, n_loaded = 0;
    sn_context *context = NULL;
    if (argc < 3 || sn_context_create(&context, NULL) != SN_OK || !mkdtemp(to)) {
        fprintf(stderr, "usage: mutate_check MODEL_DIR N [SEED]\n");
        return 2;
    }
    const size_t n = (size_t)atol(argv[2]);
    snprintf(path, sizeof path, "%s/beeg_config.json", argv[1]);
    int status = file_read_all(&config, &n_config, context, path, (size_t)1 << 20);
    if (status == SN_OK && !write_file(to, "config.json", config, n_config))
        status = SN_ERROR_IO;
    if (status == SN_OK)
        status =
            load_mutants(&n_loaded, context, argv[1], to, n, argc > 3 ? (uint64_t)atol(argv[3]) : 1);
    if (status == SN_OK)
        printf("%s: %zu mutants, %zu loaded\n", argv[1], n, n_loaded);
    else
        fprintf(stderr, "%s: %s\n", argv[1], sn_context_message(context));
    if (config)
        memory_free(context->memory, config, n_config + 1);
    sn_context_free(context);
    snprintf(path, sizeof path, "%s/final_model.pt", to);
    unlink(path);
    snprintf(path, sizeof path, "%s/config.json", to);
    unlink(path);
    rmdir(to);
    return status != SN_OK;
}
