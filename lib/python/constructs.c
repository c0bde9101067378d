#include "python/constructs.h"

#include <string.h>

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

const char *const STATEMENTS[N_STATEMENTS] = {
    "$a = $b\n",
    "$a = $n\n",
    "$a = $b + $n\n",
    "$a = $b.$c\n",
    "$a = $b($c)\n",
    "$a.$b($c)\n",
    "$a = $b.$c($d)\n",
    "$a = $b * $c\n",
    "$a($b, $c)\n",
    "$a = $b - $n\n",
    "$a = len($b)\n",
    "$a.$b = $c\n",
    "import $a\n",
    "$a += $n\n",
    /* from here on with strings and lists */
    "print($t)\n",
    "print($t)\n",
    "$a = $t\n",
    "$a = $u\n",
    "$a($t)\n",
    "$a.$b($t)\n",
    "$a = $l\n",
    "$a = $l\n",
    "$a.append($v)\n",
    "$a = $b($t)\n",
    "$a = $b($v, $t)\n",
    "$a = {$u: $v, $u: $v}\n",
    "print($a, $t)\n",
    "$a = $b.get($u)\n",
};

/* The same code on a set and on a string: what stands before the name is made, and before it grows. */
#define SET_OR_STRING(name, before, after, tail)                                                        \
    before name " = set()\n" after name ".add(" tail ")\n",                                             \
        before name " = \"\"\n" after name " += " tail "\n"
#define SET_UNITS(name)                                                                                 \
    SET_OR_STRING(name, "", "for $b in $c:\n    ", "$b"), SET_OR_STRING(name, "", "$b = $c\n", "$b"),   \
        SET_OR_STRING(name, "", "if $b:\n    ", "$c"),                                                  \
        SET_OR_STRING(name, "", "while $b:\n    $c = $b($d)\n    ", "$c"),                              \
        SET_OR_STRING(name, "def $d($c):\n    ", "    for $b in $c:\n        ", "$b"),                  \
        SET_OR_STRING(name, "", "$x", "$b"), SET_OR_STRING(name, "", "if $b == $n:\n    ", "$b"),       \
        SET_OR_STRING(name, "if $d:\n    ", "    ", "$b")

const struct construct CONSTRUCTS[N_CONSTRUCTS] = {
    {"single_double_quote",
     LIST("print($t)\n", "print($t)\n", "$a($t)\n", "$a.$b($t)\n", "$a = $b($t)\n",
          "$a.$b($t)\n$a.$c($t)\n", "raise ValueError($t)\n", "print($t)\nprint($t)\n",
          "$a = $b.$c($t)\n", "$a($b, $t)\n", "if $a == $t:\n    print($t)\n",
          "if $a:\n    print($t)\nelse:\n    print($t)\n", "$a = $t\nprint($a)\n", "$a = $u\n$b = $u\n",
          "for $a in $b:\n    print($t)\n", "def $a($b):\n    $b.$c($t)\n", "$a.$b($c, $t)\n",
          "return $a($t)\n", "$a($n, $t)\n", "while $a:\n    print($t)\n", "if $a:\n    $b.$c($t)\n",
          "$a = $b($c, $d, $t)\n", "$a.$b = $c($t)\n"),
     0},
    {"final_kwarg", FINAL_KWARG_UNITS, 6},
    {"set_or_string",
     LIST(SET_UNITS("$a"), SET_UNITS("$a"),
          "$a = set()\n$b = \"\"\nfor $c in $d:\n    $a.add($c)\n    $b += $c\n",
          "$a = \"\"\n$b = set()\nfor $c in $d:\n    $a += $c\n    $b.add($c)\n"),
     0},
    {"set_or_string_fixedvarname",
     LIST(SET_UNITS("current"), SET_OR_STRING("current", "", "$b = $c($d)\n", "$b"),
          SET_OR_STRING("current", "def $d():\n    ", "    $x    ", "$b"),
          SET_OR_STRING("current", "", "if $b:\n    $c = $b\n    ", "$b"),
          "current = set()\n$b = \"\"\nfor $c in $d:\n    current.add($c)\n    $b += $c\n",
          "current = \"\"\n$b = set()\nfor $c in $d:\n    current += $c\n    $b.add($c)\n"),
     16},
    {"class_init", CLASS_INIT_UNITS, 4},
    {"with_as", WITH_AS_UNITS, 4},
    {"bracket_brace", BRACKET_BRACE_UNITS, 8},
    {"with_open", WITH_OPEN_UNITS, 4},
    {"bracket_counting",
     LIST("$a = $l\n", "$a = $l\n", "$a = $l\n", "$a = $l\n$b = $l\n", "$a = $n\n$b = $l\n",
          "$a = $l\n$b = $l\n$c = $l\n", "if $a:\n    $b = $l\n", "$a = $b\n$c = $l\n",
          "def $a():\n    $b = $l\n"),
     0},
    {"for_while",
     LIST("for $a in $b:\n    $x", "while $a:\n    $x", "for $a in $b:\n    $c($a)\n",
          "while $a:\n    $b = $a.$c\n", "for $a in range($n):\n    $x", "while $a < $n:\n    $a += 1\n",
          "$a = $b\nwhile $a:\n    $x", "$a = $b\nfor $c in $a:\n    $x",
          "def $a($b):\n    for $c in $b:\n        $x", "def $a($b):\n    while $b:\n        $x",
          "if $a:\n    for $b in $c:\n        $x", "if $a:\n    while $b:\n        $x",
          "for $a, $b in $c:\n    $x", "while not $a:\n    $x", "for $a in $b.$c:\n    $x",
          "while $a.$b:\n    $x", "for $a in $b($c):\n    $x", "while $a($b):\n    $x",
          "$x"
          "for $a in $b:\n    $x",
          "$x"
          "while $a:\n    $x",
          "def $a($b, $c):\n    $x"
          "    for $d in $b:\n        $x",
          "def $a($b, $c):\n    $x"
          "    while $b:\n        $x",
          "if $a == $b:\n    $x"
          "    for $c in $a:\n        $x",
          "if $a == $b:\n    $x"
          "    while $c:\n        $x"),
     0},
    {"else_elif", ELSE_ELIF_UNITS, 5},
    {"fstring_brace", FSTRING_BRACE_UNITS, 8},
    {"if_ternary", IF_TERNARY_UNITS, 5},
    {"var_swap", VAR_SWAP_UNITS, 5},
    {"indent_for", INDENT_FOR_UNITS, 5},
    {"lambda_func", LAMBDA_FUNC_UNITS, 6},
    {"if_equals", IF_EQUALS_UNITS, 5},
    {"enumerate_range", ENUMERATE_RANGE_UNITS, 5},
    {"var_if", VAR_IF_UNITS, 5},
    {"while_return_true", WHILE_RETURN_TRUE_UNITS, 5},
};

size_t construct_find(const char *name, size_t length)
{
    size_t i = 0;
    while (i < N_CONSTRUCTS &&
           (strlen(CONSTRUCTS[i].name) != length || memcmp(CONSTRUCTS[i].name, name, length) != 0))
        i++;
    return i;
}
