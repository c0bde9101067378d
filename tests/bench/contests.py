"""What the bench compares. A contest opens several sides, which then take turns; each line sets the time of one side beside another's and names what is asked of the ratio and of the share of the limit.

A side is a number of seconds, or PROGRAM:JOB with a job of measure.c or peers.py. The program is `ours`, `first`
(ours: what its first run takes longer than the best), `avx2` (ours with SPARSENET_ISA=avx2), `torch` or
`scipy` (both peers.py)."""
from dataclasses import dataclass, field


@dataclass
class Line:
    side: str
    peer: str = None
    asked: float = None        # least time of peer / time of side
    asked_share: float = None  # least share of the limit
    memory: bool = False       # bytes instead of seconds


@dataclass
class Contest:
    group: str
    name: str
    sides: dict
    lines: list
    fresh: bool = False  # processes of its own: memory is measured, and the first run is a first one
    threads: dict = field(default_factory=dict)  # of a side; 1 where absent


SHAPES = [(4096, 1024), (1024, 256), (8192, 2048)]
DENSITIES = ["1/4", "1/16", "1/64", "1/256", "1/1000"]
# share of the FMA peak asked at 1/4, 1/16, 1/64
SHARES = {"forward": [.42, .31, .25], "transposed": [.42, .27, .17], "gradient": [.33, .26, .17]}
NAMES = {"forward": "forward", "transposed": "dX", "gradient": "dW on the support"}
AVX2 = .7         # of what AVX-512 does
FLOOR = 1 / 1.5   # of the time that input and output alone take, below 1/64


def share_asked(kernel, density):
    return dict(zip(DENSITIES, SHARES[kernel])).get(density)


def products(kernel, tokens):
    for density in DENSITIES:
        for rows, cols in SHAPES:
            shape = f"rows={rows} cols={cols} tokens={tokens}"
            sparse, light = f"{shape} density={density}", density in DENSITIES[3:]
            ins, outs = (rows, cols) if kernel == "transposed" else (cols, rows)
            if kernel == "gradient":
                ins, outs = rows + cols, 0
            floor = f"ours:floor tokens={tokens} reads={ins} writes={outs}"
            sides = {"ours": f"ours:{kernel} {sparse}", "avx2": f"avx2:{kernel} {sparse}",
                     "input and output": floor, "input and output, streaming": floor + " streaming=1"}
            lines = []
            if kernel == "forward":
                sides["torch CSR"] = f"torch:csr {sparse}"
                sides["libxsmm spmdm"] = f"ours:spmdm {sparse}"
                lines += [Line("ours", "torch CSR", 6), Line("ours", "libxsmm spmdm", 1.3)]
            elif kernel == "transposed":
                sides["torch CSR"] = f"torch:csr {sparse} transposed=1"
                lines.append(Line("ours", "torch CSR"))
            else:
                sides["libxsmm dense dW"] = f"ours:gradient {shape}"
                asked = {"1/4": 1.6, "1/64": 12}.get(density)
                lines.append(Line("ours", "libxsmm dense dW", asked))
                if (rows, cols) == SHAPES[0] and density in DENSITIES[:3]:
                    sides["torch sampled_addmm"] = f"torch:sampled {sparse}"
                    lines.append(Line("ours", "torch sampled_addmm"))
            lines[0].asked_share = share_asked(kernel, density)
            lines.append(Line("ours", "input and output", FLOOR if light else None))
            if outs:
                lines.append(Line("ours", "input and output, streaming", FLOOR if light else None))
            else:
                del sides["input and output, streaming"]
            lines.append(Line("avx2", "ours", AVX2))
            yield Contest("products", f"{NAMES[kernel]} {cols} -> {rows}, {density}", sides, lines)


def dense_products(tokens):
    for rows, cols in SHAPES:
        shape = f"rows={rows} cols={cols} tokens={tokens}"
        yield Contest("products", f"dense forward {cols} -> {rows}",
                      {"ours (libxsmm)": f"ours:forward {shape}", "OpenBLAS": f"ours:openblas {shape}"},
                      [Line("ours (libxsmm)", "OpenBLAS", 1.05)])


