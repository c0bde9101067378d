#!/usr/bin/env python3
"""Writes tests/data/torch/*: what torch.save makes of a small model and of plain values, in many forms.

Run with Debian's python3-torch (1.13): /usr/bin/python3 tests/data/make_torch.py
tests/test_torch.c computes the same numbers, so nothing but the files is kept.
"""
import collections
import io
import os
import zipfile

import torch

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch")
CONFIG = ('{"block_size":4,"vocab_size":9,"n_layer":1,"n_head":2,"d_model":6,"d_mlp":5,"rms_norm":true,'
          '"tied_unembed":true}\n')
SHAPES = [
    ("transformer.wte.weight", (9, 6)), ("transformer.wpe.weight", (4, 6)),
    ("transformer.h.0.ln_1.weight", (6,)),
    ("transformer.h.0.attn.c_attn.weight", (18, 6)), ("transformer.h.0.attn.c_attn.bias", (18,)),
    ("transformer.h.0.attn.c_proj.weight", (6, 6)), ("transformer.h.0.attn.c_proj.bias", (6,)),
    ("transformer.h.0.ln_2.weight", (6,)),
    ("transformer.h.0.mlp.c_fc.weight", (5, 6)), ("transformer.h.0.mlp.c_fc.bias", (5,)),
    ("transformer.h.0.mlp.c_proj.weight", (6, 5)), ("transformer.h.0.mlp.c_proj.bias", (6,)),
    ("transformer.ln_f.weight", (6,)), ("final_logits_bias", (9,)),
]


def number(t, i):
    """Element i of tensor t: a multiple of 1/8 that every float type holds, often zero."""
    return 0.0 if (i * 7 + t) % 3 == 0 else ((i * 37 + t * 11) % 63 - 31) / 8


def tensor(t, shape):
    n = 1
    for size in shape:
        n *= size
    return torch.tensor([number(t, i) for i in range(n)]).reshape(shape)


def state():
    return collections.OrderedDict((name, tensor(t, shape)) for t, (name, shape) in enumerate(SHAPES))


def save(name, value, **options):
    torch.save(value, os.path.join(HERE, name), **options)


def odd_state():
    """The same numbers in every form that a state dict may have them."""
    s = state()
    wte = s["transformer.wte.weight"]
    s["transformer.wte.weight"] = torch.nn.Parameter(wte)
    s["lm_head.weight"] = s["transformer.wte.weight"]  # one storage, two names
    both = torch.cat([tensor(1, (4, 6)), tensor(3, (18, 6))])  # two parameters in one storage
    s["transformer.wpe.weight"], s["transformer.h.0.attn.c_attn.weight"] = both[:4], both[4:]
    name = "transformer.h.0.attn.c_proj.weight"
    s[name] = s[name].t().contiguous().t()  # columns first
    name = "transformer.h.0.mlp.c_fc.weight"
    wide = torch.full((12, 14), float("nan"))
    wide[1:11:2, 2:14:2] = s[name]
    s[name] = wide[1:11:2, 2:14:2]  # strides 28 and 2 from element 16 on
    name = "transformer.h.0.mlp.c_proj.weight"
    dense = s[name]
    at = dense.nonzero()
    pick = torch.cat([at, at[::3], at[:1]]).flip(0).t()  # not in order, some places twice and thrice
    count = collections.Counter(map(tuple, pick.t().tolist()))
    values = torch.tensor([dense[r, c].item() / count[(r, c)] for r, c in pick.t().tolist()])
    s[name] = torch.sparse_coo_tensor(pick, values.double(), dense.shape)
    name = "transformer.h.0.mlp.c_proj.bias"
    s[name] = s[name].to_sparse()
    for name, kind in [("transformer.h.0.ln_1.weight", torch.float16), ("transformer.ln_f.weight", torch.bfloat16),
                       ("transformer.h.0.attn.c_attn.bias", torch.float64),
                       ("transformer.h.0.mlp.c_fc.bias", torch.bfloat16)]:
        s[name] = s[name].to(kind)
    s["transformer.h.0.attn.bias"] = torch.ones(4, 4).tril().bool().view(1, 1, 4, 4)  # a mask, passed over
    return s


def rename(path, old, new):
    """Replaces bytes of the pickle by as many others: torch without a GPU writes no location but cpu."""
    with zipfile.ZipFile(path) as archive:
        entries = [(item.filename, archive.read(item)) for item in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data.replace(old, new) if name.endswith("data.pkl") else data)


def values():
    base = torch.arange(24, dtype=torch.int64).reshape(2, 3, 4) - 12
    return {
        "none": None, "yes": True, "no": False, "small": 7, "word": 40000, "negative": -5, "large": -2 ** 40,
        "widest": 2 ** 63 - 1, "number": -0.125, "text": "Größe \u2713", "empty text": "", "bytes": b"\x00\xff",
        "list": [1, [2, (3, 4, 5, 6)], []], "tuples": ((), (1,), (1, 2), (1, 2, 3)), 5: "integer key", 0.25: "number key",
        "ordered": collections.OrderedDict(a=1), "size": torch.Size([2, 3]), "device": torch.device("cuda", 0),
        "dtype": torch.float32,
        "tensors": {
            "int64": base, "permuted": base.permute(2, 0, 1), "int32": base.int(), "int16": base.short(),
            "int8": base.char(), "uint8": (base + 12).byte(), "bool": base > 0, "float16": base.half() / 8,
            "bfloat16": base.bfloat16() / 8, "float64": base.double() / 8, "float32": base.float() / 8,
            "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3), "expanded": torch.tensor([1.5, 2.5]).view(2, 1).expand(2, 5),
            "reversed step": torch.arange(20.0)[3::4], "diagonal": torch.arange(16.0).view(4, 4).diagonal(),
        },
    }


def main():
    os.makedirs(HERE, exist_ok=True)
    with open(os.path.join(HERE, "config.json"), "w") as file:
        file.write(CONFIG)
    save("plain.pt", state())
    save("odd.pt", {"epoch": 3, "model": collections.OrderedDict(("module._orig_mod." + k, v) for k, v in odd_state().items())})
    rename(os.path.join(HERE, "odd.pt"), b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    plain = {k: v.bfloat16() for k, v in state().items()}
    save("protocol4.pt", plain, pickle_protocol=4)
    for protocol in 2, 3, 4, 5:
        tree = values()
        if protocol == 2:
            del tree["bytes"]  # written as a call of _codecs.encode there
        save("values%d.pt" % protocol, tree, pickle_protocol=protocol)
    save("module.pt", torch.nn.Linear(2, 2))  # a whole module: refused, its class is not on the list
    save("legacy.pt", {"a": torch.ones(2)}, _use_new_zipfile_serialization=False)
    print(" ".join("%s:%d" % (n, os.path.getsize(os.path.join(HERE, n))) for n in sorted(os.listdir(HERE))))


if __name__ == "__main__":
    main()
