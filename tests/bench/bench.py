#!/usr/bin/env python3
"""The bench: our side and its peers take turns, in one run, on the same number of threads.

    bench.py [--build build] [--quick] [--only REGEX [--merge]] [--seconds S] [--list]
    bench.py --document docs [--build build]     writes the last run into docs/performance.md, with plots

Prints a line for each comparison and writes BUILD/bench.json; docs/performance.md explains both. Times on one thread are processor time, on several by the clock; each is the least of all rounds."""
import argparse
import glob
import json
import os
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # the tree stays clean
import contests  # noqa: E402
import report  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def find_python():
    """An interpreter that has torch, or None."""
    for python in (sys.executable, "/usr/bin/python3"):
        if subprocess.run([python, "-c", "import torch, scipy"], capture_output=True).returncode == 0:
            return python
    return None


def blas_core(python):
    """The processor that OpenBLAS must be told to compute for, or None where it finds a good one by itself: a
    release older than the processor falls back to one of 2004, at a fifth of the speed."""
    if not python:
        return None
    found = subprocess.run([python, "-c", "import torch; torch.ones(64, 64) @ torch.ones(64, 64)"],
                           env={**plain_environment(), "OPENBLAS_VERBOSE": "2"}, capture_output=True, text=True)
    core = re.search(r"Core: (\w+)", found.stdout + found.stderr)
    with open("/proc/cpuinfo") as file:
        flags = set(re.search(r"^flags.*: (.*)", file.read(), re.M).group(1).split())
    if not core or core.group(1) not in ("Prescott", "Core2", "Generic", "Unknown"):
        return None
    return "SkylakeX" if "avx512f" in flags else "Haswell" if "avx2" in flags else None


def plain_environment():
    """Without what would make peers choose other kernels, or us another instruction set."""
    return {key: value for key, value in os.environ.items()
            if key not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "SPARSENET_ISA")}


class Absent(Exception):
    """A side that this machine does not have."""


class Child:
    """measure.c or peers.py, and what it is asked to do."""

    def __init__(self, command, **variables):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env={**plain_environment(), **variables}, **pipes)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise Absent("its process ended")
        return answer.strip()

    def open(self, job):
        state, rest = self.ask("open " + job).split(" ", 1)
        if state != "ok":
            raise Absent(rest)
        return rest.split()

    def used_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Children:
    """The processes of a run, one for each program, instruction set and number of threads."""

    def __init__(self, build):
        self.measure, self.python, self.all = f"{build}/tests/bench/measure", find_python(), {}
        self.core = blas_core(self.python)

    def start(self, program, threads):
        if program in ("torch", "scipy"):
            if not self.python:
                raise Absent("torch and scipy are not installed: make deps-bench")
            return Child([self.python, f"{HERE}/peers.py"], OPENBLAS_NUM_THREADS=str(threads),
                         OMP_NUM_THREADS=str(threads), **self.blas())
        return Child([self.measure], **({"SPARSENET_ISA": "avx2"} if program == "avx2" else {}), **self.blas())

    def blas(self):
        return {"OPENBLAS_CORETYPE": self.core} if self.core else {}

    def get(self, program, threads):
        key = (program if program in ("avx2", "ours") else "peers", threads)
        if key not in self.all:
            self.all[key] = self.start(program, threads)
        return self.all[key]

    def end(self):
        for child in self.all.values():
            child.end()


class Side:
    """One side of a contest while it runs."""

    def __init__(self, children, text, threads, fresh):
        self.best, self.spent, self.operations, self.bytes, self.memory = None, 0, 0, 0, None
        self.child, self.fresh, self.threads = None, fresh, threads
        if ":" not in text:
            self.best = float(text)
            return
        self.program, job = text.split(":", 1)
        self.child = (children.start if fresh else children.get)(self.program, threads)
        try:
            if fresh:
                before = int(self.child.ask("memory").split()[0])
            answer = self.child.open(f"{job} threads={threads}")
            self.number, units, operations, amount, self.isa = answer
            if fresh:
                self.child.ask("forget")  # making random weights takes more than having them
        except Absent:
            if fresh:
                self.child.end()
            raise
        self.operations, self.bytes = float(operations) / float(units), float(amount) / float(units)
        self.before = before if fresh else None
        self.first = None

    def run(self, seconds, patience):
        """Once more, unless it has taken so long already."""
        if not self.child or self.spent > patience:
            return
        started = time.monotonic()
        taken = float(self.child.ask(f"run {self.number} {seconds}"))
        if self.first is None:
            self.first = taken
        self.best = taken if self.best is None else min(self.best, taken)
        self.spent += time.monotonic() - started

    def close(self):
        if not self.child:
            return
        if self.fresh:
            self.memory = int(self.child.ask("memory").split()[1]) - self.before
        if self.program == "first":
            self.best = self.first - self.best
        self.child.ask(f"close {self.number}")
        if self.fresh:
            self.child.end()


