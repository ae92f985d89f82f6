#!/usr/bin/env python3
"""qalqan beside its peers: CPU time a query, queries a second and latency, each also as a ratio to a bare UDP echo.

    bench/compare.py [--servers qalqan,unbound] [--scenarios blocked,miss] [--rounds 12] [--help]

Installs nothing and says what is missing; a missing peer is left out. Needs two cores: one for the server that is being
asked, one for the load and the mock upstream. All servers are up all the time and asked in turn, a slice each, so that
what disturbs the machine disturbs all alike; figures are medians over the rounds, ratios are taken within a round.
CPU time is that of the server's process, all threads. Only loopback is used, and whatever was started here is ended
here. bench/tools holds the echo, the upstream and the load generator; bench/peers.py the servers' configurations.
"""
import argparse
import ctypes
import json
import os
import random
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import peers

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(HERE, "tools")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-"
SCENARIOS = {
    "blocked": "names on the list, half of them below a listed name",
    "cached": "1,000 names asked before",
    "mixed": "95 % as cached, 5 % as blocked",
    "miss": "names never asked before",
}
NEEDS_CACHE = {"cached", "mixed"}


def made_up(count, seed):
    """`count` distinct names like those of real lists: two or three labels, 19 octets on average."""
    rng = random.Random(seed)
    seen = {}
    while len(seen) < count:
        label = "".join(rng.choices(LETTERS[:36], k=rng.randint(5, 17)))
        front = "".join(rng.choices(LETTERS[:26], k=rng.randint(2, 6))) + "." if rng.random() < 0.4 else ""
        seen[f"{front}{label}.{rng.choice(['com', 'net', 'org', 'info', 'top', 'xyz', 'ru', 'kz'])}"] = None
    return list(seen)


def write_queries(folder, listed):
    """One file of queries a scenario; see bench/tools/src/query.rs for the form."""
    rng = random.Random(7)
    sample = rng.sample(listed, min(len(listed), 20_000))
    blocked = [f"b {'www.' if n % 2 else ''}{name}" for n, name in enumerate(sample)]
    known = set(listed)
    passed = [f"p {name}" for name in made_up(1000, 99) if known.isdisjoint({name, name.split(".", 1)[1]})]
    rng.shuffle(blocked)
    lines = {
        "blocked": blocked,
        "cached": passed,
        "mixed": [rng.choice(blocked if n % 20 == 0 else passed) for n in range(20_000)],
        "miss": ["m miss.example.net"],
    }
    files = {}
    for scenario, queries in lines.items():
        files[scenario] = os.path.join(folder, f"{scenario}.queries")
        with open(files[scenario], "w") as out:
            out.write("\n".join(queries) + "\n")
    return files


def free_port():
    """A port free for UDP and TCP on loopback a moment ago."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                continue
            return udp.getsockname()[1]


def answers(port, name, timeout=0.5):
    """The response code of the answer to `name` and whether it holds the address 0.0.0.0; None if none came."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack("!6H", random.getrandbits(16), 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(("127.0.0.1", port))
            sock.send(query)
            answer = sock.recv(4096)
        except OSError:
            return None
    sinkhole = re.search(rb"\x00\x01\x00\x01.{4}\x00\x04\x00{4}", answer[len(query):], re.DOTALL)
    return (answer[3] & 15, sinkhole is not None) if answer[:2] == query[:2] else None


