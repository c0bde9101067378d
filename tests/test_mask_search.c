/* The search over settings of masks: early stopping, threads, going on from its file, circuits at many targets. */
#include "circuit/mask_search.h"
#include "oom.h"
#include "temporary.h"

#include "circuit_cases.h" /* last: its context would shadow theirs */

struct setting {
    sn_model *model;
    sn_means *means;
    sn_task *task;
    sn_options *options;
};

static struct setting open_setting(const char *method)
{
    struct setting s = {.model = planted_model(context, 1)};
    s.means = planted_means(context, s.model);
    s.task = planted_task(context, 12, 3);
    ok(sn_options_create(&s.options, context));
    ok(sn_options_set(s.options, context, "runs", 7));
    ok(sn_options_set(s.options, context, "steps", 30));
    ok(sn_options_set(s.options, context, "batch", 6));
    ok(sn_options_set_text(s.options, context, "method", method));
    return s;
}

static void close_setting(struct setting *s)
{
    sn_options_free(s->options);
    sn_task_free(s->task);
    sn_means_free(s->means);
    sn_model_free(s->model);
}

static sn_search *create(const struct setting *s)
{
    sn_search *search;
    ok(sn_search_create(&search, context, s->model, s->means, s->task, NULL, s->options));
    return search;
}

START_TEST(a_third_of_the_runs_goes_on)
{
    struct setting s = open_setting("nodes");
    sn_search *search = create(&s);
    sn_circuit *circuit;
    ck_assert_uint_eq(sn_search_run_count(search), 7);
    ck_assert_int_eq(sn_search_circuit(&circuit, search, 0.15, 1), SN_ERROR_STATE);
    ok(sn_search_run(search));
    size_t n_whole = 0, most = 0;
    double k_coef, rate, bias;
    for (size_t i = 0; i < 7; i++) {
        size_t n_edges;
        int whole;
        ok(sn_search_run_info(&k_coef, &rate, &bias, &n_edges, &whole, search, i));
        n_whole += (size_t)whole;
        most = whole && search->runs[i].short_edges > most ? search->runs[i].short_edges : most;
        ck_assert(n_edges > 0 && k_coef >= 1e-4 && k_coef <= 1e-2 && rate >= 0.01 && rate <= 0.03);
        ck_assert(i ? bias >= 0.02 && bias <= 0.3 : bias == 0.1 && k_coef == 1e-3);
    }
    ck_assert_uint_eq(n_whole, 3);
    for (size_t i = 0; i < 7; i++)
        ck_assert(search->runs[i].stage == RUN_WHOLE || search->runs[i].short_edges >= most);
    ck_assert_int_eq(sn_search_run_info(NULL, NULL, NULL, NULL, NULL, search, 7), SN_ERROR_ARGUMENT);
    sn_search_free(search);
    close_setting(&s);
}
END_TEST

START_TEST(one_search_serves_every_target)
{
    static const char *const methods[] = {"nodes", "edges"};
    for (int i = 0; i < 2; i++) {
        struct setting s = open_setting(methods[i]);
        sn_search *search = create(&s);
        ok(sn_search_run(search));
        static const double targets[] = {0.5, 0.15, 0.12};
        size_t before = 0;
        for (int t = 0; t < 3; t++) {
            sn_circuit *circuit;
            ok(sn_search_circuit(&circuit, search, targets[t], 1));
            ck_assert(evaluate(s.model, s.means, circuit, SN_ABLATE_REST, s.task).loss <= targets[t]);
            ck_assert_uint_ge(sn_circuit_edge_count(circuit), before);
            before = sn_circuit_edge_count(circuit);
            sn_circuit_free(circuit);
        }
        ck_assert_uint_ge(before, 2);
        sn_circuit *none;
        ck_assert_int_eq(sn_search_circuit(&none, search, 1e-9, 1), SN_ERROR_TARGET);
        ck_assert_int_eq(sn_search_circuit(&none, search, NAN, 1), SN_ERROR_ARGUMENT);
        ck_assert_ptr_null(none);
        sn_circuit *directly; /* the same by one call */
        ok(sn_circuit_extract(&directly, context, s.model, s.means, s.task, NULL, s.options));
        sn_circuit *searched;
        ok(sn_search_circuit(&searched, search, 0.15, 1));
        ck_assert_uint_eq(sn_circuit_edge_count(directly), sn_circuit_edge_count(searched));
        ck_assert_int_eq(memcmp(directly->kept, searched->kept, directly->layout.n_nodes), 0);
        sn_circuit_free(directly);
        sn_circuit_free(searched);
        sn_search_free(search);
        close_setting(&s);
    }
}
END_TEST

