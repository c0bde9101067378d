#include "report/node_parts.h"

#include <stdlib.h>
#include <string.h>

static int ends_in(const char *text, const char *end)
{
    size_t length = strlen(text), n = strlen(end);
    return length >= n && strcmp(text + length - n, end) == 0;
}

void node_parts_read(struct node_parts *parts, const char *name, size_t d_head)
{
    const char *head = strstr(name, ".head"), *last = strrchr(name, '.');
    const char *end = head ? head : last ? last : name + strlen(name);
    size_t length = (size_t)(end - name);
    memset(parts, 0, sizeof *parts);
    if (length >= SITE_NAME_BYTES)
        length = SITE_NAME_BYTES - 1;
    memcpy(parts->site, name, length);
    parts->layer = strtol(name, NULL, 10);
    parts->in_mlp = strstr(parts->site, ".mlp.") != NULL;
    parts->head = parts->head_channel = -1;
    if (head && last) {
        parts->head = strtol(head + 5, NULL, 10);
        parts->head_channel = strtol(last + 3, NULL, 10);
        parts->channel = (size_t)parts->head * d_head + (size_t)parts->head_channel;
    } else if (last)
        parts->channel = (size_t)strtoul(last + 1, NULL, 10);
}

int node_residual_link(const struct node_parts *from, const struct node_parts *to)
{
    if (!ends_in(from->site, ".resid_delta") || from->channel != to->channel)
        return 0;
    if (!ends_in(to->site, ".act_in"))
        return 0;
    return 2 * to->layer + to->in_mlp > 2 * from->layer + from->in_mlp;
}
