#!/usr/bin/env python3
"""The peers of the bench: PyTorch and SciPy, over the line protocol that the head of measure.c describes.

    peers.py                        reads commands
    peers.py JOB [key=value ...]    one job by hand: the best time of three runs

The whole model is a rewrite in PyTorch of how the authors' code computes: dense products with weights
that are mostly zero, torch.topk for AbsTopK and, after each step of a dense AdamW, for the weights."""
import ctypes
import os
import sys
import time
import warnings
from fractions import Fraction

import numpy
import scipy.sparse
import torch

VOCABULARY, D_HEAD, POSITIONS, SHARE, MINIMUM = 2048, 16, 32, 0.25, 4


class Job:
    """What it does stands in run(); times are per unit and in processor time unless `wall`."""
    units, operations = 1, 0

    def prepare(self):
        pass

    def measure(self, seconds):
        clock = time.perf_counter if self.wall else time.process_time
        best, total = 1e30, 0
        while True:
            self.prepare()
            start = clock()
            self.run()
            used = clock() - start
            best, total = min(best, used), total + used
            if total >= seconds:
                return best / self.units


def random_csr(rows, cols, density):
    generator = numpy.random.default_rng(1)
    kept = generator.random((rows, cols), dtype=numpy.float32) < density
    return scipy.sparse.csr_matrix(kept * generator.standard_normal((rows, cols), dtype=numpy.float32))


def torch_csr(matrix):
    return torch.sparse_csr_tensor(torch.from_numpy(matrix.indptr.astype(numpy.int64)),
                                   torch.from_numpy(matrix.indices.astype(numpy.int64)),
                                   torch.from_numpy(matrix.data), matrix.shape)


# -------------------------------------------------------------------------------------- kernels

class Csr(Job):
    """torch's CSR x dense; transposed: of the transposed matrix."""

    def __init__(self, rows=4096, cols=1024, tokens=4096, density=0.25, transposed=0):
        matrix = random_csr(int(rows), int(cols), density)
        self.matrix = torch_csr(matrix.T.tocsr() if transposed else matrix)
        self.x = torch.randn(self.matrix.shape[1], int(tokens))

    def run(self):
        return self.matrix @ self.x


class Sampled(Job):
    """torch's sampled_addmm: the gradient on the support."""

    def __init__(self, rows=4096, cols=1024, tokens=4096, density=0.25):
        self.matrix = torch_csr(random_csr(int(rows), int(cols), density))
        self.dy, self.x = torch.randn(int(rows), int(tokens)), torch.randn(int(tokens), int(cols))
        self.run()

    def run(self):
        return torch.sparse.sampled_addmm(self.matrix, self.dy, self.x, beta=0)


class ScipyVector(Job):
    def __init__(self, rows=4096, cols=1024, density=1 / 16):
        self.matrix = random_csr(int(rows), int(cols), density)
        self.x = numpy.random.default_rng(2).standard_normal(int(cols), dtype=numpy.float32)
        self.units = 2000000 // self.matrix.nnz + 1

    def run(self):
        for _ in range(self.units):
            self.matrix @ self.x


def keep_largest(weight, k, minimum):
    """1 where one of the k largest magnitudes is, after `minimum` of every row have been reserved."""
    magnitude = weight.abs()
    if minimum:
        reserved = torch.topk(magnitude, minimum, dim=1, sorted=False).indices
        magnitude.scatter_(1, reserved, 1e10)
    kept = torch.topk(magnitude.flatten(), k, sorted=False).indices
    return torch.zeros(weight.numel()).scatter_(0, kept, 1).view_as(weight)


class Select(Job):
    def __init__(self, rows=4096, cols=1024, density=1 / 64, minimum=0):
        self.weight, self.minimum = torch.randn(int(rows), int(cols)), int(minimum)
        self.k = int(density * self.weight.numel())

    def run(self):
        return keep_largest(self.weight, self.k, self.minimum)


def abs_topk(x):
    kept = torch.topk(x.abs(), int(SHARE * x.shape[-1]), dim=-1, sorted=False).indices
    return torch.zeros_like(x).scatter(-1, kept, x.gather(-1, kept))


class TopK(Job):
    def __init__(self, width=1024, tokens=1024, backward=0):
        self.x = torch.randn(int(tokens), int(width), requires_grad=bool(backward))
        self.gradient = torch.randn(int(tokens), int(width)) if backward else None

    def run(self):
        y = abs_topk(self.x)
        if self.gradient is not None:
            torch.autograd.grad(y, self.x, self.gradient)


