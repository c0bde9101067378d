/* Worlds: what calls.h says of them. The objects themselves are made in world_objects.c. */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calls.h"
#include "world_objects.h"

static const struct call_table *const tables[] = {
    &calls_base,    &calls_text,   &calls_model,  &calls_session, &calls_train,
    &calls_circuit, &calls_search, &calls_checks, &calls_report,
};

#define N_TABLES (sizeof tables / sizeof *tables)

size_t call_count(void)
{
    size_t n = 0;
    for (size_t i = 0; i < N_TABLES; i++)
        n += tables[i]->n;
    return n;
}

const struct call *call_at(size_t index)
{
    for (size_t i = 0; i < N_TABLES; index -= tables[i++]->n)
        if (index < tables[i]->n)
            return &tables[i]->calls[index];
    return NULL;
}

static const struct world_kind *kind_of(enum object object)
{
    return world_model_kinds[object].free ? &world_model_kinds[object] : &world_circuit_kinds[object];
}

/* -------------------------------------------------------------------- digests */

/* FNV-1a, eight bytes at a time. */
void mix(uint64_t *hash, const void *bytes, size_t size)
{
    const unsigned char *from = bytes;
    for (; size;) {
        uint64_t word = size;
        size_t n = size < sizeof word ? size : sizeof word;
        memcpy(&word, from, n);
        *hash = (*hash ^ word ^ (*hash >> 29)) * 0x100000001B3u;
        from += n;
        size -= n;
    }
}

void mix_text(uint64_t *hash, const char *text)
{
    mix(hash, text ? text : "\1NULL", (text ? strlen(text) : 5) + 1);
}

void mix_file(uint64_t *hash, const char *path)
{
    char bytes[4096];
    FILE *file = fopen(path, "rb");
    mix_text(hash, file ? "file" : NULL);
    for (size_t n; file && (n = fread(bytes, 1, sizeof bytes, file));)
        mix(hash, bytes, n);
    if (file)
        fclose(file);
}

static void mix_folder(uint64_t *hash, const char *folder)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort);
    ck_assert_int_ge(n, 0);
    for (int i = 0; i < n; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (entries[i]->d_type == DT_DIR && entries[i]->d_name[0] != '.')
            mix_folder(hash, path);
        if (entries[i]->d_type != DT_DIR) {
            mix_text(hash, entries[i]->d_name);
            mix_file(hash, path);
        }
        free(entries[i]);
    }
    free(entries);
}

static void empty_folder(const char *folder)
{
    DIR *directory = opendir(folder);
    ck_assert_ptr_nonnull(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (entry->d_type == DT_DIR) {
            empty_folder(path);
            (void)rmdir(path);
        } else {
            (void)unlink(path);
        }
    }
    closedir(directory);
}

/* -------------------------------------------------------------------- options */

static void set_option(struct world *w, sn_options *options, const char *key, const char *value)
{
    char *end;
    double number = strtod(value, &end);
    world_must(w, *end == '\0' && *value ? sn_options_set(options, w->context, key, number)
                                         : sn_options_set_text(options, w->context, key, value));
}

void world_options(struct world *w, const char *text)
{
    char copy[256], *state, *equals;
    sn_options *options;
    snprintf(copy, sizeof copy, "%s", text);
    world_must(w, sn_options_create(&options, w->context));
    for (char *word = strtok_r(copy, " ", &state); word; word = strtok_r(NULL, " ", &state)) {
        ck_assert_ptr_nonnull(equals = strchr(word, '='));
        *equals = '\0';
        set_option(w, options, word, equals + 1);
    }
    sn_options_free(w->objects[O_OPTIONS]);
    w->objects[O_OPTIONS] = options;
}

/* --------------------------------------------------------------------- worlds */

void world_must(struct world *w, int status)
{
    ck_assert_msg(status == SN_OK, "%s: %s", sn_status_string(status), sn_context_message(w->context));
}

void *world_object(struct world *w, enum object object)
{
    if (!w->objects[object])
        w->objects[object] = kind_of(object)->make(w);
    return w->objects[object];
}

void *world_made(struct world *w, enum object object)
{
    w->made_kind = object;
    w->made = w; /* so that what a failure leaves there shows */
    return &w->made;
}

const char *world_in_folder(struct world *w, const char *name)
{
    snprintf(w->path, sizeof w->path, "%s/%s", w->folder, name);
    return w->path;
}

