#include "checks.h"

#define TEXT_BYTES 400000 /* of idioms, and of real source */

/* Text of the kind that the model learnt from; none of it was trained on. */
static sn_corpus *held_out(sn_context *context, const struct texts *texts)
{
    sn_corpus *mixed;
    const sn_corpus *const parts[] = {texts->held_out_idioms, texts->held_out_real};
    check(context, sn_corpus_create(&mixed, context));
    for (size_t p = 0; p < 2; p++)
        for (size_t i = 0, total = 0, n; total < TEXT_BYTES && i < sn_corpus_count(parts[p]); i++) {
            const char *text = sn_corpus_text(&n, parts[p], i);
            check(context, sn_corpus_add_text(mixed, context, text, n));
            total += n;
        }
    check(context, sn_corpus_tokenize(mixed, context, texts->tokenizer));
    return mixed;
}

void subject_open(struct subject *subject, sn_context *context, const struct setup *setup,
                  const struct texts *texts, sn_model *model, size_t task, size_t n_pairs)
{
    *subject = (struct subject){.context = context, .model = model};
    subject->prune = texts_task(texts, context, task, "prune", n_pairs, 100);
    subject->develop = texts_task(texts, context, task, "develop", n_pairs, 200);
    subject->fresh = texts_fresh_task(texts, setup, context, task);
    subject->text = held_out(context, texts);
    check(context, sn_means_create(&subject->means, context, model, subject->text, NULL));
}

void subject_close(struct subject *subject)
{
    sn_task_free(subject->prune);
    sn_task_free(subject->develop);
    sn_task_free(subject->fresh);
    sn_means_free(subject->means);
    sn_corpus_free(subject->text);
}

static sn_evaluation evaluate(const struct subject *subject, const sn_circuit *circuit, int ablate)
{
    sn_evaluation result = {.struct_size = sizeof result};
    check(subject->context, sn_evaluate(&result, subject->context, subject->model, subject->means,
                                        circuit, ablate, subject->prune, subject->fresh));
    return result;
}

static void take(struct row *row, const sn_evaluation *fresh)
{
    row->loss = fresh->loss;
    row->raw_loss = fresh->raw_loss;
    row->accuracy = fresh->raw_accuracy;
}

void checks_model(struct row *row, const struct subject *subject)
{
    const sn_evaluation whole = evaluate(subject, NULL, SN_ABLATE_NOTHING);
    take(row, &whole);
}

void checks_circuit(struct row *row, const struct subject *subject, const sn_circuit *circuit)
{
    sn_circuit *random;
    const sn_evaluation kept = evaluate(subject, circuit, SN_ABLATE_REST);
    take(row, &kept);
    row->nodes = sn_circuit_node_count(circuit);
    row->edges = sn_circuit_edge_count(circuit);
    row->necessity = evaluate(subject, circuit, SN_ABLATE_CIRCUIT).loss;
    check(subject->context, sn_circuit_create_random(&random, subject->context, circuit, 1));
    row->random_necessity = evaluate(subject, random, SN_ABLATE_CIRCUIT).loss;
    sn_circuit_free(random);
}

void checks_validate(struct row *row, const struct subject *subject, const sn_circuit *circuit)
{
    sn_context *context = subject->context;
    sn_evaluation two_valued = {.struct_size = sizeof two_valued};
    sn_ablation_result resampled = {.struct_size = sizeof resampled};
    sn_binarised *binarised;
    sn_ablation *ablation;
    sn_options *how = options(context);
    check(context,
          sn_binarised_create(&binarised, context, circuit, subject->means, subject->prune, NULL));
    check(context, sn_binarised_evaluate(&two_valued, context, binarised, subject->means, subject->prune,
                                         subject->fresh));
    row->binarised = two_valued.raw_loss;
    sn_binarised_free(binarised);
    set_text(context, how, "kind", "resample");
    check(context,
          sn_ablation_create(&ablation, context, subject->model, subject->means, subject->text, how));
    check(context, sn_evaluate_ablation(&resampled, NULL, 0, NULL, context, subject->model, ablation,
                                        circuit, SN_ABLATE_REST, subject->prune, subject->fresh));
    row->resampled = resampled.raw_loss;
    sn_ablation_free(ablation);
    sn_options_free(how);
}
