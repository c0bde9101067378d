/* A task: pairs of prompts with two targets each (paper 2.3, A.3). */
#ifndef SN_CIRCUIT_TASK_H
#define SN_CIRCUIT_TASK_H

#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "sparsenet.h"

/* Bytes of one line of a file of pairs: a bound for what nobody vouches for. */
#define TASK_LONGEST_LINE ((size_t)1 << 20)

struct task_pair {
    size_t start;               /* of prompt A in the task's tokens; prompt B follows it */
    size_t n_a, n_b;            /* tokens of the prompts, each > 0 */
    int32_t target_a, target_b; /* the right next tokens, different ones */
};

struct sn_task {
    struct memory *memory;
    char *name;
    int32_t *tokens; /* the prompts of all pairs, end to end */
    size_t n_tokens, token_capacity;
    struct task_pair *pairs;
    size_t n_pairs, pair_capacity;
};

static inline const int32_t *task_prompt_a(const struct sn_task *task, size_t index)
{
    return task->tokens + task->pairs[index].start;
}

static inline const int32_t *task_prompt_b(const struct sn_task *task, size_t index)
{
    return task->tokens + task->pairs[index].start + task->pairs[index].n_a;
}

#endif