sn_allocator (*world_allocator)(struct oom *oom) = oom_allocator;
size_t world_threads = 1;

void world_create(struct world *w, const struct call *call)
{
    memset(w, 0, sizeof *w);
    w->allocator = world_allocator(&w->oom);
    ck_assert_int_eq(sn_context_create(&w->context, &w->allocator), SN_OK);
    ck_assert_int_eq(sn_context_set_threads(w->context, world_threads), SN_OK);
    snprintf(w->folder, sizeof w->folder, "/tmp/sparsenet-call-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(w->folder));
    for (int i = 1; i < N_OBJECTS; i++)
        if ((call->needs | call->looks) & BIT(i) && i != O_OPTIONS)
            world_object(w, (enum object)i);
    if (call->options[0])
        world_options(w, call->options);
}

int world_run(struct world *w, const struct call *call)
{
    memset(&w->out, 0, sizeof w->out);
    w->out.evaluation.struct_size = sizeof w->out.evaluation;
    w->out.ablation.struct_size = sizeof w->out.ablation;
    w->out.patch.struct_size = sizeof w->out.patch;
    w->out.replacement.struct_size = sizeof w->out.replacement;
    w->out.controls.struct_size = sizeof w->out.controls;
    w->out.contribution.struct_size = sizeof w->out.contribution;
    w->out.summary.struct_size = sizeof w->out.summary;
    w->made_kind = NO_OBJECT;
    w->made = NULL;
    return call->run(w);
}

static void digest_object(struct world *w, enum object object, void *pointer)
{
    if (kind_of(object)->digest && pointer)
        kind_of(object)->digest(w, pointer);
}

uint64_t world_digest(struct world *w, const struct call *call)
{
    w->hash = 0xCBF29CE484222325u;
    mix(&w->hash, &w->out, sizeof w->out);
    if (call->flags & WRITES)
        mix_folder(&w->hash, w->folder);
    if (w->made_kind) {
        ck_assert_msg(w->made && w->made != w, "%s gave no object", call->symbol);
        digest_object(w, w->made_kind, w->made);
        kind_of(w->made_kind)->free(w->made);
        w->made = NULL;
    }
    for (int i = 1; i < N_OBJECTS; i++)
        if (call->looks & BIT(i))
            digest_object(w, (enum object)i, w->objects[i]);
    return w->hash;
}

void world_drop(struct world *w)
{
    if (w->made_kind && w->made && w->made != w)
        kind_of(w->made_kind)->free(w->made);
    w->made = NULL;
}

uint64_t world_state(struct world *w, const struct call *call)
{
    w->hash = 0xCBF29CE484222325u;
    for (int i = 1; i < N_OBJECTS; i++)
        if (call->looks & BIT(i) && kind_of((enum object)i)->digest_is_pure)
            digest_object(w, (enum object)i, w->objects[i]);
    return w->hash;
}

void world_free(struct world *w)
{
    for (int i = N_OBJECTS - 1; i > 0; i--)
        if (w->objects[i])
            kind_of((enum object)i)->free(w->objects[i]);
    empty_folder(w->folder);
    ck_assert_int_eq(rmdir(w->folder), 0);
    sn_context_free(w->context);
    ck_assert_uint_eq(atomic_load(&w->oom.live_blocks), 0);
    ck_assert_uint_eq(atomic_load(&w->oom.live_bytes), 0);
    ck_assert_uint_eq(atomic_load(&w->oom.n_wrong), 0);
}

int keep_text(struct world *w, const char *text)
{
    snprintf(w->out.bytes, sizeof w->out.bytes, "%s", text ? text : "NULL");
    return SN_OK;
}

int keep_bytes(struct world *w, const void *bytes, size_t size)
{
    if (bytes)
        memcpy(w->out.bytes, bytes, size < N_BYTES ? size : N_BYTES);
    return SN_OK;
}

/* ---------------------------------------------------------------- input files */

static char input_folder[] = "/tmp/sparsenet-input-XXXXXX";

const char *world_input(const char *name)
{
    static _Thread_local char paths[4][128];
    static _Thread_local size_t next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", input_folder, name);
    return path;
}

void worlds_prepare(void)
{
    memcpy(input_folder + sizeof input_folder - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(input_folder));
    world_write_inputs();
}

void worlds_remove(void)
{
    empty_folder(input_folder);
    ck_assert_int_eq(rmdir(input_folder), 0);
}
