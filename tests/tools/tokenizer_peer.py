#!/usr/bin/env python3
"""tokenizer_peer.py BUILD [SOURCE]

An independent byte-level BPE in Python, with the released split pattern as the `regex` module reads it,
against BUILD/tests/tokenize: the merges learnt from a small tree, and the tokens of some megabytes of
the Python library and of awkward bytes. Any difference is a failure. 77: the regex module is missing.
"""
import collections
import json
import os
import random
import subprocess
import sys
import tempfile

try:
    import regex
except ImportError:
    print("python3-regex is not installed")
    sys.exit(77)

PATTERN = regex.compile(
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
REQUIRED = ["')", '")', " in", ":", "]", "]]", "]\n", "]]\n", ".add", " +=", " enumerate", "=None", "):",
            "]]]]]", "abababab", " zqzqz"]
SYSTEM_LIBRARY = "/usr/lib/python3.11"
# `regex` knows later Unicode than PCRE2 10.42 does, so unassigned code points stay out.
CHARACTERS = [" ", " ", "\n", "\r", "\t", "/", "/", "'", "(", ")", "a", "B", "_", "0", "7", "\x00", "\x0b", "\x0c",
              "\x1c", "\x85", "\xa0", "\u00e9", "e\u0301", "\u0660", "\u00b2", "\u2167", "\u180e", "\u2003",
              "\u2028", "\u3000", "\ufeff", "\u4f60", "\u05d0", "\U0001f600", "\U0001d400", "\u200d"]


def byte_characters():
    """GPT-2's printable stand-ins, byte -> character."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in plain}
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + len(table) - len(plain))
    return table, plain + [byte for byte in range(256) if byte not in plain]


BYTE_CHARACTER, BYTE_ORDER = byte_characters()
CHARACTER_BYTE = {character: byte for byte, character in BYTE_CHARACTER.items()}


def mapped(token):
    return "".join(BYTE_CHARACTER[byte] for byte in token)


def unmapped(text):
    return bytes(CHARACTER_BYTE[character] for character in text)


def pieces(data):
    """Bytes of each piece; a byte outside well-formed UTF-8 is a piece of its own."""
    text = data.decode("utf-8", "surrogateescape")
    for run in regex.findall("[\ud800-\udfff]|[^\ud800-\udfff]+", text):
        if "\ud800" <= run[0] <= "\udfff":
            yield run.encode("utf-8", "surrogateescape")
        else:
            at = 0
            for match in PATTERN.finditer(run):
                assert match.start() == at
                at = match.end()
                yield match.group().encode()
            assert at == len(run)


class Peer:
    def __init__(self, directory):
        with open(os.path.join(directory, "encoder.json")) as file:
            self.ids = {unmapped(name): number for name, number in json.load(file).items()}
        with open(os.path.join(directory, "vocab.bpe"), encoding="utf-8") as file:
            lines = file.read().split("\n")
        assert lines[0] == "#version: 0.2" and lines[-1] == ""
        self.pairs = [tuple(unmapped(half) for half in line.split(" ")) for line in lines[1:-1]]
        self.rank = {left + right: rank for rank, (left, right) in enumerate(self.pairs)}
        self.pair_rank = {pair: rank for rank, pair in enumerate(self.pairs)}
        self.cache = {}

    def merge(self, piece, by_pair=False):
        parts = [piece[i:i + 1] for i in range(len(piece))]
        while len(parts) > 1:
            if by_pair:
                ranks = [self.pair_rank.get((a, b), 1 << 30) for a, b in zip(parts, parts[1:])]
            else:
                ranks = [self.rank.get(a + b, 1 << 30) for a, b in zip(parts, parts[1:])]
            best = min(ranks)
            if best == 1 << 30:
                break
            i = ranks.index(best)
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        return [self.ids[part] for part in parts]

    def encode(self, data):
        tokens = []
        for piece in pieces(data):
            if piece not in self.cache:
                self.cache[piece] = self.merge(piece)
            tokens += self.cache[piece]
        return tokens


def naive_merges(documents, vocabulary_size):
    """Counts all pairs anew for every merge; ties to the lowest ids."""
    tokens = [bytes([byte]) for byte in BYTE_ORDER]
    ids = {token: number for number, token in enumerate(tokens)}
    counts = collections.Counter(piece for data in documents for piece in pieces(data))
    words = [([ids[piece[i:i + 1]] for i in range(len(piece))], n) for piece, n in counts.items()]
    pairs = []
    while len(tokens) < vocabulary_size:
        pair_counts = collections.Counter()
        for word, n in words:
            for pair in zip(word, word[1:]):
                pair_counts[pair] += n
        if not pair_counts:
            break
        best = min(pair_counts, key=lambda pair: (-pair_counts[pair], pair))
        joined = tokens[best[0]] + tokens[best[1]]
        if joined not in ids:
            ids[joined] = len(tokens)
            tokens.append(joined)
            pairs.append((tokens[best[0]], tokens[best[1]]))
        for cut in range(1, len(joined)):
            left, right = ids.get(joined[:cut]), ids.get(joined[cut:])
            for word, _ in words:
                i = 0
                while left is not None and right is not None and i + 1 < len(word):
                    if word[i] == left and word[i + 1] == right:
                        word[i:i + 2] = [ids[joined]]
                    i += 1
    return pairs


def read_tree(folder, limit):
    documents = []
    for path, folders, names in os.walk(folder):
        for name in names:
            file = os.path.join(path, name)
            if name.endswith(".py") and not os.path.islink(file) and 0 < os.path.getsize(file) <= 1 << 20:
                with open(file, "rb") as opened:
                    documents.append((file, opened.read()))
    total, chosen = 0, []
    for file, data in sorted(documents):
        if total + len(data) > limit:
            break
        total += len(data)
        chosen.append(data)
    return chosen


def awkward_bytes(seed, size):
    source = random.Random(seed)
    data = bytearray()
    while len(data) < size:
        kind = source.random()
        if kind < 0.8:
            data += source.choice(CHARACTERS).encode() * source.choice([1, 1, 1, 2, 3, 70])
        elif kind < 0.9:
            data += source.randbytes(source.randint(1, 9))
        else:  # cut sequences, surrogates, overlong forms, beyond U+10FFFF
            data += source.choice([b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xf0\x9f\x98",
                                   b"\xff", b"\x80", b"\xe0\x80\x80", b"\xf8\x88\x80\x80\x80"])
    return bytes(data)


def compare(tool, directory, peer, data, what):
    with tempfile.TemporaryDirectory() as folder:
        text, output = os.path.join(folder, "text"), os.path.join(folder, "tokens.i32")
        with open(text, "wb") as file:
            file.write(data)
        subprocess.run([tool, directory, text, output], check=True)
        with open(output, "rb") as file:
            raw = file.read()
    ours = [int.from_bytes(raw[i:i + 4], "little") for i in range(0, len(raw), 4)]
    theirs = peer.encode(data)
    differences = abs(len(ours) - len(theirs)) + sum(a != b for a, b in zip(ours, theirs))
    print(f"{what}: {len(data)} bytes, {len(theirs)} tokens, {differences} differences")
    return differences


def main():
    tool = os.path.join(sys.argv[1], "tests", "tokenize")
    source = sys.argv[2] if len(sys.argv) > 2 else SYSTEM_LIBRARY
    if not os.path.isdir(source):
        source = os.path.dirname(os.__file__)
    small = os.path.join(source, "json")
    wrong = 0
    required = "\n".join(text.replace("\\", "\\\\").replace("\n", "\\n") for text in REQUIRED)
    with tempfile.TemporaryDirectory() as folder:
        learnt = os.path.join(folder, "small")
        subprocess.run([tool, "--train", "700", learnt, small, ".py"], check=True)
        same = naive_merges(read_tree(small, 1 << 40), 700) == Peer(learnt).pairs
        print(f"merges learnt from {small}: {'the same' if same else 'DIFFERENT'}")
        wrong += not same
        text = b"".join(read_tree(source, 4 << 20))
        assert len(text) > 1 << 20, f"{source} holds too little text"
        for size in (768, 2048):
            directory = os.path.join(folder, str(size))
            subprocess.run([tool, "--train", str(size), directory, source, ".py", required], check=True)
            peer = Peer(directory)
            assert len(peer.ids) == size
            for token in REQUIRED:
                if list(pieces(token.encode())) != [token.encode()] or len(peer.merge(token.encode())) != 1:
                    print(f"required {token!r} is not one token")
                    wrong += 1
            wrong += compare(tool, directory, peer, text, f"{size} tokens, {source}")
            wrong += compare(tool, directory, peer, awkward_bytes(size, 1 << 19), f"{size} tokens, awkward bytes")
            by_pair = sum(peer.merge(piece, True) != merged for piece, merged in peer.cache.items())
            print(f"by the order of pairs alone, as GPT-2 did, {by_pair} of {len(peer.cache)} pieces would differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
