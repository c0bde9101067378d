#!/usr/bin/env python3
"""Generation as the authors' code computes it, rewritten in PyTorch with a key/value cache: dense weights
(1 in 64 nonzero all the same), torch.topk for AbsTopK, one token at a time. Set beside tests/bench/generate.

    generate_peer.py [--width 1024] [--layers 8] [--density 1/64] [--tokens 256] [--runs 2] [--threads 1]

Prints tokens per second, by wall clock and by processor time, and torch's version and BLAS."""
import argparse
import time
from fractions import Fraction

import torch

VOCABULARY, D_HEAD, POSITIONS, SHARE = 2048, 16, 32, 0.25


def sparse_weight(rows, cols, density):
    weight = torch.randn(rows, cols) / (density * cols)
    return weight * (torch.rand(rows, cols) < density)


def abs_topk(x):
    k = int(SHARE * x.shape[-1])
    kept = torch.topk(x.abs(), k, sorted=False).indices
    return torch.zeros_like(x).scatter_(-1, kept, x.gather(-1, kept))


def rms_norm(x, weight):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 2**-23) * weight


class Model:
    def __init__(self, width, n_layers, density, n_tokens):
        weight = lambda rows, cols: sparse_weight(rows, cols, density)
        self.width, self.heads = width, width // D_HEAD
        self.layers = [
            dict(c_attn=weight(3 * width, width + POSITIONS), attn_proj=weight(width, width),
                 c_fc=weight(4 * width, width + POSITIONS), mlp_proj=weight(width, 4 * width),
                 ln_1=torch.ones(width), ln_2=torch.ones(width), ln_p1=torch.ones(POSITIONS),
                 ln_p2=torch.ones(POSITIONS), sink=torch.zeros(self.heads),
                 keys=torch.zeros(self.heads, n_tokens, D_HEAD),
                 values=torch.zeros(self.heads, n_tokens, D_HEAD))
            for _ in range(n_layers)
        ]
        self.wte, self.lm_head = weight(VOCABULARY, width), weight(VOCABULARY, width)
        self.wpe, self.bigram = torch.randn(n_tokens, POSITIONS), torch.rand(VOCABULARY, VOCABULARY) * 0.02
        self.ln_f = torch.ones(width)

    def attend(self, layer, x, t):
        q, k, v = (abs_topk(part) for part in (layer["c_attn"] @ x).split(self.width))
        layer["keys"][:, t] = k.view(self.heads, D_HEAD)
        layer["values"][:, t] = v.view(self.heads, D_HEAD)
        scores = torch.einsum("hd,htd->ht", q.view(self.heads, D_HEAD), layer["keys"][:, :t + 1])
        scores = torch.cat([scores / D_HEAD**0.5, layer["sink"][:, None]], 1)
        weights = torch.softmax(scores, 1)[:, :-1]
        return torch.einsum("ht,htd->hd", weights, layer["values"][:, :t + 1]).reshape(-1)

    def step(self, token, t):
        x = self.wte[token].clone()
        for layer in self.layers:
            read = lambda norm, position: abs_topk(
                torch.cat([rms_norm(x, layer[norm]), rms_norm(self.wpe[t], layer[position])]))
            x = x + abs_topk(layer["attn_proj"] @ self.attend(layer, read("ln_1", "ln_p1"), t))
            hidden = abs_topk(torch.nn.functional.gelu(layer["c_fc"] @ read("ln_2", "ln_p2")))
            x = x + abs_topk(layer["mlp_proj"] @ hidden)
        return self.lm_head @ rms_norm(x, self.ln_f) + self.bigram[token]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--density", type=Fraction, default=Fraction(1, 64))
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    with open("/proc/self/maps") as maps:
        blas = sorted({line.split("/")[-1].strip() for line in maps if "blas" in line or "mkl_" in line})
    print(f"torch {torch.__version__}, {', '.join(blas)}, {arguments.threads} thread")
    with torch.no_grad():
        model = Model(arguments.width, arguments.layers, float(arguments.density), arguments.tokens)
        wall = processor = 1e30
        for _ in range(arguments.runs):
            token, started, used = 1, time.perf_counter(), time.process_time()
            for t in range(arguments.tokens):
                logits = model.step(token, t)
                token = int(torch.multinomial(torch.softmax(logits, 0), 1))
            wall = min(wall, (time.perf_counter() - started) / arguments.tokens)
            processor = min(processor, (time.process_time() - used) / arguments.tokens)
    print(f"{1 / wall:.1f} tokens/s by the clock, {1 / processor:.1f} by processor time "
          f"({1e6 * processor:.0f} us a token)")


main()
