/* What every part of the reproduction needs: where it writes, how it speaks, how it stops. */
#ifndef REPRODUCE_SETUP_H
#define REPRODUCE_SETUP_H

#include <stddef.h>

#include <sparsenet.h>

#define PATH_CAPACITY 4096

struct setup {
    const char *directory; /* of all output */
    const char *source;    /* a folder of Python source; NULL: this machine's Python library */
    int quick, report_only;
    double scale; /* of the number of training steps: below 1 to try things out */
    size_t n_threads;
    double start;
};

/* Seconds on a clock that never goes back. */
double seconds(void);
/* One line on stdout, with the time since the start. */
void say(const struct setup *setup, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A study has no better answer to an error than to say it and stop; another call goes on from there. */
void check(sn_context *context, int status);
/* Stops with a message and the system's reason. */
void stop(const char *what, const char *path) __attribute__((noreturn));

sn_options *options(sn_context *context);
void set(sn_context *context, sn_options *of, const char *key, double value);
void set_text(sn_context *context, sn_options *of, const char *key, const char *value);

/* directory/name.suffix */
void make_path(char path[PATH_CAPACITY], const struct setup *setup, const char *name,
               const char *suffix);
int file_exists(const char *path);
/* Makes a folder; one that is there is as good. */
void make_directory(const char *path);

#endif