class Bench:
    """The processes and the settings they share."""

    def __init__(self, options):
        self.options = options
        self.tool = os.path.join(TOOLS, "target", "release", "bench-tools")
        self.started = []

    def spawn(self, argv, core, log=None, **more):
        """Starts a process on a core; it ends with us, however we end."""
        end_with_us = lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        out = open(log, "w") if log else subprocess.PIPE
        process = subprocess.Popen(["taskset", "-c", str(core), *argv], stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT if log else None, preexec_fn=end_with_us, **more)
        self.started.append(process)
        return process

    def end(self, process):
        """Ends a process started here."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def helper(self, kind, core):
        """Starts the echo or the upstream; the process and its port."""
        process = self.spawn([self.tool, kind], core, text=True)
        return process, int(process.stdout.readline().rsplit(":", 1)[1])

    def serve(self, peer, folder, upstream, listed):
        """Starts a peer and waits until it blocks and forwards; process, port and seconds, or None with a word why."""
        os.makedirs(folder)
        port = free_port()
        argv = peer.start(folder, port, upstream, listed)
        log = os.path.join(folder, "log")
        began = time.monotonic()
        process = self.spawn(argv, self.options.server_core, log=log, cwd=folder)
        while time.monotonic() - began < self.options.patience and process.poll() is None:
            if answers(port, listed[-1]) == (0, True):
                seconds = time.monotonic() - began
                if answers(port, "passed.example.net", timeout=3) == (0, False):
                    return process, port, seconds
            time.sleep(0.01)
        self.end(process)
        with open(log, errors="replace") as file:
            tail = "".join(file.readlines()[-5:])
        print(f"{peer.name} did not come up; the last it said:\n{tail}", file=sys.stderr)
        return None

    def load(self, port, queries, pid, seconds, *more):
        """One slice of load."""
        argv = ["taskset", "-c", str(self.options.load_core), self.tool, "load", "--server", f"127.0.0.1:{port}",
                "--names", queries, "--pid", str(pid), "--seconds", str(seconds), *more]
        done = subprocess.run(argv, stdout=subprocess.PIPE, timeout=seconds + 30, check=True, text=True)
        return json.loads(done.stdout)


def slices(bench, running, files, options):
    """All rounds: a list of results for every (scenario, server, paced or not)."""
    results = {}
    ends = time.monotonic() + options.minutes * 60

    def take(scenario, name, *more, seconds, kind):
        process, port, cached = running[name]
        if scenario in NEEDS_CACHE and not cached:
            return
        check = ["--check", "no"] if name == "echo" else []
        one = bench.load(port, files[scenario], process.pid, seconds, *check, *more)
        results.setdefault((scenario, name, kind), []).append(one)

    # A slice that fills the caches is not counted.
    for scenario in options.scenarios:
        for name in running:
            take(scenario, name, seconds=0.4, kind="warm")
    for turn in range(options.rounds):
        order = list(running)
        # Who goes after whom changes from round to round.
        order = order[turn % len(order):] + order[:turn % len(order)]
        for scenario in options.scenarios:
            for name in order:
                take(scenario, name, seconds=options.slice, kind="full")
            for name in order if options.rate else []:
                rate = options.miss_rate if scenario == "miss" else options.rate
                take(scenario, name, "--rate", str(rate), seconds=options.paced, kind="paced")
        left = ends - time.monotonic()
        print(f"\rround {turn + 1} of {options.rounds}, at most {left:.0f} s more  ", end="", file=sys.stderr, flush=True)
        if left < 0:
            break
    print(file=sys.stderr)
    return results


def table(scenario, running, results, options):
    """The lines of one scenario's table, in Markdown."""
    rows = []
    cost = lambda one: one["cpu"] / one["answers"] * 1e6 if one["answers"] else float("nan")
    echo = [cost(one) for one in results.get((scenario, "echo", "full"), [])]
    for name in running:
        full = results.get((scenario, name, "full"))
        if not full:
            continue
        middle = lambda key, of=full: statistics.median(one[key] for one in of)
        costs = [cost(one) for one in full]
        ratios = [mine / yardstick for mine, yardstick in zip(costs, echo)]
        qps = statistics.median(one["answers"] / one["seconds"] for one in full)
        busy = statistics.median(one["cpu"] / one["seconds"] for one in full)
        row = [name, f"{statistics.median(costs):.2f}", f"{statistics.median(ratios):.2f}" if ratios else "",
               f"{qps / 1000:.0f}", f"{busy * 100:.0f}"]
        paced = results.get((scenario, name, "paced"), [])
        if options.rate:
            row += [f"{middle(key, paced):.0f}" if paced else "" for key in ("p50", "p99", "p999")]
        taken = full + paced
        row += [str(sum(one["lost"] for one in taken)), str(sum(one["wrong"] for one in taken))]
        rows.append((statistics.median(ratios) if ratios else 0, row))
    latencies = [f"{share}, µs" for share in ("p50", "p99", "p99.9")] if options.rate else []
    head = ["server", "CPU s/M", "ratio", "k q/s", "busy %", *latencies, "lost", "wrong"]
    body = [row for _, row in sorted(rows, key=lambda pair: pair[0])]
    widths = [max(len(row[column]) for row in [head, *body]) for column in range(len(head))]
    line = lambda row: "| " + " | ".join(cell.ljust(width) if not n else cell.rjust(width)
                                         for n, (cell, width) in enumerate(zip(row, widths))) + " |"
    rule = "| " + " | ".join("-" * width if not n else "-" * (width - 1) + ":" for n, width in enumerate(widths)) + " |"
    return [f"### {scenario}: {SCENARIOS[scenario]}", "", line(head), rule, *map(line, body), ""]


