#!/usr/bin/env python3
"""task_syntax.py TASK_TEXT: what the generator writes is right Python, prompts with their continuation.

Names stand for nothing, so only the grammar is asked. A prompt may end inside a try that has no except yet."""
import ast
import subprocess
import sys



def closed(text):
    """The text with its last line's string, parenthesis and block closed: a task is the same in all of them."""
    body, line = text.rstrip("\n").rsplit("\n", 1)
    for quote in "'\"":
        if line.count(quote) % 2:
            line += quote
    if line.count("(") > line.count(")"):
        line += ")"
    if line.lstrip().startswith("with ") and not line.endswith(":"):
        line += ": x"
    return body + "\n" + line + "\n"


texts = subprocess.run([sys.argv[1], "60"], check=True, capture_output=True, text=True).stdout.split("\0")
n_wrong = 0
for text in texts[:-1]:
    start = max(text.rfind("\ntry:\n"), text.rfind(" try:\n"))
    if start >= 0 and "except" not in text[start:]:
        text = text[:start + 1] + "if 1:" + text[start + 5:]
    try:
        ast.parse(closed(text))
    except SyntaxError as error:
        n_wrong += 1
        if n_wrong <= 12:
            print("%s\n^^^ %s\n" % (text, error))
print("%d texts, %d of them wrong" % (len(texts) - 1, n_wrong))
sys.exit(n_wrong != 0 or len(texts) < 5000)