def selections():
    for rows, cols in [(4096, 1024), (8192, 2048)]:
        for minimum, asked in ((0, 15), (4, 10)):
            job = f"select rows={rows} cols={cols} density=1/64 minimum={minimum}"
            name = f"top-k of {rows * cols >> 20}M weights" + (", 4 of each neuron" if minimum else "")
            yield Contest("selection", name, {"ours": f"ours:{job}", "torch.topk": f"torch:{job}"},
                          [Line("ours", "torch.topk", asked)])
    for width in (1024, 4096):
        job = f"topk width={width} tokens=1024"
        yield Contest("selection", f"AbsTopK 1/4 of {width} channels",
                      {"forward": f"ours:{job}", "forward + backward": f"ours:{job} backward=1",
                       "torch.topk": f"torch:{job}", "torch.topk, backward": f"torch:{job} backward=1",
                       "avx2": f"avx2:{job}"},
                      [Line("forward", "torch.topk", 8), Line("forward + backward", "forward", 1 / 1.5),
                       Line("forward + backward", "torch.topk, backward"),
                       Line("avx2", "forward", AVX2)])


def attention():
    for length in (256, 64):
        job = f"attention sequence={length} heads=64"
        yield Contest("attention", f"64 heads, {length} tokens",
                      {"forward": f"ours:{job}", "backward": f"ours:{job} backward=1",
                       "torch forward": f"torch:{job}", "torch backward": f"torch:{job} backward=1",
                       "avx2 forward": f"avx2:{job}", "avx2 backward": f"avx2:{job} backward=1"},
                      [Line("forward", "torch forward", 8), Line("backward", "torch backward", 6),
                       Line("avx2 forward", "forward", AVX2), Line("avx2 backward", "backward", AVX2)])


def fusions(tokens):
    for whole, name in ((0, "norm, AbsTopK, product"),
                        (1, "norm, AbsTopK, product, GELU, AbsTopK, product")):
        for density in DENSITIES[:3]:
            job = f"ours:fusion whole={whole} tokens={tokens} density={density}"
            yield Contest("fusion", f"{name}, {density}",
                          {"panel by panel": job, "step by step": job + " steps=1"},
                          [Line("panel by panel", "step by step")])


def one_token():
    for rows, cols in [(4096, 1024), (1024, 1024), (8192, 2048)]:
        for density in DENSITIES[:3]:
            shape = f"rows={rows} cols={cols} density={density}"
            yield Contest("one token", f"{cols} -> {rows}, {density}",
                          {"rows": f"ours:token {shape}", "reading": f"ours:token_read {shape}",
                           "columns, 1/4 of the inputs": f"ours:token {shape} share=1/4",
                           "reading columns": f"ours:token_read {shape} share=1/4",
                           "scipy CSR": f"scipy:scipy_vector {shape}", "avx2": f"avx2:token {shape}"},
                          [Line("rows", "reading", .85), Line("rows", "scipy CSR"),
                           Line("columns, 1/4 of the inputs", "reading columns"),
                           Line("columns, 1/4 of the inputs", "scipy CSR"), Line("avx2", "rows", AVX2)])


