/* Threads that cannot be had: pthread_create, wrapped at link time (the Makefile's WRAPPED). */
#ifndef SN_TESTS_THREAD_FAULTS_H
#define SN_TESTS_THREAD_FAULTS_H

#include <stddef.h>

extern size_t thread_faults_left; /* so many more can be begun; SIZE_MAX: all */

#endif
