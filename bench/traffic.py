"""Servers side by side under full and under steady load: bench/compare.py's tables, and the costs of log and list size."""
import os
import sys
import time
from dataclasses import dataclass, field

from harness import Bench, cost, made_up, markdown, middle, write_queries

SCENARIOS = {
    "blocked": "names on the list, half of them below a listed name",
    "cached": "1,000 names asked before",
    "mixed": "95 % as cached, 5 % as blocked",
    "miss": "names never asked before",
}
NEEDS_CACHE = {"cached", "mixed"}


@dataclass
class Running:
    """A server that is up."""

    process: object
    port: int
    files: dict[str, str]
    cached: bool = True
    check: bool = True


@dataclass
class Slices:
    """Takes turns over running servers, and keeps what each slice counted by (scenario, server, kind)."""

    bench: Bench
    running: dict[str, Running]
    results: dict[tuple[str, str, str], list[dict]] = field(default_factory=dict)

    def take(self, scenario: str, name: str, kind: str, seconds: float, *more: str) -> None:
        """One slice."""
        server = self.running[name]
        if scenario in NEEDS_CACHE and not server.cached:
            return
        check = [] if server.check else ["--check", "no"]
        one = self.bench.load(server.port, server.files[scenario], server.process.pid, seconds, *check, *more)
        self.results.setdefault((scenario, name, kind), []).append(one)

    def run(self, scenarios: list[str], rounds: int, paced: bool, minutes: float) -> None:
        """All rounds, or as many as the minutes allow."""
        options = self.bench.options
        ends = time.monotonic() + minutes * 60
        # A slice that fills the caches is not counted.
        for scenario in scenarios:
            for name in self.running:
                self.take(scenario, name, "warm", 0.4)
        for turn in range(rounds):
            names = list(self.running)
            # Who goes after whom changes from round to round.
            order = names[turn % len(names):] + names[:turn % len(names)]
            if turn // len(names) % 2:
                order.reverse()
            for scenario in scenarios:
                for name in order:
                    self.take(scenario, name, "full", options.slice)
                rate = options.miss_rate if scenario == "miss" else options.rate
                for name in order if paced and rate else []:
                    self.take(scenario, name, "paced", options.paced, "--rate", str(rate))
            left = ends - time.monotonic()
            print(f"\rround {turn + 1} of {rounds}, at most {max(left, 0):.0f} s more  ", end="", file=sys.stderr, flush=True)
            if left < 0:
                break
        print(file=sys.stderr)

    def ratios(self, scenario: str, name: str, to: str) -> list[float]:
        """Costs of one to another, round by round."""
        pairs = zip(self.results.get((scenario, name, "full"), []), self.results.get((scenario, to, "full"), []))
        return [cost(mine) / cost(theirs) for mine, theirs in pairs]

    def row(self, scenario: str, name: str) -> list[str] | None:
        """A server's line of a scenario's table."""
        full = self.results.get((scenario, name, "full"))
        if not full:
            return None
        ratios = self.ratios(scenario, name, "echo")
        qps = middle(one["answers"] / one["seconds"] for one in full)
        busy = middle(one["cpu"] / one["seconds"] for one in full)
        row = [name, f"{middle(map(cost, full)):.2f}", f"{middle(ratios):.2f}" if ratios else "", f"{qps / 1000:.0f}",
               f"{busy * 100:.0f}"]
        paced = self.results.get((scenario, name, "paced"), [])
        row += [f"{middle(one[key] for one in paced):.0f}" if paced else "" for key in ("p50", "p99", "p999")]
        taken = full + paced
        return row + [str(sum(one[key] for one in taken)) for key in ("lost", "wrong")]

    def table(self, scenario: str) -> list[str]:
        """A scenario's table, the cheapest first."""
        rows = [row for name in self.running if (row := self.row(scenario, name))]
        rows.sort(key=lambda row: float(row[2] or 0))
        head = ["server", "CPU s/M", "ratio", "k q/s", "busy %", "p50, µs", "p99, µs", "p99.9, µs", "lost", "wrong"]
        return [f"### {scenario}: {SCENARIOS[scenario]}", "", *markdown(head, rows)]


def peers_table(bench: Bench, chosen: list) -> list[str]:
    """Every peer beside the echo; the tables, and every slice as JSON where asked for."""
    options = bench.options
    listed = made_up(options.names, options.names)
    with bench.folder() as folder, bench.helper("echo", options.server_core) as echo, \
            bench.helper("upstream", options.load_core) as upstream:
        files = write_queries(folder, listed)
        running = {"echo": Running(*echo, files, check=False)}
        for peer in chosen:
            if up := bench.serve(peer, os.path.join(folder, peer.name), upstream[1], listed):
                running[peer.name] = Running(up[0], up[1], files, peer.cached)
        slices = Slices(bench, running)
        slices.run(options.scenarios, options.rounds, True, options.minutes)
        for server in running.values():
            bench.end(server.process)
    bench.slices |= {" ".join(key): values for key, values in slices.results.items()}
    lines = [f"{len(listed):,} names, steady at {options.rate:,} q/s (misses {options.miss_rate:,}).", ""]
    return lines + [line for scenario in options.scenarios for line in slices.table(scenario)]


def versus(bench: Bench, title: str, servers: list[tuple[str, object, list[str]]], scenarios: list[str]) -> list[str]:
    """Costs of the others to those of the first, all of one kind: name, peer and names on the list each."""
    options = bench.options
    with bench.folder() as folder, bench.helper("upstream", options.load_core) as upstream:
        running = {}
        for number, (name, peer, listed) in enumerate(servers):
            home = os.path.join(folder, str(number))
            os.makedirs(home)
            if not (up := bench.serve(peer, home, upstream[1], listed)):
                return [f"### {title}", "", f"{name} did not come up.", ""]
            # Of a long list no more names are asked for than of a short one.
            asked = min(len(other) for _, _, other in servers)
            running[name] = Running(up[0], up[1], write_queries(home, listed, asked), peer.cached)
        slices = Slices(bench, running)
        slices.run(scenarios, options.rounds * 2, False, options.minutes / 2)
        for server in running.values():
            bench.end(server.process)
    first = servers[0][0]
    rows = []
    for scenario in scenarios:
        for name in running:
            ratios = sorted(slices.ratios(scenario, name, first))
            costs = middle(map(cost, slices.results[scenario, name, "full"]))
            quarter = len(ratios) // 4
            spread = f"{ratios[quarter]:.2f}–{ratios[-1 - quarter]:.2f}"
            rows.append([f"{scenario}, {name}", f"{costs:.2f}", f"{middle(ratios):.3f}", spread])
    return [f"### {title}", "", *markdown(["", "CPU s/M", "ratio", "middle half"], rows)]
