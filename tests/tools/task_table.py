#!/usr/bin/env python3
"""task_table.py build/examples/task: the table of docs/tasks.md, one generated pair of each task.

Of the prompts the lines from the first difference on; a newline is shown as ⏎."""
import re
import subprocess
import sys

DIFFERS = {
    "single_double_quote": "the opening quote",
    "bracket_counting": "brackets alone: which depth is reached",
    "for_while": "`for` or `while`",
    "set_or_string": "`set()` or `\"\"`",
    "final_kwarg": "`=None` behind earlier parameters or not",
    "set_or_string_fixedvarname": "`set()` or `\"\"`; the name is always `current`",
    "class_init": "the name behind `self.`",
    "with_as": "`with` or an assignment in front of `open`",
    "bracket_brace": "`{` or `[`",
    "with_open": "`input` or `output` in the file's name",
    "else_elif": "`else` or `elif`",
    "fstring_brace": "the prefix `f`",
    "if_ternary": "a space or a new line in front of `if`",
    "var_swap": "the first name on the right side",
    "indent_for": "a `for` line or an assignment",
    "lambda_func": "`lambda` or `def`",
    "if_equals": "`if` in front or not",
    "enumerate_range": "`, ` or `_`: two loop variables or one",
    "var_if": "`if x ==` or `x =`",
    "while_return_true": "`while` or `return`",
}


def run(*arguments):
    return subprocess.run([sys.argv[1], *arguments], check=True, capture_output=True, text=True).stdout


def code(text):
    return "`%s`" % text.replace("\n", "⏎")


print("| task | A and B differ in | prompt A → target | prompt B → target |")
print("|---|---|---|---|")
for name in run("--list").split():
    # seeds are tried until both prompts are short: the table should be readable
    for seed in range(1, 40):
        text = run(name, "--pairs", "1", "--seed", str(seed))
        sides = re.findall(r"^--- .*\n((?:.|\n)*?)<<<((?:.|\n)*?)>>>$", text, re.MULTILINE)
        (a, target_a), (b, target_b) = sides
        same = 0
        while a[same] == b[same]:
            same += 1
        start = a.rfind("\n", 0, same) + 1
        if name in ("class_init", "else_elif"):  # unreadable without the line in front
            start = a.rfind("\n", 0, start - 1) + 1
        if max(len(a), len(b)) - start <= 60:
            break
    print("| %s | %s | %s → %s | %s → %s |" % (name, DIFFERS[name], code(a[start:]), code(target_a),
                                              code(b[start:]), code(target_b)))
