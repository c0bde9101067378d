#!/usr/bin/env python3
"""tokenizer_peer.py BUILD [SOURCE...]

An independent byte-level BPE in Python, with the split patterns as the `regex` module reads them, against
BUILD/tests/tokenize, in both forms of files and under both rules of merging: on 10 MB of Python sources,
on random Unicode, on bytes that are not UTF-8, and on pieces of 60,000 bytes. Any difference is a failure.

Stated once more, apart from the library:
- Bytes that do not belong to well-formed UTF-8 (Unicode, table 3-7) are pieces of one byte each, and the
  text on both sides of one is cut as if it stood alone. (Python's "surrogateescape" marks these bytes.)
- encoder.json + vocab.bpe: a piece that a merge makes as a whole is that token; else, again and again, the
  two neighbours merge whose joined bytes have the lowest rank, the leftmost first.
- tokenizer.json: the two neighbours merge that are listed as a pair, lowest place in the list first, then
  leftmost. With ignore_merges a piece in the vocabulary is that token.
- Added tokens are cut out first: leftmost, then longest; those with "normalized" in what is left.

SOURCE: folders of .py files (by default the Python library, then what else the system has).
77: the regex module is missing.
"""
import array
import collections
import glob
import heapq
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import unicodedata

try:
    import regex
except ImportError:
    print("python3-regex is not installed")
    sys.exit(77)

RELEASED = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SOURCE_BYTES = 10_000_000
NEVER = 1 << 30
LONG_PIECE = 100  # bytes; from here on a heap
LONG_PIECE_BYTES = 60_000
REQUIRED = ["')", '")', " in", ":", "]", "]]", "]\n", "]]\n", ".add", " +=", " enumerate", "=None", "):",
            "]]]]]", "abababab", " zqzqz"]
ADDED = [("<|endoftext|>", False), ("<|endoftext|>\n", False), ("\u00e9t\u00e9", False), (" =", True),
         ("\n    ", True), ("def ", True), ("= None", False)]