def attend(q, k, v, sink):
    """batch x heads x tokens x d_head each; sink: one logit per head, in the denominator alone."""
    n = q.shape[2]
    scores = (q @ k.transpose(2, 3)) * D_HEAD**-0.5
    future = torch.ones(n, n, dtype=torch.bool).triu(1)
    scores = scores.masked_fill(future, float("-inf"))
    sinks = sink.view(1, -1, 1, 1).expand(q.shape[0], -1, n, 1)
    return torch.softmax(torch.cat([scores, sinks], 3), 3)[..., :-1] @ v


class Attention(Job):
    def __init__(self, sequence=256, heads=64, backward=0):
        shape, self.backward = (1, int(heads), int(sequence), D_HEAD), int(backward)
        self.inputs = [torch.randn(shape, requires_grad=bool(backward)) for _ in range(3)]
        self.inputs.append(torch.zeros(int(heads), requires_grad=bool(backward)))
        self.gradient = torch.randn(shape)

    def prepare(self):
        if self.backward:
            self.y = attend(*self.inputs)

    def run(self):
        if self.backward:
            torch.autograd.grad(self.y, self.inputs, self.gradient)
        else:
            attend(*self.inputs)


# ---------------------------------------------------------------------------------- whole model

def rms_norm(x, gain):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 2**-23) * gain


class HardGate(torch.autograd.Function):
    """Forward a step, backward a sigmoid's derivative."""

    @staticmethod
    def forward(context, tau):
        context.save_for_backward(tau)
        return (tau > 0).float()

    @staticmethod
    def backward(context, gradient):
        s = torch.sigmoid(context.saved_tensors[0])
        return gradient * s * (1 - s)