static void assert_same_runs(const sn_search *a, const sn_search *b)
{
    for (size_t i = 0; i < a->n_runs; i++)
        ck_assert_msg(a->runs[i].stage == b->runs[i].stage && a->runs[i].n_edges == b->runs[i].n_edges,
                      "run %zu", i);
    ck_assert_int_eq(memcmp(a->taus, b->taus, a->n_runs * a->n_masks * sizeof *a->taus), 0);
}

START_TEST(threads_do_not_change_the_search)
{
    struct setting s = open_setting("nodes");
    sn_search *one = create(&s), *three = create(&s);
    ok(sn_search_run(one));
    ok(sn_context_set_threads(context, 3));
    ok(sn_search_run(three));
    assert_same_runs(one, three);
    sn_search_free(one);
    sn_search_free(three);
    close_setting(&s);
}
END_TEST

static int stop_after(const char *stage, size_t done, size_t total, double value, void *payload)
{
    (void)total, (void)value;
    return strcmp(stage, "search") == 0 && done >= *(size_t *)payload;
}

START_TEST(a_search_goes_on_from_its_file)
{
    struct setting s = open_setting("nodes");
    struct temporary folder;
    temporary_create(&folder);
    const char *path = temporary_path(&folder, "search.safetensors");
    sn_search *whole = create(&s);
    ok(sn_search_run(whole));
    for (size_t stop = 1; stop < 10; stop += 4) {
        sn_search *first = create(&s), *second = create(&s);
        ok(sn_search_set_file(first, path));
        sn_context_set_progress(context, stop_after, &stop);
        ck_assert_int_eq(sn_search_run(first), SN_ERROR_CANCELLED);
        sn_context_set_progress(context, NULL, NULL);
        ok(sn_search_set_file(second, path));
        size_t runs = 0;
        for (size_t i = 0; i < 7; i++)
            runs += second->runs[i].stage > RUN_NOT;
        ck_assert(runs > 0);
        ok(sn_search_run(second));
        assert_same_runs(whole, second);
        ok(sn_search_run(first)); /* after a cancel */
        assert_same_runs(whole, first);
        sn_search_free(first);
        sn_search_free(second);
        ck_assert_int_eq(remove(path), 0);
    }
    sn_search_free(whole);
    temporary_remove(&folder);
    close_setting(&s);
}
END_TEST

/* Before any run: nothing that has been learned is lost for want of a place. */
START_TEST(a_file_that_cannot_be_written_is_refused_at_once)
{
    struct setting s = open_setting("nodes");
    struct temporary folder;
    temporary_create(&folder);
    sn_search *search = create(&s);
    const char *nowhere = temporary_path(&folder, "no/search.safetensors");
    ck_assert_int_eq(sn_search_set_file(search, nowhere), SN_ERROR_IO);
    ck_assert_msg(strstr(sn_context_message(context), "no/search.safetensors") != NULL, "%s",
                  sn_context_message(context));
    ck_assert_int_eq(sn_search_set_file(search, ""), SN_ERROR_IO);
    ok(sn_search_run(search)); /* without a file */
    const char *path = temporary_path(&folder, "late.safetensors");
    ok(sn_search_set_file(search, path));
    sn_search *other = create(&s);
    ok(sn_search_set_file(other, path)); /* has it all already */
    assert_same_runs(search, other);
    sn_search_free(other);
    sn_search_free(search);
    temporary_remove(&folder);
    close_setting(&s);
}
END_TEST

static void assert_refused(sn_search *search, const char *path, const char *part)
{
    ck_assert_int_eq(sn_search_set_file(search, path), SN_ERROR_FORMAT);
    ck_assert_msg(strstr(sn_context_message(context), path) && strstr(sn_context_message(context), part),
                  "%s", sn_context_message(context));
}

START_TEST(a_flipped_bit_is_found)
{
    struct setting s = open_setting("nodes");
    struct temporary folder;
    size_t size;
    temporary_create(&folder);
    const char *path = temporary_path(&folder, "search.safetensors");
    sn_search *search = create(&s), *other = create(&s);
    ok(sn_search_set_file(search, path));
    ok(sn_search_run(search));
    unsigned char *bytes = temporary_read(path, &size);
    ck_assert_uint_gt(size, 1000);
    for (size_t at = 0; at < size; at += at < 600 ? 1 : 97) { /* all of the header */
        bytes[at] ^= 1u << at % 8;
        temporary_write(&folder, "search.safetensors", bytes, size);
        /* a space behind the header may become another white space */
        if (bytes[at] != '\n' && bytes[at] != '\t' && bytes[at] != '\r')
            assert_refused(other, path, "");
        bytes[at] ^= 1u << at % 8;
    }
    bytes[size - 4] ^= 1; /* the least of the last mask */
    temporary_write(&folder, "search.safetensors", bytes, size);
    assert_refused(other, path, "checksum");
    free(bytes);
    sn_search_free(search);
    sn_search_free(other);
    temporary_remove(&folder);
    close_setting(&s);
}
END_TEST