def byte_characters():
    """GPT-2's printable stand-ins, byte -> character, and the order of the byte tokens."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    return table, plain + others


BYTE_CHARACTER, BYTE_ORDER = byte_characters()
CHARACTER_BYTE = {character: byte for byte, character in BYTE_CHARACTER.items()}


def mapped(token):
    return "".join(BYTE_CHARACTER[byte] for byte in token)


def unmapped(text):
    return bytes(CHARACTER_BYTE[character] for character in text)


def as_bytes(text):
    return text.encode("utf-8", "surrogateescape")


def cut(text, pattern):
    """Pieces of text in which surrogates stand for the bytes that are not UTF-8."""
    for run in re.findall("[\udc80-\udcff]|[^\udc80-\udcff]+", text):
        if "\udc80" <= run[0] <= "\udcff":
            yield [run]
        else:
            pieces = pattern.findall(run)
            assert "".join(pieces) == run
            yield pieces


class Peer(dict):
    """Piece -> its tokens, each piece merged once."""

    def __init__(self, path):
        super().__init__()
        self.by_pair = path.endswith(".json")
        self.ignore_merges = False
        self.passes = [], []
        self.added = {}
        if self.by_pair:
            self.read_json(path)
        else:
            self.read_encoder(path)

    def read_encoder(self, folder):
        with open(os.path.join(folder, "encoder.json"), encoding="utf-8") as file:
            self.ids = {unmapped(name): number for name, number in json.load(file).items()}
        with open(os.path.join(folder, "vocab.bpe"), encoding="utf-8") as file:
            lines = file.read().split("\n")
        assert lines[0] == "#version: 0.2" and lines[-1] == ""
        self.pairs = [tuple(unmapped(half) for half in line.split(" ")) for line in lines[1:-1]]
        self.ranks = {left + right: rank for rank, (left, right) in reversed(list(enumerate(self.pairs)))}
        self.pattern = regex.compile(RELEASED)

    def read_json(self, path):
        with open(path, encoding="utf-8") as file:
            root = json.load(file)
        model, before = root["model"], root["pre_tokenizer"]
        merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
        self.ids = {unmapped(name): number for name, number in model["vocab"].items()}
        self.pairs = [tuple(unmapped(half) for half in merge) for merge in merges]
        self.ranks = {pair: rank for rank, pair in enumerate(self.pairs)}
        self.ignore_merges = model["ignore_merges"]
        self.pattern = regex.compile(GPT2 if before["type"] == "ByteLevel"
                                     else before["pretokenizers"][0]["pattern"]["Regex"])
        for token in root["added_tokens"]:
            self.added[token["content"]] = token["id"]
            self.passes[token["normalized"]].append(token["content"])

    def rank(self, left, right):
        return self.ranks.get((left, right) if self.by_pair else left + right, NEVER)

    def __missing__(self, text):
        piece = as_bytes(text)
        if piece in self.ids and (self.ignore_merges if self.by_pair else len(piece) == 1 or piece in self.ranks):
            tokens = [self.ids[piece]]
        else:
            parts = self.merge(piece) if len(piece) < LONG_PIECE else self.merge_long(piece)
            tokens = [self.ids[part] for part in parts]
        self[text] = tokens
        return tokens

    def merge(self, piece):
        parts = [piece[i:i + 1] for i in range(len(piece))]
        ranks = [self.rank(a, b) for a, b in zip(parts, parts[1:])]
        while ranks:
            best = min(ranks)
            if best == NEVER:
                break
            i = ranks.index(best)
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
            del ranks[i]
            if i < len(ranks):
                ranks[i] = self.rank(parts[i], parts[i + 1])
            if i:
                ranks[i - 1] = self.rank(parts[i - 1], parts[i])
        return parts

    def merge_long(self, piece):
        """The same by a heap of (rank, start of the left part); parts are known by where they end."""
        size = len(piece)
        end = list(range(1, size + 1))  # of the part that starts here; 0: no part starts here
        start = list(range(-1, size))   # of the part that ends here

        def candidate(left):
            middle = end[left]
            if middle == size:
                return NEVER
            return self.rank(piece[left:middle], piece[middle:end[middle]])

        heap = [(rank, i) for i in range(size) if (rank := candidate(i)) != NEVER]
        heapq.heapify(heap)
        while heap:
            rank, left = heapq.heappop(heap)
            if not end[left] or candidate(left) != rank:
                continue
            middle = end[left]
            end[left], end[middle] = end[middle], 0
            start[end[left]] = left
            for i in (left, start[left]):
                if i >= 0 and (rank := candidate(i)) != NEVER:
                    heapq.heappush(heap, (rank, i))
        return [piece[i:end[i]] for i in range(size) if end[i]]

    def segments(self, text, number=0):
        """(text without added tokens, None) and ("", the id of an added token) in turn."""
        if number == len(self.passes):
            yield text, None
            return
        contents = sorted(self.passes[number], key=len, reverse=True)
        at = 0
        if contents:
            for match in re.finditer("|".join(map(re.escape, contents)), text):
                yield from self.segments(text[at:match.start()], number + 1)
                yield "", self.added[match.group()]
                at = match.end()
        yield from self.segments(text[at:], number + 1)

    def encode(self, data):
        tokens = array.array("i")
        for text, added in self.segments(data.decode("utf-8", "surrogateescape")):
            if added is not None:
                tokens.append(added)
            for pieces in cut(text, self.pattern):
                tokens.extend(itertools.chain.from_iterable(map(self.__getitem__, pieces)))
        return tokens


def naive_merges(documents, vocabulary_size):
    """What training learns, counting all pairs anew for every merge; ties to the lowest ids."""
    tokens = [bytes([byte]) for byte in BYTE_ORDER]
    ids = {token: number for number, token in enumerate(tokens)}
    pattern = regex.compile(RELEASED)
    counts = collections.Counter(
        as_bytes(piece) for data in documents
        for pieces in cut(data.decode("utf-8", "surrogateescape"), pattern) for piece in pieces)
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
        for at in range(1, len(joined)):
            left, right = ids.get(joined[:at]), ids.get(joined[at:])
            for word, _ in words:
                i = 0
                while left is not None and right is not None and i + 1 < len(word):
                    if word[i] == left and word[i + 1] == right:
                        word[i:i + 2] = [ids[joined]]
                    i += 1
    return pairs


# ------------------------------------------------------------------------- texts

def read_sources(folders):
    """The .py files of the first folders that together have enough."""
    files, seen, total = [], set(), 0
    for folder in folders:
        for path, names, leaves in os.walk(folder):
            names.sort()
            for leaf in sorted(leaves):
                file = os.path.realpath(os.path.join(path, leaf))
                if not leaf.endswith(".py") or file in seen or not 0 < os.path.getsize(file) <= 1 << 20:
                    continue
                seen.add(file)
                with open(file, "rb") as opened:
                    files.append(opened.read())
                total += len(files[-1])
                if total >= SOURCE_BYTES:
                    return files
    return files


def code_points():
    """Those assigned in Unicode 14 (or 3.2, where Python knows a later one) that no later version moved to
    another of the classes that the patterns ask for."""
    later = tuple(map(int, unicodedata.unidata_version.split("."))) > (14, 0, 0)
    data = unicodedata.ucd_3_2_0 if later else unicodedata
    space = "\t\n\x0b\x0c\r\x85"
    known, moved = [], 0
    for code in range(0x110000):
        character = chr(code)
        category = data.category(character)
        if category in ("Cn", "Cs"):
            continue
        here = "L" if category[0] == "L" else "N" if category[0] == "N" else \
            "S" if category[0] == "Z" or character in space else "O"
        there = "L" if LETTER.match(character) else "N" if NUMBER.match(character) else \
            "S" if SPACE.match(character) else "O"
        if here == there:
            known.append(character)
        else:
            moved += 1
    print(f"{len(known)} code points of Unicode {'3.2' if later else '14'}; {moved} have moved since")
    return known


LETTER, NUMBER, SPACE = map(regex.compile, (r"\p{L}", r"\p{N}", r"\s"))


def each_code_point(known):
    """Every code point alone, doubled, behind a letter, a blank and a digit; of the large blocks some."""
    some = [c for c in known if not (0x3400 <= ord(c) < 0xA000 or 0xAC00 <= ord(c) < 0xFB00 or ord(c) >= 0x17000)
            or ord(c) % 61 == 0]
    return "".join(f"a{c}{c} {c}1{c}\n" for c in some).encode()


def random_unicode(source, known, size):
    text, n = [], 0
    favourites = [" ", " ", "\n", "\r", "\t", "/", "'", "'s", "'ll", "(", "a", "Be", "_", "0", "77", "\x00",
                  "\x0b", "\x1c", "\x85", "\xa0", "\u00e9", "e\u0301", "\u0660", "\u2167", "\u180e", "\u2003",
                  "\u2028", "\u3000", "\ufeff", "\u4f60", "\u05d0", "\U0001f600", "\U0001d400", "\u200d",
                  *(content for content, _ in ADDED)]
    while n < size:
        pick = source.choice(favourites if source.random() < 0.6 else known)
        text.append(pick * source.choice([1, 1, 1, 1, 2, 3]))
        n += len(text[-1].encode())
    return "".join(text).encode()


def broken_bytes(source, known, size):
    data = bytearray()
    while len(data) < size:
        kind = source.random()
        if kind < 0.6:
            data += random_unicode(source, known, source.randint(1, 30))
        elif kind < 0.75:
            data += source.randbytes(source.randint(1, 9))
        elif kind < 0.85:  # a sequence that is cut, or has a byte changed
            cut_short = bytearray(source.choice(known).encode())
            cut_short[source.randrange(len(cut_short))] = source.randrange(256)
            data += cut_short[:source.randint(1, 4)]
        else:  # surrogates, overlong forms, beyond U+10FFFF
            data += source.choice([b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80",
                                   b"\xf0\x9f\x98", b"\xff", b"\x80", b"\xe0\x80\x80", b"\xf8\x88\x80\x80\x80"])
    return bytes(data)


# -------------------------------------------------------------------- tokenizers

def write_json(path, ids, pairs, split, pairs_as_text, added, ignore_merges):
    def level(use_regex):
        return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}
    before = level(True) if split is None else {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": False}, level(False)]}
    merges = [[mapped(left), mapped(right)] for left, right in pairs]
    first = max(ids.values()) + 1
    root = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": first + 3 * i, "content": content, "single_word": False, "lstrip": False,
                          "rstrip": False, "normalized": normalized, "special": not normalized}
                         for i, (content, normalized) in enumerate(added)],
        "normalizer": None, "pre_tokenizer": before, "post_processor": level(True), "decoder": level(True),
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False,
                  "ignore_merges": ignore_merges, "vocab": {mapped(token): i for token, i in ids.items()},
                  "merges": [" ".join(merge) for merge in merges] if pairs_as_text else merges}}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(root, file, ensure_ascii=pairs_as_text)


def wild_vocabulary(source, text, n_tokens):
    """Tokens that occur in the text, each cut in two anyhow: the tokens, one merge for each of them (the
    halves first), and those with second ways to some of them, in no order."""
    tokens, first, second = [bytes([byte]) for byte in range(256)], [], set()
    known = set(tokens)

    def add(token):
        if len(token) < 2:
            return
        at = source.randrange(1, len(token))
        pair = token[:at], token[at:]
        if token not in known:
            add(pair[0])
            add(pair[1])
            known.add(token)
            tokens.append(token)
            first.append(pair)
        elif pair[0] in known and pair[1] in known:
            second.add(pair)

    while len(tokens) < n_tokens:
        at = source.randrange(len(text) - 8)
        add(text[at:at + source.choice([2, 2, 3, 4, 5, 7])])
    shuffled = sorted({*first, *second})
    source.shuffle(shuffled)
    return tokens, first, shuffled


def scattered(source, tokens):
    """Ids with holes."""
    numbers = list(range(len(tokens) + 100))
    source.shuffle(numbers)
    return dict(zip(tokens, numbers))


def write_encoder(folder, ids, pairs):
    os.makedirs(folder)
    with open(os.path.join(folder, "encoder.json"), "w", encoding="utf-8") as file:
        json.dump({mapped(token): number for token, number in ids.items()}, file)
    with open(os.path.join(folder, "vocab.bpe"), "w", encoding="utf-8") as file:
        file.write("#version: 0.2\n")
        file.writelines(f"{mapped(left)} {mapped(right)}\n" for left, right in pairs)


# -------------------------------------------------------------------- comparing

def call(*command):
    """Runs it; what it says matters only if it fails."""
    done = subprocess.run(command, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: status {done.returncode}: {done.stderr.decode(errors='replace')}")


class Comparison:
    def __init__(self, tool, folder):
        self.tool, self.folder = tool, folder
        self.n_tokens = self.n_wrong = 0

    def run(self, path, peer, data, what):
        text, output = os.path.join(self.folder, "text"), os.path.join(self.folder, "tokens.i32")
        with open(text, "wb") as file:
            file.write(data)
        start = time.monotonic()
        call(self.tool, path, text, output)
        middle = time.monotonic()
        ours, theirs = array.array("i"), peer.encode(data)
        with open(output, "rb") as file:
            ours.frombytes(file.read())
        if sys.byteorder == "big":
            ours.byteswap()
        wrong = 0 if ours == theirs else \
            max(1, abs(len(ours) - len(theirs)) + sum(a != b for a, b in zip(ours, theirs)))
        self.n_tokens += len(theirs)
        self.n_wrong += wrong
        print(f"{os.path.basename(path)}: {what}: {len(data)} bytes, {len(theirs)} tokens, {wrong} differences "
              f"({middle - start:.1f} s, peer {time.monotonic() - middle:.1f} s)", flush=True)


def default_sources():
    library = os.path.dirname(os.__file__)
    return [library, *sorted(glob.glob("/usr/lib/python3*")), "/usr/share", *sorted(glob.glob("/usr/local/lib/python3*"))]


def train(tool, folder, size, documents, required):
    texts = os.path.join(folder, "texts")
    os.makedirs(texts, exist_ok=True)
    for i, data in enumerate(documents):
        with open(os.path.join(texts, f"{i:05}.py"), "wb") as file:
            file.write(data)
    made = os.path.join(folder, f"encoder-{size}")
    escaped = "\n".join(text.replace("\\", "\\\\").replace("\n", "\\n") for text in required)
    call(tool, "--train", str(size), made, texts, ".py", escaped)
    return made


def check_training(comparison, folder, documents):
    small = os.path.join(folder, "small")
    made = train(comparison.tool, small, 420, documents, [])
    same = naive_merges(documents, 420) == Peer(made).pairs
    print(f"merges learnt from {sum(map(len, documents))} bytes: {'the same' if same else 'DIFFERENT'}")
    comparison.n_wrong += not same


def check_required(comparison, peer):
    for token in REQUIRED:
        if [piece for pieces in cut(token, peer.pattern) for piece in pieces] != [token] or \
                len(peer.merge(token.encode())) != 1:
            print(f"required {token!r} is not one token")
            comparison.n_wrong += 1


def check_long_merge(comparison, peer, source):
    """The two ways in which the peer merges, on pieces of both lengths."""
    for _ in range(300):
        piece = "".join(source.choices(" adefilnst", k=source.randint(2, 300))).encode()
        comparison.n_wrong += peer.merge(piece) != peer.merge_long(piece)


def make_tokenizers(folder, encoder, sources, source):
    """Paths of the trained tokenizer and of others written here."""
    def here(name):
        return os.path.join(folder, name)
    trained = Peer(encoder)
    tokens, first, shuffled = wild_vocabulary(source, b"".join(sources[-40:]), 1500)
    ids = scattered(source, tokens)
    write_json(here("released.json"), trained.ids, trained.pairs, RELEASED, True, [], False)
    write_json(here("gpt2.json"), trained.ids, trained.pairs, None, False, [], True)
    write_encoder(here("wild"), ids, first)
    write_json(here("wild.json"), ids, first, RELEASED, False, [], False)
    write_json(here("shuffled.json"), ids, shuffled, RELEASED, False, ADDED, False)
    write_json(here("shuffled-gpt2.json"), ids, shuffled, GPT2, True, ADDED[:2], True)
    return {"trained": encoder, **{name: here(name) for name in (
        "released.json", "gpt2.json", "wild", "wild.json", "shuffled.json", "shuffled-gpt2.json")}}


def main():
    start = time.monotonic()
    tool = os.path.join(sys.argv[1], "tests", "tokenize")
    sources = read_sources(sys.argv[2:] or default_sources())
    text = b"".join(sources)[:SOURCE_BYTES]
    print(f"{len(sources)} files of Python, {len(text)} bytes" +
          ("" if len(text) == SOURCE_BYTES else f"; the {SOURCE_BYTES} that are wanted are not on this machine"))
    if len(text) < 1 << 20:
        print("too little text")
        return 1
    source = random.Random(14)
    known = code_points()
    singles = each_code_point(known)
    unicode, broken = random_unicode(source, known, 700_000), broken_bytes(source, known, 500_000)
    n = LONG_PIECE_BYTES
    long_pieces = b"a" * n + b" " * n + b"returnself" * (n // 10) + b"\n" + b"=" * n
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(tool, folder)
        check_training(comparison, folder, sources[:3])
        encoder = train(tool, folder, 2048, sources[::6], REQUIRED)
        check_required(comparison, Peer(encoder))
        caches = {}
        for name, path in make_tokenizers(folder, encoder, sources, source).items():
            peer = Peer(path)
            check_long_merge(comparison, peer, source)
            whole = name in ("trained", "released.json", "gpt2.json")
            comparison.run(path, peer, text if whole else text[-1_000_000:], "Python sources")
            caches[name] = dict(peer)
            comparison.run(path, peer, unicode, "random Unicode")
            comparison.run(path, peer, broken, "not UTF-8")
            if name in ("trained", "shuffled.json"):
                comparison.run(path, peer, long_pieces, "long pieces")
            if name in ("trained", "gpt2.json"):
                comparison.run(path, peer, singles, "every code point")
        for a, b in (("trained", "released.json"), ("wild", "wild.json")):
            differ = sum(tokens != caches[b][piece] for piece, tokens in caches[a].items())
            print(f"{a}, {b}: the two rules of merging differ in {differ} of {len(caches[a])} pieces")
        print(f"{comparison.n_tokens} tokens compared, {comparison.n_wrong} differences, "
              f"{time.monotonic() - start:.0f} s ({time.process_time():.0f} s of them computing here)")
        return 1 if comparison.n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
