#!/usr/bin/env python3
"""qalqan beside its peers: CPU time a query, queries a second and latency, each also as a ratio to a bare UDP echo.

    bench/compare.py             everything, in about half an hour
    bench/compare.py --quick     the same with few turns and short lists, in about two minutes
    bench/compare.py --parts traffic,hits [--servers qalqan,unbound] [--scenarios blocked,miss] [--rounds 12]

The parts: `traffic` (every server by scenario), `hits` (what the hit log costs), `statistics` (what counts and log cost), `streams` (what each kind of stream costs),
`list-size` (what a long list costs), `start` (seconds to start and memory), `reload` (a list replaced under a steady load), `clients` (what groups of clients cost), `transports` (TCP, DoT and DoH beside
dnsdist, by dnsperf), `idle` (memory of 10,000 idle DoT connections).

Installs nothing and says what is missing; a missing peer is left out. Needs two cores: one for the server that is being
asked, one for the load and the mock upstream. In traffic, hits, statistics, streams and list-size all servers are up all the time and asked in
turn, a slice each, so that what disturbs the machine disturbs all alike; figures are medians over the rounds, ratios are
taken within a round. CPU time is that of the server's process, all threads. Only loopback is used, and whatever was
started here is ended here. bench/tools holds the echo, the upstream and the load generator; bench/peers.py the servers'
configurations.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import time

import peers
from harness import HERE, TOOLS, Bench, machine, made_up, markdown, rss
from readers import streams as readers
from reloads import reloads
from traffic import SCENARIOS, peers_table, versus
from transports import idle, transports

PARTS = ["traffic", "hits", "statistics", "streams", "list-size", "start", "reload", "clients", "transports", "idle"]
# What --quick sets where the command line does not.
QUICK = {"rounds": 2, "slice": 0.15, "paced": 0.2, "minutes": 1.0, "sizes": [3500], "reload_sizes": [3500], "long": 100_000,
         "before": 1.0}
FULL = {"rounds": 12, "slice": 0.3, "paced": 0.5, "minutes": 15.0, "sizes": [3500, 100_000, 1_000_000],
        "reload_sizes": [3500, 1_000_000], "long": 1_000_000, "before": 3.0}


def start(bench: Bench, chosen: list) -> list[str]:
    """A table of memory and seconds to start at several list sizes, each server alone."""
    options = bench.options
    rows = []
    for peer in chosen:
        row = [peer.name]
        for size in options.sizes:
            listed = made_up(size, size)
            with bench.helper("upstream", options.load_core) as (_, upstream), bench.folder() as folder:
                up = bench.serve(peer, os.path.join(folder, peer.name), upstream, listed)
                if up:
                    time.sleep(1)
                    row += [f"{up[2]:.2f}", f"{rss(up[0].pid):.0f}"]
                    bench.end(up[0])
                else:
                    row += ["", ""]
        rows.append(row)
        print(f"start: {row}", file=sys.stderr)
    head = ["server"] + [f"{size:,} names: {what}" for size in options.sizes for what in ("start, s", "RSS, MiB")]
    return ["### Start and memory", "", *markdown(head, rows)]


def hits(bench: Bench, own: list) -> list[str]:
    """What the hit log costs, to other builds too."""
    listed = made_up(bench.options.names, bench.options.names)
    log, nolog = own
    servers = [("off", nolog, listed), ("on", log, listed)]
    for name, path in (build.split("=", 1) for build in bench.options.build):
        path = os.path.abspath(path)
        servers += [(f"{name} off", peers.Qalqan(name, path, log=False), listed), (f"{name} on", peers.Qalqan(name, path), listed)]
    return versus(bench, "The hit log", servers, ["blocked", "mixed"])


def statistics(bench: Bench, own: list) -> list[str]:
    """What the statistics cost: without anything, with the hit log, with the counts kept, with both."""
    listed = made_up(bench.options.names, bench.options.names)
    path = os.path.abspath(bench.options.qalqan)
    off = "[stats]\nenabled = false\n"
    servers = [
        ("all off", peers.Qalqan("all off", path, log=False, more=off), listed),
        ("hit log", peers.Qalqan("hit log", path, more=off), listed),
        ("statistics", peers.Qalqan("statistics", path, log=False), listed),
        ("all on", peers.Qalqan("all on", path), listed),
    ]
    return versus(bench, "Hit log and statistics", servers, ["blocked", "mixed"])


def streams(bench: Bench, own: list) -> list[str]:
    """What each kind of stream costs, without the hit log, everything read or thrown away at once."""
    listed = made_up(bench.options.names, bench.options.names)
    with bench.folder() as folder:
        kinds = readers(folder)
        servers = [("off", own[1], listed), ("hit log", own[0], listed)]
        path = os.path.abspath(bench.options.qalqan)
        servers += [(kind, peers.Qalqan(kind, path, log=False, more=more), listed) for kind, more in kinds.items()]
        return versus(bench, "Streams", servers, ["blocked"])


def clients(bench: Bench, own: list) -> list[str]:
    """What groups of clients cost: none, one that has everybody, and 100,000 address blocks of which one has the client."""
    options = bench.options
    listed = made_up(options.names, options.names)
    path = os.path.abspath(options.qalqan)
    with bench.folder() as folder:
        blocks = os.path.join(folder, "blocks.txt")
        with open(blocks, "w") as out:
            out.writelines(f"127.{n >> 15}.{n >> 7 & 255}.{n << 1 & 255}/31\n" for n in range(100_000))
        group = '[[clients]]\nname = "many"\nlists = ["bench"]\n'
        servers = [
            ("no groups", own[0], listed),
            ("one block", peers.Qalqan("one block", path, more=group + 'from = ["127.0.0.0/8"]\n'), listed),
            ("100,000 blocks", peers.Qalqan("100,000 blocks", path, more=group + f'from_file = "{blocks}"\n'), listed),
        ]
        return versus(bench, "Groups of clients", servers, ["blocked", "cached"])


def list_size(bench: Bench, own: list) -> list[str]:
    """What a long list costs."""
    sizes = [3500, bench.options.long]
    servers = [(f"{size:,} names", own[0], made_up(size, size)) for size in sizes]
    return versus(bench, f"The size of the list, {sizes[0]:,} of its names asked for", servers, ["blocked", "mixed"])


def arguments() -> argparse.Namespace:
    """The command line."""
    words = lambda text: [word for word in text.split(",") if word]
    numbers = lambda text: [int(word) for word in words(text)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few turns, short lists")
    parser.add_argument("--parts", type=words, default=PARTS, help=", ".join(PARTS))
    parser.add_argument("--qalqan", default=os.path.join(HERE, "..", "target", "release", "qalqan"), metavar="PATH")
    parser.add_argument("--build", action="append", default=[], metavar="NAME=PATH", help="another build of it, beside it")
    parser.add_argument("--servers", type=words, default=[], help="only these; the echo is always there")
    parser.add_argument("--scenarios", type=words, default=list(SCENARIOS), help=", ".join(SCENARIOS))
    parser.add_argument("--names", type=int, default=3500, help="names on the list of traffic and hits (3500)")
    parser.add_argument("--rounds", type=int, help="turns of all servers (12)")
    parser.add_argument("--slice", type=float, help="seconds of full load a turn (0.3)")
    parser.add_argument("--paced", type=float, help="seconds of steady load a turn (0.5)")
    parser.add_argument("--rate", type=int, default=20_000, help="queries a second of the steady load (20000)")
    parser.add_argument("--miss-rate", type=int, default=4000, help="the same for misses (4000)")
    parser.add_argument("--minutes", type=float, help="end traffic after this round when so much time has gone (15)")
    parser.add_argument("--patience", type=float, default=90, help="seconds a server may take to come up, or to reload (90)")
    parser.add_argument("--sizes", type=numbers, help="names of start (3500,100000,1000000)")
    parser.add_argument("--reload-sizes", type=numbers, help="names of reload (3500,1000000)")
    parser.add_argument("--long", type=int, help="names of list-size (1000000)")
    parser.add_argument("--before", type=float, help="seconds of steady load before a reload (3)")
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", help="write every slice of traffic there")
    options = parser.parse_args()
    for key, value in (QUICK if options.quick else FULL).items():
        if getattr(options, key) is None:
            setattr(options, key, value)
    for given, known, what in [(options.scenarios, SCENARIOS, "scenario"), (options.parts, PARTS, "part")]:
        if unknown := set(given) - set(known):
            parser.error(f"no such {what}: {', '.join(sorted(unknown))}")
    if bad := [build for build in options.build if "=" not in build]:
        parser.error(f"not NAME=PATH: {bad[0]}")
    return options


def choose(options: argparse.Namespace) -> list:
    """The servers that are wanted and there; says what is missing."""
    builds = [build.split("=", 1) for build in options.build]
    everyone = peers.peers(os.path.abspath(options.qalqan), [(name, os.path.abspath(path)) for name, path in builds])
    if unknown := set(options.servers) - {peer.name for peer in everyone}:
        sys.exit(f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in everyone)}")
    wanted = [peer for peer in everyone if not options.servers or peer.name in options.servers]
    if missing := sorted({peer.package for peer in wanted if not peer.path}):
        print(f"not there, left out (Debian packages, or how to build): {', '.join(missing)}", file=sys.stderr)
    return [peer for peer in wanted if peer.path]


def main() -> None:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        print("one core only: server and load take it from each other, so judge nothing by this", file=sys.stderr)
        options.server_core = options.load_core = min(cores)
    subprocess.run(["cargo", "build", "--release", "--quiet", "--locked"], cwd=TOOLS, check=True)
    # We ourselves stay out of the server's way.
    os.sched_setaffinity(0, {options.load_core})
    chosen = choose(options)
    own = peers.peers(os.path.abspath(options.qalqan))[:2]
    if not own[0].path and {"hits", "statistics", "streams", "list-size", "clients", "transports", "idle"} & set(options.parts):
        sys.exit(f"all parts but traffic, start and reload need {own[0].package}")
    bench = Bench(options)
    bench.slices = {}
    print(f"{', '.join(f'{peer.name} {peer.version()}' for peer in chosen)}; {machine()}.\n", flush=True)
    try:
        for part in options.parts:
            lines = {
                "traffic": lambda: peers_table(bench, chosen),
                "hits": lambda: hits(bench, own),
                "statistics": lambda: statistics(bench, own),
                "streams": lambda: streams(bench, own),
                "list-size": lambda: list_size(bench, own),
                # With and without log is one to these.
                "start": lambda: start(bench, [peer for peer in chosen if not peer.name.endswith(("nolog", "nocache"))]),
                "clients": lambda: clients(bench, own),
                "transports": lambda: transports(bench),
                "idle": lambda: idle(bench),
                "reload": lambda: reloads(bench, [peer for peer in chosen if not peer.name.endswith(("nolog", "nocache"))]),
            }[part]()
            print("\n".join(lines), flush=True)
        if options.json:
            with open(options.json, "w") as out:
                json.dump(bench.slices, out)
    finally:
        bench.end_all()


if __name__ == "__main__":
    main()
