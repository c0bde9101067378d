#include "rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char header[] =
    "model,task,variant,status,target,calibrated,nodes,edges,fresh_loss,fresh_raw_loss,"
    "fresh_raw_accuracy,complement_loss,random_complement_loss,"
    "fresh_binarised_raw_loss,fresh_resampled_raw_loss\n";

struct row *rows_add(struct rows *rows)
{
    if (rows->n == rows->capacity) {
        rows->capacity = rows->capacity ? 2 * rows->capacity : 64;
        rows->row = realloc(rows->row, rows->capacity * sizeof *rows->row);
        if (!rows->row)
            stop("no memory for", "rows");
    }
    memset(&rows->row[rows->n], 0, sizeof *rows->row);
    rows->row[rows->n].binarised = rows->row[rows->n].resampled = -1;
    return &rows->row[rows->n++];
}

void rows_write(const struct rows *rows, const char *path)
{
    char temporary[PATH_CAPACITY + 8];
    snprintf(temporary, sizeof temporary, "%s.part", path);
    FILE *file = fopen(temporary, "w");
    if (!file)
        stop("cannot write", temporary);
    fputs(header, file);
    for (size_t i = 0; i < rows->n; i++) {
        const struct row *r = &rows->row[i];
        fprintf(file, "%s,%s,%s,%s,%g,%d,%zu,%zu,%.5f,%.5f,%.4f,%.5f,%.5f,%.5f,%.5f\n", r->model,
                r->task, r->variant, r->status, r->target, r->calibrated, r->nodes, r->edges, r->loss,
                r->raw_loss, r->accuracy, r->necessity, r->random_necessity, r->binarised, r->resampled);
    }
    if (ferror(file) | fclose(file) || rename(temporary, path) != 0)
        stop("cannot write", path);
}

int rows_read(struct rows *rows, const char *path)
{
    char line[512];
    FILE *file = fopen(path, "r");
    int good = file && fgets(line, sizeof line, file) && strcmp(line, header) == 0;
    while (good && fgets(line, sizeof line, file)) {
        struct row r = {.nodes = 0};
        good = sscanf(line, "%47[^,],%39[^,],%23[^,],%15[^,],%lf,%d,%zu,%zu,%lf,%lf,%lf,%lf,%lf,%lf,%lf",
                      r.model, r.task, r.variant, r.status, &r.target, &r.calibrated, &r.nodes, &r.edges,
                      &r.loss, &r.raw_loss, &r.accuracy, &r.necessity, &r.random_necessity, &r.binarised,
                      &r.resampled) == 15;
        if (good)
            *rows_add(rows) = r;
    }
    if (file)
        fclose(file);
    return good;
}

void rows_free(struct rows *rows)
{
    free(rows->row);
    *rows = (struct rows){NULL, 0, 0};
}
