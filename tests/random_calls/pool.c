/* The objects of random calls: two worlds (calls.h), what the calls made, and what is lent to whom. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file_faults.h"
#include "play.h"
#include "world_objects.h"

struct play play;

/* Put into a context before a call, so that a failure without a message of its own shows. */
#define SENTINEL "n_threads is 999; it must be 1 .. 256"

static void leave_sentinel(sn_context *context)
{
    (void)sn_context_set_threads(context, 999);
}

/* ----------------------------------------------------------------- freeing */

#define FREE(type)                                                                                      \
    static void free_##type(void *object)                                                               \
    {                                                                                                   \
        sn_##type##_free(object);                                                                       \
    }
FREE(context)
FREE(options)
FREE(tokenizer)
FREE(corpus)
FREE(tensors)
FREE(matrix)
FREE(model)
FREE(session)
FREE(generator)
FREE(task)
FREE(trainer)
FREE(means)
FREE(ablation)
FREE(search)
FREE(circuit)
FREE(evidence)
FREE(contributions)
FREE(binarised)
FREE(shared)
FREE(plot)

/* How each kind ends, which of a world's objects stands for it where one is only read, and which of
 * them (made anew) are there to be changed. */
static const struct {
    void (*free)(void *);
    enum object kept;
    enum object made[4];
} kinds[N_KINDS] = {
    [K_CONTEXT] = {free_context, NO_OBJECT, {O_CONTEXT}},
    [K_OPTIONS] = {free_options, NO_OBJECT, {O_OPTIONS}},
    [K_TOKENIZER] = {free_tokenizer, O_TOKENIZER, {O_TOKENIZER}},
    [K_CORPUS] = {free_corpus, O_TOKENS, {O_TEXTS, O_RAW, O_TOKENS, O_SOURCE}},
    [K_TENSORS] = {free_tensors, O_TENSORS, {O_TENSORS}},
    [K_MATRIX] = {free_matrix, O_MATRIX, {O_MATRIX}},
    [K_MODEL] = {free_model, O_MODEL, {O_MODEL}},
    [K_SESSION] = {free_session, NO_OBJECT, {O_SESSION, O_RUN, O_BACK}},
    [K_GENERATOR] = {free_generator, NO_OBJECT, {O_GENERATOR}},
    [K_TASK] = {free_task, O_TASK, {O_TASK, O_NEW_TASK}},
    [K_TRAINER] = {free_trainer, NO_OBJECT, {O_TRAINER, O_GROWER}},
    [K_MEANS] = {free_means, O_MEANS, {O_MEANS}},
    [K_ABLATION] = {free_ablation, O_ABLATION, {O_ABLATION}},
    [K_SEARCH] = {free_search, NO_OBJECT, {O_SEARCH, O_FOUND}},
    [K_CIRCUIT] = {free_circuit, O_CIRCUIT, {O_CIRCUIT, O_OTHER}},
    [K_EVIDENCE] = {free_evidence, O_EVIDENCE, {O_EVIDENCE}},
    [K_CONTRIBUTIONS] = {free_contributions, O_CONTRIBUTIONS, {O_CONTRIBUTIONS}},
    [K_BINARISED] = {free_binarised, O_BINARISED, {O_BINARISED}},
    [K_SHARED] = {free_shared, O_SHARED, {O_SHARED}},
    [K_PLOT] = {free_plot, O_PLOT, {O_PLOT}},
};

static int belongs_to_model(enum kind kind)
{
    return kind == K_MODEL || kind == K_SESSION || kind == K_GENERATOR || kind == K_TRAINER ||
           kind == K_MEANS || kind == K_ABLATION || kind == K_SEARCH || kind == K_CIRCUIT ||
           kind == K_BINARISED;
}

/* ------------------------------------------------------------------- the pool */

/* Those to whom it was lent may only be freed from now on. */
static void let_go(const void *object)
{
    static const enum kind borrowers[] = {K_TRAINER, K_SEARCH};
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < play.n_items[borrowers[b]]; i++) {
            struct item *item = &play.items[borrowers[b]][i];
            for (size_t l = 0; l < item->n_lent; l++)
                item->dead |= item->lent[l] == object;
        }
}

static int is_lent(const void *object)
{
    static const enum kind borrowers[] = {K_TRAINER, K_SEARCH};
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < play.n_items[borrowers[b]]; i++)
            for (size_t l = 0; l < play.items[borrowers[b]][i].n_lent; l++)
                if (play.items[borrowers[b]][i].lent[l] == object)
                    return 1;
    return 0;
}

/* A context's message cannot be asked for any more. */
static void forget_context(const sn_context *context)
{
    for (size_t kind = 0; kind < N_KINDS; kind++)
        for (size_t i = 0; i < play.n_items[kind]; i++)
            if (play.items[kind][i].context == context)
                play.items[kind][i].context = NULL;
    if (play.context == context)
        play.context = NULL;
}