def read_sizes():
    """Bytes of the caches of the first core, by level."""
    sizes, folder = {}, "/sys/devices/system/cpu/cpu0/cache"
    for index in sorted(glob.glob(f"{folder}/index*")):
        read = lambda name: open(f"{index}/{name}").read().strip()
        kind, level, size = read("type"), read("level"), read("size")
        if kind != "Instruction":
            sizes[f"L{level}"] = int(size[:-1]) * {"K": 1 << 10, "M": 1 << 20}[size[-1]]
    return sizes


def busy_seconds():
    """Processor time that all programs of this machine have used."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, interrupt, soft, *_ = (int(x) for x in file.readline().split()[1:])
    return (user + nice + system + interrupt + soft) / os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(self, build, seconds, quick):
        self.children = Children(build)
        self.seconds = seconds if seconds is not None else 0.02 if quick else 0.2
        self.rounds, self.patience = (1, 0.5) if quick else (5, 8)
        self.caches, self.peaks, self.limits = read_sizes(), {}, {}
        self.rows = []

    def time(self, job, program="ours", times=5):
        child = self.children.get(program, 1)
        number, _, operations, amount, isa = child.open(job)
        best = min(float(child.ask(f"run {number} 0.02")) for _ in range(times))
        child.ask(f"close {number}")
        return best, max(float(operations), float(amount)) / best, isa

    def measure_peak(self, program):
        """The best seen so far: called again and again during the run."""
        try:
            _, peak, isa = self.time("peak", program, 2)
        except Absent:
            return
        self.peaks[isa] = max(peak, self.peaks.get(isa, 0))

    def measure_limits(self):
        levels = {"L1": self.caches.get("L1", 32768) // 2, "L2": self.caches.get("L2", 1 << 19) // 2,
                  "L3": min(self.caches.get("L3", 1 << 23) // 2, 8 * self.caches.get("L2", 1 << 19)),
                  "memory": 1 << 28}
        for level, size in levels.items():
            self.limits[f"read {level}, GB/s"] = 1e-9 * self.time(f"read bytes={size}")[1]
        self.limits["copy, GB/s"] = 1e-9 * max(
            self.time(f"floor reads=4096 writes=4096 streaming={s}")[1] for s in (0, 1))
        for program in ("ours", "avx2"):
            self.measure_peak(program)

    def share(self, side):
        """Of the FMA peak of its instruction set, or of the bandwidth of the level that it fits into."""
        if not side.child or side.program == "torch":
            return None, None
        if side.operations and side.isa in self.peaks:
            return side.operations / side.best / self.peaks[side.isa] / side.threads, "FMA peak"
        if not side.bytes:
            return None, None
        fits = [name for name in ("L1", "L2", "L3") if side.bytes < self.caches.get(name, 0)]
        level = fits[0] if fits else "memory"
        return 1e-9 * side.bytes / side.best / self.limits[f"read {level}, GB/s"], level

    def open_sides(self, contest):
        sides, absent = {}, {}
        for name, text in contest.sides.items():
            text = text.replace("first:", "ours:", 1)
            try:
                sides[name] = Side(self.children, text, contest.threads.get(name, 1), contest.fresh)
                if contest.sides[name].startswith("first:"):
                    sides[name].program = "first"
            except Absent as why:
                absent[name] = str(why)
        return sides, absent

    def run(self, contest):
        sides, absent = self.open_sides(contest)
        children = {side.child for side in sides.values() if side.child}
        used = lambda: sum(child.used_seconds() for child in children)
        started, busy = time.monotonic(), busy_seconds() - used()
        for done in range(self.rounds + 1):  # the first round warms up
            for program in ("ours", "avx2"):
                self.measure_peak(program)
            for side in sides.values():
                side.run(self.seconds if done else 0, self.patience)
        others = (busy_seconds() - used() - busy) / (time.monotonic() - started)
        for side in sides.values():
            side.close()
        rows = [{**self.row(contest, line, sides, absent), "others": round(max(others, 0), 2)}
                for line in contest.lines if line.side in sides]
        self.rows += rows
        return rows

    def row(self, contest, line, sides, absent):
        side, peer = sides[line.side], sides.get(line.peer)
        share, limit = self.share(side)
        row = {"group": contest.group, "name": contest.name, "side": line.side, "threads": side.threads,
               "measures": "bytes" if line.memory else "seconds",
               "ours": side.memory if line.memory else side.best, "peer_name": line.peer, "peer": None,
               "ratio": None, "asked": line.asked, "share": None if line.memory else share,
               "limit": limit, "asked_share": line.asked_share, "absent": absent.get(line.peer)}
        if peer:
            row["peer"] = peer.memory if line.memory else peer.best
            row["ratio"] = row["peer"] / row["ours"] if row["ours"] > 0 else float("inf")
        row["missed"] = bool((row["ratio"] is not None and line.asked and row["ratio"] < line.asked) or
                             (line.asked_share and share is not None and share < line.asked_share))
        return row

    def result(self, quick, started):
        peaks = {f"FMA peak {isa}, GF/s": 1e-9 * peak for isa, peak in self.peaks.items()}
        return {"machine": self.machine(), "quick": quick, "limits": {**peaks, **self.limits}, "rows": list(self.rows),
                "minutes": (time.monotonic() - started) / 60}

    def machine(self):
        with open("/proc/cpuinfo") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        with open("/proc/meminfo") as file:
            memory = int(file.readline().split()[1]) >> 20
        try:
            peers = self.children.get("torch", 1).ask("versions")
        except Absent as why:
            peers = str(why)
        return {"processor": names[0] if names else "?", "processors": os.cpu_count(), "memory GB": memory,
                "caches": {name: f"{size >> 10} KB" for name, size in self.caches.items()},
                "OpenBLAS told to compute for": self.children.core or "nothing: it finds its processor",
                "instruction sets measured": list(self.peaks),
                "ours": self.children.get("ours", 1).ask("versions"), "peers": peers, "date": time.strftime("%Y-%m-%d")}


def read_result(path):
    if not os.path.exists(path):
        return None
    with open(path) as file:
        return json.load(file)


def keep_others(result, old, order):
    """Adds the rows of an earlier run of other contests: each row's sides met in one run all the same."""
    key = lambda row: (row["group"], row["name"])
    done = {key(row) for row in result["rows"]}
    result["rows"] += [row for row in old["rows"] if key(row) not in done and key(row) in order]
    result["rows"].sort(key=lambda row: order.index(key(row)))
    result["minutes"] += old["minutes"]
    for name, value in old["limits"].items():
        result["limits"][name] = max(value, result["limits"].get(name, 0))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--quick", action="store_true", help="every row, fewer rounds, fewer tokens")
    parser.add_argument("--only", default="", help="contests whose group and name match this expression")
    parser.add_argument("--seconds", type=float, help="of a side in a round (it runs once at least)")
    parser.add_argument("--merge", action="store_true", help="keeps the last run's other contests")
    parser.add_argument("--list", action="store_true", help="names the contests")
    parser.add_argument("--document", metavar="DIR", help="writes the last run into DIR/performance.md")
    arguments = parser.parse_args()
    path = f"{arguments.build}/bench.json"
    if arguments.document:
        return report.document(arguments.document, read_result(path))
    wanted = [c for c in contests.contests(arguments.quick)
              if re.search(arguments.only, f"{c.group}: {c.name}")]
    if arguments.list:
        return print("\n".join(f"{c.group}: {c.name}" for c in wanted))
    if not wanted:
        parser.error(f"no contest matches {arguments.only}; --list names them")
    bench = Bench(arguments.build, arguments.seconds, arguments.quick)
    order = [(c.group, c.name) for c in contests.contests(arguments.quick)]
    old = read_result(path) if arguments.merge else None
    started = time.monotonic()
    bench.measure_limits()
    report.print_head()
    for contest in wanted:
        report.print_rows(bench.run(contest))
        result = bench.result(arguments.quick, started)  # written each time: a run may be broken off
        if old:
            keep_others(result, old, order)
        with open(path, "w") as file:
            json.dump(result, file, indent=1)
    bench.children.end()
    report.print_tail(result)


main()
