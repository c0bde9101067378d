/* The files that calls read, written once. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "world_objects.h"

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static void write_tokenizer(struct world *w)
{
    sn_corpus *idioms;
    sn_tokenizer *tokenizer;
    sn_options *options;
    world_must(w, sn_corpus_create(&idioms, w->context));
    world_must(w, sn_python_add_idioms(idioms, w->context, 40000, NULL));
    world_must(w, sn_options_create(&options, w->context));
    world_must(w, sn_options_set_text(options, w->context, "required", sn_python_required_tokens()));
    world_must(w, sn_tokenizer_train(&tokenizer, w->context, idioms, 512, options));
    world_must(w, sn_tokenizer_save(tokenizer, w->context, world_input("tokenizer")));
    sn_tokenizer_free(tokenizer);
    sn_options_free(options);
    sn_corpus_free(idioms);
}

static void write_texts(void)
{
    ck_assert_int_eq(mkdir(world_input("texts"), 0700), 0);
    write_text(world_input("texts/a.py"), "a = 1\n");
    write_text(world_input("texts/b.py"), "while b:\n    b = a\n");
    ck_assert_int_eq(mkdir(world_input("texts/more"), 0700), 0);
    write_text(world_input("texts/more/c.py"), world_source);
    write_text(world_input("tokens"), "\1"); /* and the NULs behind it */
    ck_assert_int_eq(truncate(world_input("tokens"), 64), 0);
}

void world_write_inputs(void)
{
    const struct call none = {.symbol = "inputs", .options = ""};
    struct world world, *w = &world;
    world_create(w, &none);
    write_tokenizer(w);
    write_texts();
    world_must(w, sn_model_save(THE(sn_model, O_MODEL), w->context, world_input("model")));
    world_must(w, sn_model_export(THE(sn_model, O_MODEL), w->context, world_input("dense")));
    world_must(w, sn_tensors_save(THE(sn_tensors, O_TENSORS), w->context, world_input("tensors")));
    world_must(w, sn_trainer_save(THE(sn_trainer, O_TRAINER), world_input("trainer")));
    world_must(w, sn_task_save_jsonl(THE(sn_task, O_TASK), w->context, NULL, world_input("task.jsonl")));
    world_must(w, sn_report_write_json(w->context, THE(sn_circuit, O_CIRCUIT), world_input("circuit")));
    world_free(w);
}
