/* Names, phrases and numbers for generated Python. Every word belongs to one of three partitions by its
 * hash, so that what is made for development and fresh prompts cannot have been met in generated
 * training text, nor the words of one in the other. */
#ifndef SN_PYTHON_WORDS_H
#define SN_PYTHON_WORDS_H

#include <stddef.h>

#include "base/buffer.h"
#include "base/random.h"

enum word_partition {
    WORDS_TRAINING, /* common words and made-up ones */
    WORDS_DEVELOP,  /* made-up words of the same syllables */
    WORDS_FRESH     /* and others */
};

#define NAME_CAPACITY 40

enum word_partition word_partition_of(const char *word, size_t length);
/* One lower-case word of the partition, at most 16 letters. */
void word_draw(char word[NAME_CAPACITY], struct random_state *random, enum word_partition partition);
/* A made-up word of the partition. */
void word_draw_made_up(char word[NAME_CAPACITY], struct random_state *random,
                       enum word_partition partition);
/* An identifier: a word, two joined by _, in training also a single letter or a word with a digit. */
void name_draw(char name[NAME_CAPACITY], struct random_state *random, enum word_partition partition);
/* A class name: one or two capitalised words. */
void class_draw(char name[NAME_CAPACITY], struct random_state *random, enum word_partition partition);
/* One to four words separated by spaces. */
void phrase_append(struct buffer *out, struct random_state *random, enum word_partition partition);
void number_append(struct buffer *out, struct random_state *random);

#endif
