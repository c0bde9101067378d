#include "python/words.h"

#include <stdint.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char *const COMMON[] = {
    "account", "action",   "active",   "address", "alpha",   "amount",   "angle",   "answer",
    "apple",   "area",     "array",    "author",  "average", "balance",  "banner",  "base",
    "batch",   "beta",     "block",    "board",   "body",    "book",     "border",  "bottom",
    "branch",  "bucket",   "buffer",   "button",  "cache",   "camera",   "card",    "cell",
    "center",  "chain",    "channel",  "chapter", "child",   "choice",   "circle",  "city",
    "client",  "clock",    "code",     "color",   "column",  "command",  "config",  "contact",
    "content", "copy",     "corner",   "count",   "counter", "country",  "course",  "cover",
    "current", "cursor",   "customer", "cycle",   "data",    "date",     "default", "delay",
    "depth",   "detail",   "device",   "diff",    "digit",   "distance", "door",    "draft",
    "driver",  "duration", "edge",     "element", "email",   "energy",   "engine",  "entry",
    "epoch",   "error",    "event",    "example", "factor",  "family",   "feature", "field",
    "figure",  "filter",   "flag",     "flower",  "folder",  "force",    "frame",   "friend",
    "garden",  "gate",     "graph",    "green",   "grid",    "group",    "guest",   "handler",
    "hash",    "head",     "header",   "height",  "history", "host",     "hour",    "house",
    "image",   "index",    "info",     "initial", "input",   "item",     "job",     "key",
    "kind",    "label",    "language", "layer",   "leader",  "left",     "length",  "letter",
    "level",   "limit",    "line",     "link",    "loader",  "local",    "lock",    "logger",
    "loop",    "lower",    "machine",  "manager", "margin",  "market",   "mask",    "matrix",
    "member",  "memory",   "menu",     "message", "method",  "metric",   "middle",  "minute",
    "mode",    "model",    "module",   "moment",  "money",   "month",    "music",   "name",
    "nation",  "network",  "node",     "note",    "number",  "object",   "offset",  "option",
    "order",   "origin",   "output",   "owner",   "page",    "panel",    "paper",   "parent",
    "parser",  "part",     "path",     "pattern", "payload", "people",   "person",  "phase",
    "phone",   "picture",  "pixel",    "place",   "planet",  "player",   "point",   "policy",
    "pool",    "port",     "position", "power",   "prefix",  "price",    "process", "product",
    "profile", "project",  "query",    "queue",   "radius",  "random",   "rate",    "ratio",
    "reader",  "record",   "region",   "report",  "request", "result",   "right",   "river",
    "role",    "room",     "root",     "round",   "route",   "row",      "rule",    "sample",
    "scale",   "scene",    "schema",   "school",  "scope",   "score",    "screen",  "search",
    "second",  "section",  "sender",   "sensor",  "server",  "service",  "session", "shape",
    "share",   "sheet",    "shift",    "signal",  "size",    "slice",    "slot",    "socket",
    "source",  "space",    "speed",    "stack",   "stage",   "start",    "state",   "station",
    "status",  "step",     "store",    "stream",  "street",  "student",  "style",   "subject",
    "suffix",  "summer",   "symbol",   "system",  "table",   "target",   "task",    "teacher",
    "team",    "temp",     "text",     "thread",  "ticket",  "tile",     "time",    "timer",
    "title",   "token",    "topic",    "total",   "track",   "trade",    "train",   "tree",
    "trial",   "unit",     "update",   "upper",   "url",     "user",     "value",   "vector",
    "version", "view",     "visit",    "volume",  "wait",    "wall",     "water",   "weather",
    "week",    "weight",   "width",    "window",  "winner",  "winter",   "word",    "worker",
    "writer",  "year",     "zone",
};

static const char *const ONSETS[] = {"b",  "d",  "f",  "g",  "k",  "l",  "m",  "n",  "p",
                                     "r",  "s",  "t",  "v",  "z",  "j",  "w",  "br", "dr",
                                     "fl", "gr", "kl", "kr", "pl", "sk", "tr", "sh"};