static void *remove_item(enum kind kind, size_t index)
{
    void *object = play.items[kind][index].object;
    play.items[kind][index] = play.items[kind][--play.n_items[kind]];
    let_go(object);
    if (kind == K_CONTEXT)
        forget_context(object);
    return object;
}

static struct item *add(enum kind kind, void *object)
{
    while (play.n_items[kind] == MOST_ITEMS) { /* one that this call was not given */
        const size_t i = draw(MOST_ITEMS);
        if (!play.items[kind][i].kept && play.items[kind][i].call != play.call)
            kinds[kind].free(remove_item(kind, i));
    }
    struct item *item = &play.items[kind][play.n_items[kind]++];
    *item =
        (struct item){.object = object, .call = play.call, .model = play.tag, .context = play.context};
    if (kind == K_MODEL)
        item->model = object;
    if (kind == K_CIRCUIT)
        item->model = sn_circuit_model(object);
    if (!belongs_to_model(kind))
        item->model = NULL;
    return item;
}

/* ----------------------------------------------------------------- the worlds */

/* The world's own calls are to succeed. */
static void quiet(struct world *world)
{
    atomic_store(&world->oom.fail_at, 0);
    file_faults_disarm();
    sn_context_set_progress(world->context, NULL, NULL);
    ck_assert_int_eq(sn_context_set_memory_limit(world->context, 0), SN_OK);
}

/* The world's own object of this kind, as an item. */
static struct item *keep(enum kind kind)
{
    struct world *world = &play.worlds[play.world];
    if (!kinds[kind].kept)
        return NULL;
    void *object = world->objects[kinds[kind].kept];
    if (!object) {
        quiet(world);
        object = world_object(world, kinds[kind].kept);
    }
    for (size_t i = 0; i < play.n_items[kind]; i++)
        if (play.items[kind][i].object == object)
            return &play.items[kind][i];
    struct item *item = add(kind, object);
    item->kept = 1;
    item->context = world->context;
    if (belongs_to_model(kind))
        item->model = world->objects[O_MODEL];
    return item;
}

static void *make_object(struct world *world, enum object object)
{
    void *own = world->objects[object];
    world->objects[object] = NULL;
    if (object == O_OPTIONS)
        world_options(world, "");
    void *made = world_object(world, object);
    world->objects[object] = own;
    return made;
}

/* A new one, made as the world makes it. */
static struct item *make(enum kind kind)
{
    struct world *world = &play.worlds[play.world];
    size_t n = 0;
    while (n < 4 && kinds[kind].made[n])
        n++;
    quiet(world);
    void *made = make_object(world, kinds[kind].made[draw(n)]);
    struct item *item = add(kind, made);
    item->context = kind == K_CONTEXT ? made : world->context;
    if (belongs_to_model(kind) && kind != K_MODEL)
        item->model = kind == K_CIRCUIT ? sn_circuit_model(made) : world->objects[O_MODEL];
    return item;
}

void play_open(void)
{
    static const struct call none = {.symbol = "random", .options = ""};
    for (play.world = 0; play.world < N_WORLDS; play.world++) {
        world_create(&play.worlds[play.world], &none);
        keep(K_MODEL);
        struct item *item = add(K_CONTEXT, play.worlds[play.world].context);
        item->context = item->object;
        item->kept = 1;
    }
    play.world = 0;
}

void play_close(void)
{
    size_t left = 0;
    for (size_t kind = 0; kind < N_KINDS; kind++)
        left += play.n_items[kind];
    while (left) { /* any of them, whatever its kind */
        size_t n = draw(left), kind = 0;
        while (n >= play.n_items[kind])
            n -= play.n_items[kind++];
        const int kept = play.items[kind][n].kept;
        void *object = remove_item((enum kind)kind, n);
        if (!kept)
            kinds[kind].free(object);
        left--;
    }
    for (size_t w = 0; w < N_WORLDS; w++) {
        quiet(&play.worlds[w]);
        world_free(&play.worlds[w]); /* asserts that nothing is left */
    }
}

/* -------------------------------------------------------------------- choosing */

static int may_be(const struct item *item, enum kind kind, enum use use)
{
    if (use == USE_FREE)
        return !item->kept;
    if (item->dead || (use == USE_CHANGE && item->kept))
        return 0;
    if (use == USE_CHANGE && kind == K_TASK && is_lent(item->object))
        return 0;
    return !play.polite || !belongs_to_model(kind) || item->model == play.model;
}

static struct item *choose(enum kind kind, enum use use)
{
    struct item *found[MOST_ITEMS];
    size_t n = 0;
    for (size_t i = 0; i < play.n_items[kind]; i++)
        if (may_be(&play.items[kind][i], kind, use))
            found[n++] = &play.items[kind][i];
    return n ? found[draw(n)] : NULL;
}

