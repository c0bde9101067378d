#include "setup.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void say(const struct setup *setup, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    printf("[%6.1f s] %s\n", seconds() - setup->start, line); /* one call: threads share stdout */
    fflush(stdout);
}

void check(sn_context *context, int status)
{
    if (status == SN_OK)
        return;
    fprintf(stderr, "reproduce: %s: %s\n", sn_status_string(status), sn_context_message(context));
    exit(1);
}

void stop(const char *what, const char *path)
{
    fprintf(stderr, "reproduce: %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

sn_options *options(sn_context *context)
{
    sn_options *made;
    check(context, sn_options_create(&made, context));
    return made;
}

void set(sn_context *context, sn_options *of, const char *key, double value)
{
    check(context, sn_options_set(of, context, key, value));
}

void set_text(sn_context *context, sn_options *of, const char *key, const char *value)
{
    check(context, sn_options_set_text(of, context, key, value));
}

void make_path(char path[PATH_CAPACITY], const struct setup *setup, const char *name, const char *suffix)
{
    int length = snprintf(path, PATH_CAPACITY, "%s/%s%s", setup->directory, name, suffix);
    if (length >= PATH_CAPACITY) {
        errno = ENAMETOOLONG;
        stop("cannot write into", setup->directory);
    }
}

int file_exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

void make_directory(const char *path)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        stop("cannot make", path);
}