/* One syllable of each word begins with one of these, which real names hardly ever hold. */
static const char *const ODD_ONSETS[] = {"zl", "vr", "vl", "kv", "zm", "zn", "zv", "mr", "dv", "zr"};
static const char *const VOWELS[] = {"a", "e", "i", "o", "u", "a", "e", "i", "o", "u", "oo"};
static const char *const CODAS[] = {"n", "r", "l", "s", "m", "k", "p", "x", "nd", "rt", "sk", "lm"};
static const char LETTERS[] = "abcdefghijklmnpqrstuvwxyz";

enum word_partition word_partition_of(const char *word, size_t length)
{
    static const enum word_partition PARTITIONS[8] = {[0] = WORDS_FRESH, [4] = WORDS_DEVELOP};
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)word[i]) * 16777619u;
    hash ^= hash >> 15;
    return PARTITIONS[hash % 8];
}

static void add(char *word, const char *part)
{
    size_t length = strlen(word);
    memcpy(word + length, part, strlen(part) + 1);
}

static int chance(struct random_state *random, double probability)
{
    return random_uniform(random) < probability;
}

/* Two or three syllables, 5 to 12 letters. */
static void make_up(char word[NAME_CAPACITY], struct random_state *random)
{
    do {
        word[0] = '\0';
        size_t n = chance(random, 0.2) ? 3 : 2, odd = random_below(random, n);
        for (size_t i = 0; i < n; i++) {
            add(word, i == odd ? ODD_ONSETS[random_below(random, COUNT(ODD_ONSETS))]
                               : ONSETS[random_below(random, COUNT(ONSETS))]);
            add(word, VOWELS[random_below(random, COUNT(VOWELS))]);
            if (chance(random, i + 1 == n ? 0.4 : 0.15))
                add(word, CODAS[random_below(random, COUNT(CODAS))]);
        }
    } while (strlen(word) < 5 || strlen(word) > 12);
}

void word_draw_made_up(char word[NAME_CAPACITY], struct random_state *random,
                       enum word_partition partition)
{
    do
        make_up(word, random);
    while (word_partition_of(word, strlen(word)) != partition);
}

void word_draw(char word[NAME_CAPACITY], struct random_state *random, enum word_partition partition)
{
    if (partition != WORDS_TRAINING || chance(random, 0.45)) {
        word_draw_made_up(word, random, partition);
        return;
    }
    do {
        word[0] = '\0';
        add(word, COMMON[random_below(random, COUNT(COMMON))]);
    } while (word_partition_of(word, strlen(word)) != WORDS_TRAINING);
}

void name_draw(char name[NAME_CAPACITY], struct random_state *random, enum word_partition partition)
{
    double form = random_uniform(random);
    if (partition == WORDS_TRAINING && form < 0.1) {
        name[0] = LETTERS[random_below(random, sizeof LETTERS - 1)];
        name[1] = '\0';
        return;
    }
    word_draw(name, random, partition);
    if (form > 0.85) {
        char second[NAME_CAPACITY];
        word_draw(second, random, partition);
        add(name, "_");
        add(name, second);
    } else if (partition == WORDS_TRAINING && form > 0.82) {
        char digit[2] = {(char)('0' + random_below(random, 10)), '\0'};
        add(name, digit);
    }
}

void class_draw(char name[NAME_CAPACITY], struct random_state *random, enum word_partition partition)
{
    word_draw(name, random, partition);
    name[0] = (char)(name[0] - 'a' + 'A');
    if (chance(random, 0.3)) {
        char second[NAME_CAPACITY];
        word_draw(second, random, partition);
        second[0] = (char)(second[0] - 'a' + 'A');
        add(name, second);
    }
}

void phrase_append(struct buffer *out, struct random_state *random, enum word_partition partition)
{
    static const size_t LENGTHS[] = {1, 1, 1, 2, 2, 2, 3, 3, 4};
    size_t n = LENGTHS[random_below(random, COUNT(LENGTHS))];
    for (size_t i = 0; i < n; i++) {
        char word[NAME_CAPACITY];
        word_draw(word, random, partition);
        buffer_text(out, i ? " " : "");
        buffer_text(out, word);
    }
}

void number_append(struct buffer *out, struct random_state *random)
{
    static const size_t LIMITS[] = {10, 10, 10, 10, 10, 10, 100, 100, 100, 1000};
    buffer_format(out, "%zu", random_below(random, LIMITS[random_below(random, COUNT(LIMITS))]));
}