class Network:
    """Weights by name; gates (None, or tau by site): x -> m x, mean ablation with means of zero."""

    def __init__(self, width, layers, density, block):
        def weight(rows, cols):
            kept = torch.rand(rows, cols) < density
            return torch.randn(rows, cols) / (density * cols) * kept

        self.width, self.layers, self.gates, self.density = width, layers, None, density
        self.weights, self.vectors = {}, {}
        for layer in range(layers):
            self.weights[f"{layer}.c_attn"] = weight(3 * width, width + POSITIONS)
            self.weights[f"{layer}.attn_proj"] = weight(width, width)
            self.weights[f"{layer}.c_fc"] = weight(4 * width, width + POSITIONS)
            self.weights[f"{layer}.mlp_proj"] = weight(width, 4 * width)
            for name, size in (("ln_1", width), ("ln_2", width), ("ln_p1", POSITIONS),
                               ("ln_p2", POSITIONS)):
                self.vectors[f"{layer}.{name}"] = torch.ones(size)
            self.vectors[f"{layer}.sink"] = torch.zeros(width // D_HEAD)
            for name, size in (("c_attn_bias", 3 * width), ("attn_proj_bias", width),
                               ("c_fc_bias", 4 * width), ("mlp_proj_bias", width)):
                self.vectors[f"{layer}.{name}"] = torch.zeros(size)
        self.weights["wte"] = weight(VOCABULARY, width)
        self.weights["lm_head"] = weight(VOCABULARY, width)
        self.bigram = torch.rand(VOCABULARY, VOCABULARY) * 0.02
        self.wpe = torch.randn(block, POSITIONS)
        self.vectors["ln_f"] = torch.ones(width)

    def parameters(self):
        return [*self.weights.values(), *self.vectors.values(), self.bigram]

    def gate(self, site, x):
        return x if self.gates is None else HardGate.apply(self.gates[site]) * x

    def sparse(self, site, x):
        return self.gate(site, abs_topk(x))

    def linear(self, name, x):
        return torch.nn.functional.linear(x, self.weights[name], self.vectors[name + "_bias"])

    def read(self, site, norm, position, x):
        at = rms_norm(self.wpe[:x.shape[1]], self.vectors[position]).expand(x.shape[0], -1, -1)
        return self.sparse(site, torch.cat([rms_norm(x, self.vectors[norm]), at], 2))

    def attention(self, l, x):
        batch, n, _ = x.shape
        parts = self.linear(f"{l}.c_attn", x).split(self.width, 2)
        q, k, v = (self.sparse(f"{l}.{name}", part).view(batch, n, -1, D_HEAD).transpose(1, 2)
                   for name, part in zip("qkv", parts))
        y = attend(q, k, v, self.vectors[f"{l}.sink"]).transpose(1, 2).reshape(batch, n, -1)
        return self.sparse(f"{l}.attn_out", self.linear(f"{l}.attn_proj", y))

    def mlp(self, l, x):
        hidden = torch.nn.functional.gelu(self.linear(f"{l}.c_fc", x))
        written = self.linear(f"{l}.mlp_proj", self.sparse(f"{l}.post", hidden))
        return self.sparse(f"{l}.mlp_out", written)

    def logits(self, tokens, last_only=False):
        x = self.weights["wte"][tokens]
        for l in range(self.layers):
            x = x + self.attention(l, self.read(f"{l}.attn_in", f"{l}.ln_1", f"{l}.ln_p1", x))
            x = x + self.mlp(l, self.read(f"{l}.mlp_in", f"{l}.ln_2", f"{l}.ln_p2", x))
        if last_only:
            x, tokens = x[:, -1:], tokens[:, -1:]
        x = torch.nn.functional.linear(rms_norm(x, self.vectors["ln_f"]), self.weights["lm_head"])
        return x + self.bigram[tokens]

    # one token with a cache of keys and values
    def attend_one(self, l, x, t, keys, values):
        q, k, v = (abs_topk(part).view(-1, D_HEAD)
                   for part in self.linear(f"{l}.c_attn", x).split(self.width))
        keys[:, t], values[:, t] = k, v
        scores = torch.einsum("hd,htd->ht", q, keys[:, :t + 1]) * D_HEAD**-0.5
        scores = torch.cat([scores, self.vectors[f"{l}.sink"][:, None]], 1)
        y = torch.einsum("ht,htd->hd", torch.softmax(scores, 1)[:, :-1], values[:, :t + 1])
        return abs_topk(self.linear(f"{l}.attn_proj", y.reshape(-1)))

    def one(self, token, t, cache):
        x = self.weights["wte"][token]
        for l in range(self.layers):
            def read(norm, position):
                at = rms_norm(self.wpe[t], self.vectors[f"{l}.{position}"])
                return abs_topk(torch.cat([rms_norm(x, self.vectors[f"{l}.{norm}"]), at]))
            x = x + self.attend_one(l, read("ln_1", "ln_p1"), t, *cache[l])
            hidden = torch.nn.functional.gelu(self.linear(f"{l}.c_fc", read("ln_2", "ln_p2")))
            x = x + abs_topk(self.linear(f"{l}.mlp_proj", abs_topk(hidden)))
        return self.weights["lm_head"] @ rms_norm(x, self.vectors["ln_f"]) + self.bigram[token]


class Model(Job):
    def __init__(self, what="forward", width=1024, layers=8, density=1 / 64, batch=4, tokens=256,
                 pairs=64):
        self.network = Network(int(width), int(layers), density, int(tokens))
        self.run = getattr(self, what)
        self.length = int(tokens)
        sequences = 2 * int(pairs) if what == "prune" else int(batch)
        self.tokens = torch.randint(VOCABULARY, (sequences, int(tokens)))
        self.targets = torch.randint(VOCABULARY, (sequences * int(tokens),))
        if what in ("backward", "step"):
            for parameter in self.network.parameters():
                parameter.requires_grad_()
        if what == "step":
            self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-3, betas=(0.9, 0.95),
                                               eps=0.1, weight_decay=0.1)
            for parameter in self.network.parameters():  # the moments are there before the first step
                parameter.grad = torch.zeros_like(parameter)
            self.optimizer.step()
        if what == "prune":
            self.open_prune()

    @torch.no_grad()
    def forward(self):
        return self.network.logits(self.tokens)

    def backward(self):
        for parameter in self.network.parameters():
            parameter.grad = None
        logits = self.network.logits(self.tokens).view(-1, VOCABULARY)
        torch.nn.functional.cross_entropy(logits, self.targets).backward()

    @torch.no_grad()
    def mask(self, name, weight):
        """The k largest of each matrix; at least MINIMUM of each neuron that it is the weight of."""
        by_column = name.endswith("_proj")
        matrix, minimum = weight.T if by_column else weight, MINIMUM if name[0].isdigit() else 0
        k = int(self.network.density * weight.numel())
        kept = keep_largest(matrix.contiguous(), k, min(minimum, k // matrix.shape[0]))
        weight *= kept.T if by_column else kept

    def step(self):
        self.backward()
        with torch.no_grad():
            gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
            squares = sum(float(g.pow(2).sum()) for g in gradients)
            rms = (squares / sum(g.numel() for g in gradients))**0.5
            for gradient in gradients:
                gradient /= rms + 1e-5
        self.optimizer.step()
        for name, weight in self.network.weights.items():
            self.mask(name, weight)

    @torch.no_grad()
    def generate(self):
        heads, token = self.network.width // D_HEAD, 1
        cache = [(torch.zeros(heads, self.length, D_HEAD), torch.zeros(heads, self.length, D_HEAD))
                 for _ in range(self.network.layers)]
        for t in range(self.length):
            logits = self.network.one(token, t, cache)
            token = int(torch.multinomial(torch.softmax(logits, 0), 1))

    def open_prune(self):
        width, sites = self.network.width, {}
        for l in range(self.network.layers):
            sites.update({f"{l}.attn_in": width + POSITIONS, f"{l}.q": width, f"{l}.k": width,
                          f"{l}.v": width, f"{l}.attn_out": width, f"{l}.mlp_in": width + POSITIONS,
                          f"{l}.post": 4 * width, f"{l}.mlp_out": width})
        self.network.gates = {site: (0.1 + 0.01 * torch.randn(n)).requires_grad_()
                              for site, n in sites.items()}
        self.taus = list(self.network.gates.values())
        self.optimizer = torch.optim.AdamW(self.taus, lr=0.01, betas=(0.9, 0.95), weight_decay=1e-3)

    def prune(self):
        self.optimizer.zero_grad()
        logits = self.network.logits(self.tokens, last_only=True)[:, 0]
        difference = logits[:, 3] - logits[:, 4]
        sign = torch.ones_like(difference)
        sign[1::2] = -1
        loss = torch.nn.functional.softplus(-sign * difference).mean()
        loss = loss + 1e-4 * sum(HardGate.apply(tau).sum() for tau in self.taus)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.taus, 1.0)
        self.optimizer.step()
        with torch.no_grad():
            for tau in self.taus:
                tau.clamp_(-1, 1)


# -------------------------------------------------------------------------------------- serving

JOBS = {"csr": Csr, "sampled": Sampled, "scipy_vector": ScipyVector, "select": Select, "topk": TopK,
        "attention": Attention, "model": Model}


def open_job(name, words):
    settings = dict(word.split("=", 1) for word in words)
    threads = int(settings.pop("threads", 1))
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    number = lambda text: text if text[0].isalpha() else float(Fraction(text))
    job = JOBS[name](**{key: number(value) for key, value in settings.items()})
    job.wall = threads > 1
    return job


def memory():
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return " ".join(str(1024 * int(fields[name].split()[0])) for name in ("VmRSS", "VmHWM"))


def blas():
    with open("/proc/self/maps") as maps:
        files = {os.path.realpath(line.split()[-1]) for line in maps if "blas" in line or "mkl_" in line}
    names = {os.path.basename(file) for file in files if "lapack" not in file}
    return ", ".join(sorted(name for name in names if name.startswith("lib"))) or "none"


def versions():
    return (f"torch {torch.__version__}; BLAS {blas()}; numpy {numpy.__version__}; "
            f"scipy {scipy.__version__}")


def answer(words, jobs):
    command = words[0]
    if command == "open":
        number = max(jobs, default=-1) + 1
        try:
            jobs[number] = open_job(words[1], words[2:])
        except Exception as problem:
            return f"no {problem}".replace("\n", " ")
        return f"ok {number} {jobs[number].units} 0 0 torch"
    if command == "run":
        return f"{jobs[int(words[1])].measure(float(words[2])):.9g}"
    if command == "close":
        del jobs[int(words[1])]
        return "ok"
    if command == "memory":
        return memory()
    if command == "forget":
        ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        return "ok"
    return versions() if command == "versions" else "no such command"


def main():
    warnings.simplefilter("ignore")
    if len(sys.argv) > 1:
        job = open_job(sys.argv[1], sys.argv[2:])
        print(versions())
        print(f"{min(job.measure(0) for _ in range(3)):.6f} s, memory {memory()}")
        return
    jobs = {}
    for line in sys.stdin:
        if line.split():
            print(answer(line.split(), jobs), flush=True)


main()