/* Of politeness: what is read is the world's own as often as not, as all of that fits together. */
static struct item *find(enum kind kind, enum use use)
{
    struct item *item = NULL;
    if (use == USE_READ && play.polite && play.model == play.worlds[play.world].objects[O_MODEL] &&
        chance(60))
        item = keep(kind);
    if (!item && use == USE_CHANGE && chance(2))
        item = make(kind);
    if (!item)
        item = choose(kind, use);
    if (!item && use == USE_READ)
        item = keep(kind);
    return item ? item : make(kind);
}

void *play_pick(enum kind kind, enum use use)
{
    struct item *item = odd() ? NULL : find(kind, use);
    if (!item)
        return NULL;
    if (belongs_to_model(kind))
        play.tag = item->model;
    item->call = play.call;
    if (use == USE_CHANGE)
        play.changed = item->object;
    if (kind == K_CONTEXT && play.polite)
        (void)sn_context_set_memory_limit(item->object, 0);
    const int has_context =
        kind == K_SESSION || kind == K_GENERATOR || kind == K_TRAINER || kind == K_SEARCH;
    if (kind == K_CONTEXT || (has_context && use == USE_CHANGE)) /* what only reads keeps no message */
        play.context = kind == K_CONTEXT ? item->object : item->context;
    if (play.context)
        leave_sentinel(play.context);
    return item->object;
}

const void *play_own(enum object object, enum kind kind)
{
    struct world *world = &play.worlds[play.world];
    if (!play.polite || chance(25))
        return play_pick(kind, USE_READ);
    if (!world->objects[object]) {
        quiet(world);
        world_object(world, object);
    }
    return world->objects[object];
}

void *play_take(enum kind kind)
{
    struct item *item = odd() ? NULL : find(kind, USE_FREE);
    return item ? remove_item(kind, (size_t)(item - play.items[kind])) : NULL;
}

const void *play_lend(const void *object)
{
    if (object && play.n_lending < MOST_LENT)
        play.lending[play.n_lending++] = (void *)(uintptr_t)object;
    return object;
}

/* ---------------------------------------------------------------- around a call */

#define MOST_SLOTS 2
static struct {
    enum kind kind;
    void *object;
} slots[MOST_SLOTS];
static size_t n_slots;

void *play_slot(enum kind kind)
{
    if (odd())
        return NULL;
    slots[n_slots].kind = kind;
    slots[n_slots].object = &play; /* so that what a failure leaves there shows */
    return &slots[n_slots++].object;
}

void play_begin_call(void)
{
    play.context = NULL;
    play.tag = NULL;
    play.changed = NULL;
    play.n_lending = 0;
    n_slots = 0;
    play.model = play.worlds[play.world].objects[O_MODEL];
    if (chance(25)) {
        const struct item *item = &play.items[K_MODEL][draw(play.n_items[K_MODEL])];
        play.model = item->object;
    }
}

/* Everything lent by a call to the object that it changed, whether it took it or not. */
static void note_lent(void)
{
    struct item *item = NULL;
    for (size_t i = 0; i < play.n_items[K_TRAINER]; i++)
        if (play.items[K_TRAINER][i].object == play.changed)
            item = &play.items[K_TRAINER][i];
    for (size_t i = 0; item && i < play.n_lending; i++) {
        if (item->n_lent == MOST_LENT)
            item->dead = 1; /* can no longer be told */
        else
            item->lent[item->n_lent++] = play.lending[i];
    }
}

static void check_slots(int status)
{
    for (size_t i = 0; i < n_slots; i++) {
        if (status == SN_OK && !slots[i].object)
            play_wrong("it succeeds and gives no object");
        if (status != SN_OK && slots[i].object)
            play_wrong("it fails and leaves something where the object goes");
        if (status == SN_OK && slots[i].object == &play)
            play_wrong("it succeeds and leaves the place of the object as it was");
        if (status == SN_OK) {
            struct item *item = add(slots[i].kind, slots[i].object);
            memcpy(item->lent, play.lending, sizeof item->lent);
            item->n_lent = play.n_lending;
            item->context = slots[i].kind == K_CONTEXT ? item->object : play.context;
        }
    }
}

void play_end_call(int status)
{
    if (status < NO_ANSWER || status > SN_ERROR_TARGET)
        play_wrong("it gives a status that there is not");
    if (status > SN_OK && play.context) {
        const char *message = sn_context_message(play.context);
        if (strcmp(message, SENTINEL) == 0 || !message[0])
            play_wrong("it fails without a message");
    }
    note_lent();
    check_slots(status);
    play.call++;
    sn_options_free(play.options);
    play.options = NULL;
    release_arguments();
}
