#include "thread_faults.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>

size_t thread_faults_left = SIZE_MAX;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                          void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                          void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                          void *argument)
{
    if (thread_faults_left == 0)
        return EAGAIN;
    if (thread_faults_left != SIZE_MAX)
        thread_faults_left--;
    return __real_pthread_create(thread, attributes, start, argument);
}