def whole_model(quick):
    sequences, pairs, length = (1, 8, 32) if quick else (4, 64, 128)
    batch, tokens = f"batch={sequences} tokens=256", f"{sequences} x 256 tokens"
    works = [  # name, job of the peer, settings, our jobs and what is asked of each
        (f"logits of {tokens}", "forward", batch, {"forward": ("forward", 14)}),
        (f"gradients of {tokens}", "backward", batch, {"forward + backward": ("backward", 14)}),
        (f"a training step on {tokens}", "step", batch,
         {"dense gradients": ("step", 4), "on the support": ("step-support", 14)}),
        (f"{length} tokens one by one", "generate", f"tokens={length}", {"generate": ("generate", 10)}),
        (f"a pruning step, {pairs} pairs of 32 tokens", "prune", f"tokens=32 pairs={pairs}",
         {"prune": ("prune", 12)})]
    def sides(what, settings, ours):
        return ({side: f"ours:model what={job} {settings}" for side, (job, _) in ours.items()},
                {"torch": f"torch:model what={what} {settings}"})

    for name, what, settings, ours in works:
        mine, torch = sides(what, settings, ours)
        yield Contest("model", name, {**mine, **torch},
                      [Line(side, "torch", asked) for side, (_, asked) in ours.items()] +
                      [Line(side, "torch", 10, memory=True) for side in ours], fresh=True)
    for name, what, settings, ours in [] if quick else works[1:3]:
        mine, torch = sides(what, settings, {side: job for side, job in ours.items() if job[0] != "step"})
        yield Contest("model", f"{name}, keeping all", {**{s: f"{job} recompute=0" for s, job in mine.items()}, **torch},
                      [Line(side, "torch", 14) for side in mine] +
                      [Line(side, "torch", memory=True) for side in mine], fresh=True)
    yield Contest("model", "forward on AVX2",
                  {"avx2": f"avx2:model {batch}", "avx512": f"ours:model {batch}"},
                  [Line("avx2", "avx512", AVX2)])
    for name, what, settings, ours in works:
        if what == "generate":  # one token runs on one thread
            continue
        mine, torch = sides(what, settings, ours)
        twice = {f"{side}, {n}": job for side, job in mine.items() for n in (1, 2)}
        yield Contest("model, 2 threads", name, {**twice, **torch},
                      [Line(f"{side}, 2", "torch", asked) for side, (_, asked) in ours.items()] +
                      [Line(f"{side}, 2", f"{side}, 1", 1.8) for side in ours], fresh=True,
                      threads={"torch": 2, **{f"{side}, 2": 2 for side in ours}})


def searching(quick):
    """Real prompts of single_double_quote, some 35 tokens each of which no other has."""
    where = "d_model 128, 2 layers"
    if quick:
        return
    yield Contest("circuits", f"learning masks, 150 steps of 32 pairs, {where}",
                  {"ours": "ours:circuit what=learn", "allowed": "2"}, [Line("ours", "allowed", 1)])
    yield Contest("circuits", f"a search of 12 runs, {where}", {"ours": "ours:circuit what=search", "allowed": "30"},
                  [Line("ours", "allowed", 1)])
    # twenty of them take ten minutes
    yield Contest("circuits", f"a search of 12 runs and a circuit, {where}, 2 threads",
                  {"ours": "ours:circuit what=cut", "allowed": "30"}, [Line("ours", "allowed", 1)],
                  threads={"ours": 2})


def starting():
    yield Contest("start-up", "opening a context", {"ours": "ours:context", "allowed": "0.001"},
                  [Line("ours", "allowed", 1)])
    yield Contest("start-up", "generated code for a first forward",
                  {"first": "first:model what=first layers=1 batch=1", "allowed": "0.05"},
                  [Line("first", "allowed", 1)], fresh=True)


# nonzeros of 256 at 1/4 in matrices and embeddings, at any width
FIXED = {256: "1/4", 512: "1/16", 1024: "1/64", 2048: "1/256"}


def costs(quick):
    """Time by density at one width, and by width at one number of nonzeros."""
    layers = "layers=1" if quick else "layers=8"
    for density in DENSITIES:
        jobs = {"forward": f"ours:model {layers} density={density}",
                "step on the support": f"ours:model what=step-support {layers} density={density}",
                "step with dense gradients": f"ours:model what=step {layers} density={density}"}
        yield Contest("cost by density", density, jobs, [Line(name) for name in jobs])
    sides, lines = {}, []
    for width, density in FIXED.items():
        for name, what in (("forward", "forward"), ("step on the support", "step-support")):
            job = f"ours:model what={what} {layers} width={width} density={density}"
            sides[f"{name}, width {width}"] = job
            lines.append(Line(f"{name}, width {width}", None if width == 256 else f"{name}, width 256",
                              None if width == 256 else 256 / width))
    yield Contest("cost by width", "nonzeros fixed", sides, lines)


def contests(quick):
    tokens = 512 if quick else 4096
    yield from whole_model(quick)
    for kernel in SHARES:
        yield from products(kernel, tokens)
    yield from dense_products(tokens)
    yield from selections()
    yield from attention()
    yield from fusions(tokens)
    yield from one_token()
    yield from searching(quick)
    yield from starting()
    yield from costs(quick)
