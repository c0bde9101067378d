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
          "$a = $b($c, $d, $t)\n", "$a.$b = $c($t)\n")},
    {"final_kwarg",
     LIST("def $a($b=None, $c=None):\n    return $b\n", "def $a($b, $c):\n    return $b\n",
          "def $a($b=None, $c=None, $d=None):\n    $x", "def $a($b, $c, $d):\n    $x",
          "def $a($b=None):\n    $x", "def $a($b):\n    $x")},
    {"set_or_string", LIST(SET_UNITS("$a"), SET_UNITS("$a"),
                           "$a = set()\n$b = \"\"\nfor $c in $d:\n    $a.add($c)\n    $b += $c\n",
                           "$a = \"\"\n$b = set()\nfor $c in $d:\n    $a += $c\n    $b.add($c)\n")},
    {"set_or_string_fixedvarname", LIST(SET_UNITS("current"))},
    {"class_init",
     LIST("class $A:\n    def __init__(self, $a, $b):\n        self.$a = $a\n        self.$b = $b\n",
          "class $A:\n    def __init__(self, $a):\n        self.$a = $a\n",
          "class $A($B):\n    def __init__(self, $a, $b, $c):\n        self.$a = $a\n        self.$b = "
          "$b\n"
          "        self.$c = $c\n",
          "class $A:\n    def __init__(self, $a, $b):\n        self.$b = $b\n        self.$a = $a\n\n"
          "    def $c(self):\n        return self.$a\n")},
    {"with_as",
     LIST("with open($a) as $b:\n    $c = $b.read()\n", "$a = open($b)\n$c = $a.read()\n$a.close()\n",
          "with open($a) as $b:\n    for $c in $b:\n        print($c)\n",
          "$a = open($b)\n$a.close()\n")},
    {"bracket_brace", LIST("$a = {$b: $n, $c: $n}\n", "$a = [$b, $c, $d]\n", "$a = {$b: $c, $d: $e}\n",
                           "$a = [$b, $c]\n", "$a = {$u: $n, $u: $n}\n", "$a = [$u, $u, $u]\n",
                           "return {$a: $b, $c: $d}\n", "return [$a, $b, $c]\n")},
    {"with_open", LIST("with open('input_$w.txt', 'r') as $a:\n    $b = $a.read()\n",
                       "with open(\"input_$w.txt\", \"r\") as $a:\n    $b = $a.read()\n",
                       "with open('output_$w.txt', 'w') as $a:\n    $a.write($b)\n",
                       "with open(\"output_$w.txt\", \"w\") as $a:\n    $a.write($b)\n")},
    {"bracket_counting",
     LIST("$a = $l\n", "$a = $l\n", "$a = $l\n", "$a = $l\n$b = $l\n", "$a = $n\n$b = $l\n",
          "$a = $l\n$b = $l\n$c = $l\n", "if $a:\n    $b = $l\n", "$a = $b\n$c = $l\n",
          "def $a():\n    $b = $l\n")},
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
          "    while $c:\n        $x")},
    {"else_elif", LIST("if $a:\n    $x"
                       "else:\n    $x",
                       "if $a:\n    $x"
                       "elif not $b:\n    $x",
                       "if $a:\n    return $b\nelif not $c:\n    return $d\nelse:\n    return $e\n",
                       "if $a:\n    return $b\nelse:\n    return $c\n",
                       "if $a == $n:\n    $x"
                       "elif $a == $n:\n    $x"
                       "else:\n    $x")},
    {"fstring_brace",
     LIST("print(f\"$w {$a}\")\n", "print(\"$w\")\n", "print(f'$w {$a}')\n", "print('$w')\n",
          "$b = f\"$w {$a}\"\n", "$b = \"$w\"\n", "print(f\"$w {$a} $w\")\n", "$b($c, f\"$w {$a}\")\n")},
    {"if_ternary", LIST("$a = $b if $c else $d\n", "if $c:\n    $x", "return $a if $b else $c\n",
                        "if $a:\n    $b = $c\nelse:\n    $b = $d\n", "$a = $n if $b else $n\n")},
    {"var_swap", LIST("$a, $b = $b, $a\n", "$a = $n\n$b = $n\n$a, $b = $b, $a\n",
                      "$a, $b = $c\n$b, $a = $a, $b\n", "if $a > $b:\n    $a, $b = $b, $a\n",
                      "def $c($a, $b):\n    $a, $b = $b, $a\n    return $a\n")},
    {"indent_for", LIST("def $a($b):\n    for $c in $b:\n        $x"
                        "    return $d\n",
                        "def $a($b):\n    $c = $b\n    $x",
                        "def $a($b):\n    $c = $n\n    for $d in $b:\n        $c += $d\n    return $c\n",
                        "if $a:\n    for $b in $a:\n        $x", "if $a:\n    $b = $c\n    $x")},
    {"lambda_func",
     LIST("$a = lambda $b: $b\n", "def $a():\n    $x", "def $a($b):\n    return $b\n",
          "$a = lambda $b: $b + $n\n", "$a = $b($c, lambda $d: $d.$e)\n", "$a = lambda: $b\n")},
    {"if_equals", LIST("if $a == $b:\n    $x", "$a = $b\n", "if $a == $n:\n    return $b\n",
                       "$a = $n\n$b = $n\n", "if $a == $u:\n    $x")},
    {"enumerate_range",
     LIST("for $a, $b in enumerate($c):\n    $x", "for $a in range($b):\n    $x",
          "for $a in range($n):\n    $x", "for $a, $b in enumerate($c):\n    print($a, $b)\n",
          "for $a in range(len($b)):\n    $x")},
    {"var_if", LIST("if $a == True:\n    $x", "$a = True\n", "if $a == False:\n    $x",
                    "$a = True\n$b = False\n", "$a = True\nif $a == True:\n    $x")},
    {"while_return_true", LIST("while True:\n    $x", "def $a():\n    return True\n",
                               "def $a($b):\n    while True:\n        $x",
                               "def $a($b):\n    if $b:\n        return True\n    return False\n",
                               "while True:\n    $x"
                               "    break\n")},
};

size_t construct_find(const char *name, size_t length)
{
    size_t i = 0;
    while (i < N_CONSTRUCTS &&
           (strlen(CONSTRUCTS[i].name) != length || memcmp(CONSTRUCTS[i].name, name, length) != 0))
        i++;
    return i;
}
