/* Lists for bracket counting. What closes the list must follow from counting brackets, not from
 * meeting one: both depths occur with and without closed sublists before, with the same number of
 * opening or of closing brackets, with either kind of bracket last, and with equal last elements. */
#include "python/expand.h"

enum list_shape {
    /* A [e, [e, [e], e      a comma of A is a closing bracket in B: as many opened, other many closed
     * B [e, [e], [e], e */
    SHAPE_CLOSE_EARLIER,
    /* A [e, [e, [e], e      an opening bracket of A is missing in B: as many closed, other many opened
     * B [e, e, [e], e */
    SHAPE_OPEN_EARLIER,
    /* A [[e], e, [e, e      as many opened; the last bracket opens in A and closes in B
     * B [[e], [e], e, e */
    SHAPE_OPEN_LAST
};

struct list_plan {
    int names; /* elements are identifiers, not numbers */
    enum list_shape shape;
    size_t n_head, n_before, n_inner, n_after, n_tail;
};

static void plan_list(struct list_plan *plan, struct writer *writer, int may_start_nested)
{
    struct random_state *random = &writer->random;
    double shape = random_uniform(random);
    plan->names = writer_chance(writer, 0.35);
    plan->shape = shape < 0.4 ? SHAPE_CLOSE_EARLIER : shape < 0.8 ? SHAPE_OPEN_EARLIER : SHAPE_OPEN_LAST;
    plan->n_head = may_start_nested && writer_chance(writer, 0.2) ? 0 : 1 + random_below(random, 2);
    plan->n_before = random_below(random, 3);
    plan->n_inner = 1 + random_below(random, 2);
    plan->n_after = random_below(random, 3);
    plan->n_tail = 2 + random_below(random, 2);
    if (plan->shape == SHAPE_CLOSE_EARLIER && plan->n_after == 0)
        plan->n_after = 1; /* else the missing closer could stand last */
    if (plan->shape == SHAPE_OPEN_LAST && plan->n_before == 0)
        plan->n_before = 1; /* else only B would hold a closed list */
}

static void write_elements(struct writer *writer, const struct list_plan *plan, size_t n)
{
    char name[NAME_CAPACITY];
    for (size_t i = 0; i < n; i++) {
        buffer_text(writer->out, i ? ", " : "");
        if (plan->names) {
            writer_name(name, writer);
            buffer_text(writer->out, name);
        } else
            number_append(writer->out, &writer->random);
    }
}

static void write_closed_sublists(struct writer *writer, const struct list_plan *plan, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buffer_text(writer->out, "[");
        write_elements(writer, plan, 1 + random_below(&writer->random, 2));
        buffer_text(writer->out, "], ");
    }
}

static int write_planned(struct writer *writer, int side, int may_start_nested)
{
    struct list_plan plan;
    int a = side == SIDE_A;
    plan_list(&plan, writer, may_start_nested);
    buffer_text(writer->out, "[");
    write_elements(writer, &plan, plan.n_head);
    buffer_text(writer->out, plan.n_head ? ", " : "");
    write_closed_sublists(writer, &plan, plan.n_before);
    switch (plan.shape) {
    case SHAPE_CLOSE_EARLIER:
        buffer_text(writer->out, "[");
        write_elements(writer, &plan, plan.n_inner);
        buffer_text(writer->out, a ? ", " : "], ");
        write_closed_sublists(writer, &plan, plan.n_after);
        break;
    case SHAPE_OPEN_EARLIER:
        buffer_text(writer->out, a ? "[" : "");
        write_elements(writer, &plan, plan.n_inner);
        buffer_text(writer->out, ", ");
        write_closed_sublists(writer, &plan, plan.n_after);
        break;
    case SHAPE_OPEN_LAST:
        buffer_text(writer->out, a ? "" : "[");
        write_elements(writer, &plan, plan.n_inner);
        buffer_text(writer->out, a ? ", [" : "], ");
        break;
    }
    write_elements(writer, &plan, plan.n_tail);
    return a ? 2 : 1;
}

int write_open_list(struct writer *writer, int side)
{
    return write_planned(writer, side, 0);
}

static void write_matrix(struct writer *writer)
{
    struct list_plan plan = {.names = writer_chance(writer, 0.4)};
    size_t n_rows = 2 + random_below(&writer->random, 2), n_cols = 1 + random_below(&writer->random, 3);
    buffer_text(writer->out, "[");
    for (size_t i = 0; i < n_rows; i++) {
        buffer_text(writer->out, i ? ", [" : "[");
        write_elements(writer, &plan, n_cols);
        buffer_text(writer->out, "]");
    }
    buffer_text(writer->out, "]");
}

static void write_flat(struct writer *writer)
{
    struct list_plan plan = {.names = writer_chance(writer, 0.4)};
    buffer_text(writer->out, "[");
    write_elements(writer, &plan, 2 + random_below(&writer->random, 7));
    buffer_text(writer->out, "]");
}

void write_list(struct writer *writer)
{
    double form = random_uniform(&writer->random);
    if (form < 0.15)
        write_matrix(writer);
    else if (form < 0.3)
        write_flat(writer);
    else {
        int depth = write_planned(writer, writer_chance(writer, 0.5) ? SIDE_A : SIDE_B, 1);
        buffer_text(writer->out, depth == 2 ? "]]" : "]");
    }
}
