#!/usr/bin/env python3
"""The circuit with which a trained model closes a string, from Python: quote_circuit.py MODEL TOKENIZER OUT.

`make demo` writes out/model.safetensors and out/tokenizer. Prints what the model makes of a line, finds the
circuit, prints it with what it does, and writes OUT.svg, OUT.json and OUT.html, a page for the browser."""
import argparse
import sys

import sparsenet as sn


def show_progress(stage, done, total, value):
    if sys.stderr.isatty():
        print(f"\r{stage} {done} of {total}: {value:.4g}\033[K", end="", file=sys.stderr)


def complete(context, model, tokenizer, prompt, n):
    """The prompt and n tokens more, the likeliest at each place."""
    with sn.Generator(context, model, temperature=0) as generator:
        generator.append(tokenizer.encode(prompt))
        more = [token for token, _ in zip(generator, range(n))]
    return prompt + b"".join(tokenizer.token(one) for one in more).decode(errors="replace")


def last_token(context, model, tokenizer, task):
    """How often the right target has the larger logit at the end of prompt A, as the session computes it."""
    prompts, right = [task[i] for i in range(len(task))], 0
    with sn.Session(context, model, backward=0) as session:
        session.forward([a for a, *_ in prompts])
        ends, last = [], -1
        for a, *_ in prompts:
            last += len(a)
            ends.append(last)
        logits = session.logits()
        for end, (_, _, target_a, target_b) in zip(ends, prompts):
            right += logits[end, target_a] > logits[end, target_b]
    return right / len(prompts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "tokenizer", "out"):
        parser.add_argument(name)
    parser.add_argument(
        "--task", default="single_double_quote", choices=sn.python_tasks(), metavar="NAME"
    )
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--steps", type=int, default=150, help="of learning the masks")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()

    with sn.Context(threads=given.threads, progress=show_progress) as context:
        model = sn.Model.load(context, given.model)
        tokenizer = sn.Tokenizer(context, given.tokenizer)
        print(repr(complete(context, model, tokenizer, "for i in", 8)))

        text = sn.Corpus(context)
        text.add_idioms(500_000)
        text.tokenize(tokenizer)
        means = sn.Means(context, model, text)
        task = sn.Task.python(context, tokenizer, given.task, given.pairs)
        print(f"{task.name}: {last_token(context, model, tokenizer, task):.1%} of prompts A right")

        circuit = sn.Circuit.extract(context, model, means, task, steps=given.steps)
        circuit.trace(means, tokenizer, task)
        print(f"{len(circuit.nodes)} nodes, {len(circuit.edges)} edges")
        for source, target, weight in sorted(circuit.edges, key=lambda edge: -abs(edge[2])):
            print(f"  {weight:+.3f}  {source} -> {target}")
        print(circuit.evaluate(means, task))
        for words, _, contribution in circuit.paths[:4]:
            print(f"  {contribution:+.2f}  {words}")

        evidence = sn.Evidence(context, circuit, text)
        circuit.write(given.out + ".json")
        circuit.write(given.out + ".svg")
        circuit.write(given.out + ".html", tokenizer=tokenizer, task=task, evidence=evidence)


if __name__ == "__main__":
    try:
        main()
    except (sn.Error, KeyboardInterrupt) as error:
        sys.exit(f"quote_circuit.py: {type(error).__name__}: {error}")