def sizes(bench, chosen, options):
    """A table of memory and seconds to start at several list sizes, each server alone."""
    rows = []
    for peer in chosen:
        row = [peer.name]
        for size in options.sizes:
            listed = made_up(size, size)
            upstream, upstream_port = bench.helper("upstream", options.load_core)
            with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
                up = bench.serve(peer, os.path.join(folder, peer.name), upstream_port, listed)
                if up:
                    time.sleep(1)
                    with open(f"/proc/{up[0].pid}/status") as status:
                        rss = int(dict(field.split(":", 1) for field in status)["VmRSS"].split()[0]) / 1024
                    bench.end(up[0])
                row += [f"{up[2]:.2f}", f"{rss:.0f}"] if up else ["", ""]
            bench.end(upstream)
        rows.append(row)
        print(f"{peer.name} started {len(options.sizes)} times", file=sys.stderr)
    head = ["server"] + [f"{size:,} names: {what}" for size in options.sizes for what in ("start, s", "RSS, MiB")]
    line = lambda row: "| " + " | ".join(row) + " |"
    return ["### Start and memory", "", line(head), line(["---"] + ["---:"] * (len(head) - 1)), *map(line, rows), ""]


def arguments():
    """The command line."""
    words = lambda text: [word for word in text.split(",") if word]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qalqan", default=os.path.join(HERE, "..", "target", "release", "qalqan"), metavar="PATH")
    parser.add_argument("--servers", type=words, default=[], help="only these; the echo is always there")
    parser.add_argument("--scenarios", type=words, default=list(SCENARIOS), help=", ".join(SCENARIOS))
    parser.add_argument("--names", type=int, default=3500, help="names on the list (3500)")
    parser.add_argument("--rounds", type=int, default=12, help="turns of all servers (12)")
    parser.add_argument("--slice", type=float, default=0.3, help="seconds of full load a turn (0.3)")
    parser.add_argument("--paced", type=float, default=0.5, help="seconds of steady load a turn (0.5)")
    parser.add_argument("--rate", type=int, default=20_000, help="queries a second of the steady load; 0 leaves it out")
    parser.add_argument("--miss-rate", type=int, default=4000, help="the same for misses (4000)")
    parser.add_argument("--minutes", type=float, default=15, help="end after this round when so much time has gone (15)")
    parser.add_argument("--patience", type=float, default=60, help="seconds a server may take to come up (60)")
    parser.add_argument("--sizes", type=lambda text: [int(word) for word in words(text)], default=[],
                        help="instead: start time and memory with lists of these sizes, such as 3500,100000,1000000")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", help="write every slice there")
    options = parser.parse_args()
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return options


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if len(os.sched_getaffinity(0)) < 2:
        print("one core only: server and load take it from each other, so judge nothing by this", file=sys.stderr)
        options.server_core = options.load_core = min(os.sched_getaffinity(0))
    subprocess.run(["cargo", "build", "--release", "--quiet", "--locked"], cwd=TOOLS, check=True)
    everyone = peers.peers(os.path.abspath(options.qalqan))
    if unknown := set(options.servers) - {peer.name for peer in everyone}:
        sys.exit(f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in everyone)}")
    wanted = [peer for peer in everyone if not options.servers or peer.name in options.servers]
    missing = sorted({peer.package for peer in wanted if not peer.path})
    if missing:
        print(f"not there, left out (Debian packages, or how to build): {', '.join(missing)}", file=sys.stderr)
    chosen = [peer for peer in wanted if peer.path]
    versions = ", ".join(f"{peer.name} {peer.version()}" for peer in chosen)
    bench = Bench(options)
    try:
        if options.sizes:
            print(f"{versions}\n")
            print("\n".join(sizes(bench, chosen, options)))
            return
        listed = made_up(options.names, options.names)
        with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
            files = write_queries(folder, listed)
            echo, echo_port = bench.helper("echo", options.server_core)
            _, upstream_port = bench.helper("upstream", options.load_core)
            running = {"echo": (echo, echo_port, True)}
            for peer in chosen:
                if up := bench.serve(peer, os.path.join(folder, peer.name), upstream_port, listed):
                    running[peer.name] = (up[0], up[1], peer.cached)
            results = slices(bench, running, files, options)
            print(f"{versions}; Linux {os.uname().release}, {len(listed):,} names, steady at {options.rate:,} q/s "
                  f"(misses {options.miss_rate:,})\n")
            for scenario in options.scenarios:
                print("\n".join(table(scenario, running, results, options)))
            if options.json:
                with open(options.json, "w") as out:
                    json.dump({" ".join(key): values for key, values in results.items()}, out)
    finally:
        for process in bench.started:
            bench.end(process)


if __name__ == "__main__":
    main()
