/* embed OUT.c NAME FILE... [-- NAME FILE...]...
 *
 * Joins the files of each name into one constant of the library: NAME, its size and its hash as a Content Security
 * Policy names it. Runs while the library is built; the same files give the same bytes. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
    unsigned char *bytes;
    size_t size;
};

static void stop(const char *what, const char *which)
{
    fprintf(stderr, "embed: %s: %s\n", which, what);
    exit(1);
}

static void read_file(struct text *text, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        stop("cannot be read", path);
    for (int byte; (byte = getc(file)) != EOF;) {
        if (byte == 0 || byte == '\r')
            stop("has a NUL or a carriage return, which a page would not keep", path);
        if ((text->size & (text->size - 1)) == 0 &&
            !(text->bytes = realloc(text->bytes, 2 * text->size + 1)))
            stop("out of memory", path);
        text->bytes[text->size++] = (unsigned char)byte;
    }
    if (ferror(file))
        stop("cannot be read", path);
    fclose(file);
}

/* Inside an element of script or style these would end it, or change how the rest is read. */
static void check_text(const struct text *text, const char *name)
{
    static const char *const forbidden[] = {"</script", "</style", "<!--"};
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
        for (size_t at = 0; at + strlen(forbidden[i]) <= text->size; at++)
            if (memcmp(text->bytes + at, forbidden[i], strlen(forbidden[i])) == 0)
                stop("holds what ends a script or style", name);
}

/* ------------------------------------------------------------- SHA-256 (FIPS 180-4) */

static uint32_t turn(uint32_t word, int by)
{
    return word >> by | word << (32 - by);
}

static uint32_t round_constant(int i)
{
    static const uint32_t constants[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    return constants[i];
}

static void hash_block(uint32_t state[8], const unsigned char block[64])
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] +
               (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t first = s[7] + (turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)) +
                         ((s[4] & s[5]) ^ (~s[4] & s[6])) + round_constant(i) + w[i];
        uint32_t second = (turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22)) +
                          ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += first;
        s[0] = first + second;
    }
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

static void hash_text(unsigned char digest[32], const struct text *text)
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    size_t whole = text->size / 64 * 64, rest = text->size - whole;
    unsigned char tail[128] = {0};
    size_t tail_size = rest < 56 ? 64 : 128;
    for (size_t at = 0; at < whole; at += 64)
        hash_block(state, text->bytes + at);
    if (rest)
        memcpy(tail, text->bytes + whole, rest);
    tail[rest] = 0x80;
    for (size_t i = 0; i < 8; i++)
        tail[tail_size - 1 - i] = (unsigned char)((uint64_t)text->size * 8 >> 8 * i);
    for (size_t at = 0; at < tail_size; at += 64)
        hash_block(state, tail + at);
    for (int i = 0; i < 32; i++)
        digest[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
}

static void print_base64(FILE *out, const unsigned char digest[32])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 32; i += 3) {
        uint32_t group = (uint32_t)digest[i] << 16 | (uint32_t)(i + 1 < 32 ? digest[i + 1] : 0) << 8 |
                         (uint32_t)(i + 2 < 32 ? digest[i + 2] : 0);
        for (int k = 0; k < 4; k++)
            putc(i + k > 32 ? '=' : letters[group >> (18 - 6 * k) & 63], out);
    }
}

/* ------------------------------------------------------------------------ output */

static void print_literal(FILE *out, const struct text *text)
{
    fputs("    \"", out);
    for (size_t i = 0; i < text->size; i++) {
        unsigned char c = text->bytes[i];
        if (c == '\n')
            fputs(i + 1 < text->size ? "\\n\"\n    \"" : "\\n", out);
        else if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < ' ' || c > '~' || c == '?')
            fprintf(out, "\\%03o", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

static void print_constant(FILE *out, const char *name, const struct text *text)
{
    unsigned char digest[32];
    hash_text(digest, text);
    fprintf(out, "\nconst char %s[] =\n", name);
    print_literal(out, text);
    fprintf(out, ";\nconst size_t %s_size = %zu;\nconst char %s_hash[] = \"sha256-", name, text->size,
            name);
    print_base64(out, digest);
    fputs("\";\n", out);
}

int main(int n_arguments, char **arguments)
{
    if (n_arguments < 4)
        return fprintf(stderr, "usage: embed OUT.c NAME FILE... [-- NAME FILE...]...\n"), 2;
    FILE *out = fopen(arguments[1], "wb");
    if (!out)
        stop("cannot be written", arguments[1]);
    fputs("/* Made by lib/report/viewer/embed.c. */\n#include \"report/viewer_parts.h\"\n", out);
    for (int i = 2; i < n_arguments; i++) {
        struct text text = {0};
        const char *name = arguments[i++];
        for (; i < n_arguments && strcmp(arguments[i], "--") != 0; i++)
            read_file(&text, arguments[i]);
        check_text(&text, name);
        print_constant(out, name, &text);
        free(text.bytes);
    }
    if (fclose(out) != 0)
        stop("cannot be written", arguments[1]);
    return 0;
}
