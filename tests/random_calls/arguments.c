/* Arguments by chance: fitting ones, and where odd() says so the others. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "play.h"
#include "world_objects.h"

void play_seed(uint64_t seed)
{
    play.seed = seed;
    play.random = seed * 0x9E3779B97F4A7C15u + 0x1234567u;
}

uint64_t draw(uint64_t n)
{
    uint64_t z = play.random += 0x9E3779B97F4A7C15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return n ? z % n : z;
}

int chance(unsigned percent)
{
    return draw(100) < percent;
}

int odd(void)
{
    return !play.polite && chance(12);
}

/* ------------------------------------------------------------------- blocks */

#define MOST_BLOCKS 256
static void *blocks[MOST_BLOCKS];
static size_t n_blocks;

void *block(size_t size)
{
    if (n_blocks == MOST_BLOCKS)
        play_wrong("too many blocks in one row");
    void *bytes = calloc(size ? size : 1, 1);
    if (!bytes)
        play_wrong("no memory for arguments");
    return blocks[n_blocks++] = bytes;
}

void release_arguments(void)
{
    while (n_blocks)
        free(blocks[--n_blocks]);
}

static const char *copy(const char *string)
{
    char *bytes = block(strlen(string) + 1);
    return strcpy(bytes, string);
}

/* ------------------------------------------------------------------ numbers */

static double strange_number(void)
{
    static const double numbers[] = {
        0,      -0.0,         1,      -1,    0.5,          NAN,    INFINITY, -INFINITY,
        1e308,  -1e308,       5e-324, 1e-40, 0x1p53,       0x1p63, 0x1p64,   1e18,
        -1e-30, 2147483648.0, 1e-300, 3.5,   4294967296.0, 255,    65537,    -0.5};
    return numbers[draw(sizeof numbers / sizeof *numbers)];
}

double real(double low, double high)
{
    if (odd())
        return strange_number();
    return low + (high - low) * (double)draw(1025) / 1024;
}

size_t amount(size_t low, size_t high)
{
    static const size_t strange[] = {0,
                                     1,
                                     SIZE_MAX,
                                     SIZE_MAX - 1,
                                     SIZE_MAX / 2,
                                     SIZE_MAX / 4 + 1,
                                     SIZE_MAX / 8 + 1,
                                     (size_t)1 << 32,
                                     (size_t)1 << 31,
                                     1000003,
                                     (size_t)1 << 48,
                                     257};
    if (odd())
        return chance(30) ? high + 1 : strange[draw(sizeof strange / sizeof *strange)];
    return low + draw(high - low + 1);
}

size_t few(size_t low, size_t high)
{
    if (odd())
        return chance(50) ? 0 : high + 1 + draw(3);
    return low + draw(high - low + 1);
}

int whole(int low, int high)
{
    static const int strange[] = {-1, INT32_MIN, INT32_MAX, 1 << 20, 7, 255};
    if (odd())
        return chance(30) ? high + 1 : strange[draw(sizeof strange / sizeof *strange)];
    return low + (int)draw((uint64_t)(high - low) + 1);
}

uint64_t any_seed(void)
{
    return chance(90) ? draw(4) : draw(0);
}