START_TEST(files_of_others_are_refused)
{
    struct setting s = open_setting("nodes");
    struct temporary folder;
    temporary_create(&folder);
    const char *path = temporary_path(&folder, "search.safetensors");
    sn_search *search = create(&s);
    ok(sn_search_set_file(search, path));
    ok(sn_search_run(search));
    static const struct {
        const char *key;
        double value, own;
    } others[] = {
        {"steps", 31, 30}, {"seed", 17592186044416, 0}, {"learning_rate", 0.01000000001, 0.01}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ok(sn_options_set(s.options, context, others[i].key, others[i].value));
        sn_search *another = create(&s);
        assert_refused(another, path, "settings");
        sn_search_free(another);
        ok(sn_options_set(s.options, context, others[i].key, others[i].own));
    }
    const float first = s.means->values[0];
    s.means->values[0] += 1;
    sn_search *other = create(&s);
    assert_refused(other, path, "means");
    s.means->values[0] = first;
    ok(sn_search_set_file(other, path));
    search->runs[2].stage = (enum run_stage)9;
    ok(search_save(search, path));
    assert_refused(other, path, "\"runs\"");
    search->runs[2].stage = RUN_SHORT;
    search->taus[5] = NAN;
    ok(search_save(search, path));
    assert_refused(other, path, "\"tau\" holds");
    sn_tensors *tensors;
    const size_t shape = 3;
    const float values[3] = {1, 2, 3};
    ok(sn_tensors_create(&tensors, context));
    ok(sn_tensors_add(tensors, context, "checksums", &shape, 1, values));
    ok(sn_tensors_save(tensors, context, path));
    assert_refused(other, path, "\"checksums\"");
    sn_tensors_free(tensors);
    sn_options *options;
    sn_search *none;
    ok(sn_options_create(&options, context));
    ok(sn_options_set_text(options, context, "scores", "attribution"));
    ck_assert_int_eq(sn_search_create(&none, context, s.model, s.means, s.task, NULL, options),
                     SN_ERROR_ARGUMENT);
    ck_assert_ptr_null(none);
    ok(sn_options_set_text(options, context, "scores", "learned"));
    ok(sn_options_set(options, context, "target_loss", 1e-6));
    ck_assert_int_eq(sn_search_create(&none, context, s.model, s.means, s.task, NULL, options),
                     SN_ERROR_TARGET);
    sn_options_free(options);
    sn_search_free(search);
    sn_search_free(other);
    temporary_remove(&folder);
    close_setting(&s);
}
END_TEST

static int search_once(sn_context *own, void *payload)
{
    struct setting *s = payload;
    sn_options *options = NULL;
    sn_search *search = NULL;
    sn_circuit *circuit = NULL;
    int status = sn_options_create(&options, own);
    if (status == SN_OK)
        status = sn_options_set(options, own, "runs", 2);
    if (status == SN_OK)
        status = sn_options_set(options, own, "steps", 2);
    if (status == SN_OK)
        status = sn_search_create(&search, own, s->model, s->means, s->task, NULL, options);
    if (status == SN_OK)
        status = sn_search_run(search);
    if (status == SN_OK)
        status = sn_search_circuit(&circuit, search, 0.4, 1);
    sn_circuit_free(circuit);
    sn_search_free(search);
    sn_options_free(options);
    return status;
}

START_TEST(every_refused_allocation_is_survived)
{
    struct setting s = open_setting("nodes");
    ck_assert_uint_gt(oom_loop(search_once, &s, 1, 30), 50);
    close_setting(&s);
}
END_TEST

Suite *mask_search_suite(void);
Suite *mask_search_suite(void)
{
    const TTest *runs[] = {a_third_of_the_runs_goes_on, one_search_serves_every_target};
    const TTest *files[] = {a_search_goes_on_from_its_file,
                            a_file_that_cannot_be_written_is_refused_at_once, a_flipped_bit_is_found,
                            files_of_others_are_refused, every_refused_allocation_is_survived};
    const TTest *threads[] = {threads_do_not_change_the_search}; /* what ThreadSanitizer looks at */
    Suite *suite = suite_create("mask_search");
    add_cases(suite, "runs", runs, sizeof runs / sizeof *runs);
    add_cases(suite, "files", files, sizeof files / sizeof *files);
    add_cases(suite, "threads", threads, sizeof threads / sizeof *threads);
    return suite;
}