float *floats(size_t n)
{
    float *values = block(n * sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = (float)draw(2001) / 500 - 2;
    if (n && odd())
        for (size_t i = 0; i < 3; i++)
            values[draw(n)] = (float)strange_number();
    return odd() ? NULL : values;
}

double *doubles(size_t n, double low, double high)
{
    double *values = block(n * sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = real(low, high);
    return odd() ? NULL : values;
}

int32_t token(void)
{
    static const int32_t strange[] = {-1, 8, 511, 512, INT32_MIN, INT32_MAX, 100000};
    return odd() ? strange[draw(sizeof strange / sizeof *strange)] : (int32_t)draw(8);
}

int32_t *tokens(size_t n)
{
    int32_t *values = block(n * sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = (int32_t)draw(8);
    if (n)
        values[draw(n)] = token();
    return odd() ? NULL : values;
}

size_t room(size_t needed, void *out)
{
    if (odd())
        memset(out, 0, sizeof(void *));
    if (odd())
        return chance(50) ? SIZE_MAX : needed ? draw(needed) : 0;
    return needed;
}

/* --------------------------------------------------------------------- texts */

static const char *strange_text(void)
{
    static const char *const texts[] = {"",
                                        " ",
                                        "\xff\xfe\x80",
                                        "\xc0\x80",
                                        "%s%n%s",
                                        "\"}\\",
                                        "\n",
                                        "a\tb\x01",
                                        "NULL",
                                        "-1",
                                        "0.mlp.post_act.99999999999999999999",
                                        "0.attn.v.head-1.ch0",
                                        "99.mlp.post_act.0",
                                        "0.mlp",
                                        ".",
                                        "0.attn.q.head0.ch",
                                        "final_resid",
                                        "0.resid_mid.0",
                                        "\xed\xa0\x80",
                                        "</script><!--",
                                        "\xf4\x90\x80\x80",
                                        "0.attn.act_in.0 ",
                                        "required",
                                        "1e999"};
    if (!chance(10))
        return copy(texts[draw(sizeof texts / sizeof *texts)]);
    const size_t length = chance(50) ? 300 : chance(90) ? 5000 : 1100000;
    char *long_text = block(length + 1);
    memset(long_text, chance(50) ? 'a' : 0xE4, length);
    return long_text;
}

static const char *bad_text(void)
{
    return chance(30) ? NULL : strange_text();
}

const char *one_of(const char *const *words, size_t n)
{
    return odd() ? bad_text() : copy(words[draw(n)]);
}

const char *text(void)
{
    return ONE_OF("a = 1\n", "f(x, 'y')", "loss", "planted", "caf\xc3\xa9", "for", "name", "x");
}

static int64_t model_number(const char *key, int64_t fallback)
{
    const int64_t n = play.model ? sn_model_config_number(play.model, key) : 0;
    return n > 0 ? n : fallback;
}

const char *a_node(void)
{
    static const struct {
        const char *format, *width;
    } plain[] = {{"%d.attn.act_in.%d", "d_model"},
                 {"%d.attn.resid_delta.%d", "d_model"},
                 {"%d.mlp.act_in.%d", "d_model"},
                 {"%d.mlp.post_act.%d", "d_mlp"},
                 {"%d.mlp.resid_delta.%d", "d_model"}};
    if (odd())
        return bad_text();
    if (chance(30)) /* one of the planted circuit: where something happens */
        return ONE_OF("0.attn.act_in.0", "0.attn.v.head0.ch0", WORLD_NODE, "0.attn.resid_delta.3");
    char name[64];
    const int layer = (int)draw((uint64_t)model_number("n_layer", 1));
    if (chance(40)) {
        snprintf(name, sizeof name, "%d.attn.%c.head%d.ch%d", layer, "qkv"[draw(3)],
                 (int)draw((uint64_t)model_number("n_head", 1)),
                 (int)draw((uint64_t)model_number("d_head", 1)));
    } else {
        const size_t i = draw(sizeof plain / sizeof *plain);
        const int channel = (int)draw((uint64_t)model_number(plain[i].width, 1));
        snprintf(name, sizeof name, plain[i].format, layer, channel);
    }
    return copy(name);
}

const char *a_site(void)
{
    const size_t n = play.model ? sn_model_site_count(play.model) : 0;
    const char *name = n ? sn_model_site_name(play.model, draw(n)) : NULL;
    return odd() || !name ? bad_text() : copy(name);
}

const char *a_tensor(void)
{
    const size_t n = play.model ? sn_model_tensor_count(play.model) : 0;
    const char *name = n ? sn_model_tensor_name(play.model, draw(n)) : NULL;
    return odd() || !name ? bad_text() : copy(name);
}

/* --------------------------------------------------------------------- files */

static const char *bad_path(void)
{
    static const char *const paths[] = {"", "/", "/nonexistent/file", "/dev/null", "/proc/self/mem",
                                        "."};
    return chance(70) ? copy(paths[draw(sizeof paths / sizeof *paths)]) : bad_text();
}

/* Never a name that would be a file in the folder where the program runs. */
const char *to_file(void)
{
    char path[256];
    static const char *const bad[] = {"", "/", "/nonexistent/file", "/dev/null", "/proc/self/nothing"};
    if (odd())
        return chance(20) ? NULL : copy(bad[draw(sizeof bad / sizeof *bad)]);
    snprintf(path, sizeof path, "%s/%c", play.worlds[play.world].folder, 'a' + (char)draw(8));
    return copy(path);
}

const char *from_file(const char *name)
{
    static const char *const names[] = {"tokenizer", "texts",   "texts/a.py", "tokens",     "model",
                                        "dense",     "tensors", "trainer",    "task.jsonl", "circuit"};
    if (odd())
        return chance(50) ? bad_path() : copy(world_input(names[draw(sizeof names / sizeof *names)]));
    return copy(world_input(name));
}

/* ------------------------------------------------------------------- options */

static void set_number(sn_options *options, sn_context *context, const char *key, double value)
{
    (void)sn_options_set(options, context, key, value);
}

/* i1-3: whole, r0.5-2: not; '!' behind it: always set, and never to what would take long. */
static void set_in_range(sn_options *options, sn_context *context, const char *key, const char *range,
                         int must)
{
    static const double refused[] = {-1, NAN, INFINITY, -INFINITY, 1e300, -0.25};
    char *end;
    const double low = strtod(range + 1, &end), high = *end == '-' ? strtod(end + 1, NULL) : low;
    double value = low + (high - low) * (double)draw(1025) / 1024;
    if (range[0] == 'i')
        value = low + (double)draw((uint64_t)(high - low) + 1);
    if (odd())
        value = must ? refused[draw(sizeof refused / sizeof *refused)] : strange_number();
    set_number(options, context, key, value);
}

static void set_choice(sn_options *options, sn_context *context, const char *key, char *choices)
{
    const char *words[8];
    size_t n = 0;
    char *state;
    for (char *word = strtok_r(choices, "|", &state); word && n < 8; word = strtok_r(NULL, "|", &state))
        words[n++] = word;
    const char *word = one_of(words, n);
    (void)sn_options_set_text(options, context, key, word ? word : "");
}

static void set_one(sn_options *options, sn_context *context, char *entry)
{
    char *range = strchr(entry, ':');
    const size_t length = strlen(entry);
    const int must = entry[length - 1] == '!';
    if (must)
        entry[length - 1] = '\0';
    else if (!chance(30))
        return;
    *range++ = '\0';
    if (range[0] == 'i' || range[0] == 'r')
        set_in_range(options, context, entry, range, must);
    else
        set_choice(options, context, entry, range + 1);
}

/* "key:i1-3! key:r0-1 key:=word|word": made by a context of the world's, whatever befalls the call's
 * own. */
const sn_options *settings(const char *keys)
{
    char list[1024], *state;
    sn_options *options;
    sn_context *context = play.worlds[play.world].context;
    struct oom *oom = &play.worlds[play.world].oom;
    const size_t fail_at = atomic_exchange(&oom->fail_at, 0),
                 n_before = atomic_load(&oom->n_allocations);
    if (!strchr(keys, '!') && odd())
        return NULL;
    if (odd())
        return READ(options, K_OPTIONS);
    if (play.options)
        return play.options;
    (void)sn_context_set_memory_limit(context, 0);
    snprintf(list, sizeof list, "%s", keys);
    if (sn_options_create(&options, context) != SN_OK)
        play_wrong("no options");
    for (char *entry = strtok_r(list, " ", &state); entry; entry = strtok_r(NULL, " ", &state))
        set_one(options, context, entry);
    if (odd())
        set_number(options, context, "no such key", 1);
    atomic_store(&oom->fail_at, fail_at ? fail_at + atomic_load(&oom->n_allocations) - n_before : 0);
    play.options = options;
    return options;
}

/* ------------------------------------------------------------------- answers */

static volatile unsigned char seen; /* so that no read is left out */

int answer_bytes(const void *bytes, size_t size)
{
    unsigned char sum = 0;
    if (!bytes)
        return NO_ANSWER;
    for (size_t i = 0; i < size; i++)
        sum ^= ((const unsigned char *)bytes)[i];
    seen = sum;
    return SN_OK;
}

int answer_text(const char *string)
{
    return string ? answer_bytes(string, strlen(string) + 1) : NO_ANSWER;
}

int answer_number(double number)
{
    return number > 0 ? SN_OK : NO_ANSWER;
}
