"""A list is replaced under a steady load: until when the new one is enforced, what is lost, and how long answers take."""
import json
import os
import sys
import time

from harness import Bench, answers, made_up, markdown, write_queries

# Below it every name is blocked by the new list, and by none before.
NEW = "enforced-from-now-on.example"


class Steady:
    """A load that goes on until it is told to end."""

    def __init__(self, bench: Bench, port: int, queries: str, pid: int):
        self.bench = bench
        argv = bench.load_argv(port, queries, pid, 0, "--rate", str(bench.options.rate))
        self.process = bench.spawn(argv, bench.options.load_core, text=True, stdin=-1)

    def since(self) -> dict:
        """What was counted since this was last asked."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        """Ends it."""
        self.bench.end(self.process)


def reload_row(bench: Bench, peer, size: int) -> list[str]:
    """One server with a list of this size."""
    options = bench.options
    row = [f"{peer.name}, {size:,}", peer.reload_by]
    listed = made_up(size, size)
    with bench.folder() as folder, bench.helper("upstream", options.load_core) as (_, upstream):
        home = os.path.join(folder, peer.name)
        if not (up := bench.serve(peer, home, upstream, listed)):
            return row + [""] * 5
        process, port, _ = up
        files = write_queries(folder, listed)
        peer.stage(home, port, upstream, [*listed, NEW])
        load = Steady(bench, port, files["mixed" if peer.cached else "blocked"], process.pid)
        time.sleep(1.0)
        load.since()
        time.sleep(options.before)
        before = load.since()
        began = time.monotonic()
        if peer.reload_by == "restart":
            bench.end(process)
            told = peer.switch(home)
            process = bench.spawn(peer.start(home, port, upstream, [*listed, NEW]), options.server_core, cwd=home,
                                  log=os.path.join(home, "log"))
        else:
            told = peer.switch(home)
        enforced, asked = None, 0
        while enforced is None and time.monotonic() - began < options.patience:
            asked += 1
            # A new name each time, so that no cache answers.
            if answers(port, f"n{asked}.{NEW}", timeout=0.2) == (0, True):
                enforced = time.monotonic() - began
            else:
                time.sleep(0.01)
        during = load.since()
        # What is lost counts as such after half a second.
        time.sleep(1.0)
        after = load.since()
        load.end()
        said = told.communicate(timeout=options.patience)[0] if told else ""
        bench.end(process)
    if enforced is None:
        print(f"{peer.name}: not enforced within {options.patience} s; {said.strip()[-300:]}", file=sys.stderr)
        return row + [f"> {options.patience:.0f}"] + [""] * 4
    lost, wrong = (during[key] + after[key] for key in ("lost", "wrong"))
    share = lost / max(during["sent"], 1)
    return row + [f"{enforced:.2f}", f"{lost:,}" + (f" ({share:.0%})" if lost else ""), str(wrong),
                  f"{before['p99']:.0f}", f"{during['p99']:.0f}"]


def reloads(bench: Bench, chosen: list) -> list[str]:
    """The table: every server that is there, at every size asked for."""
    options = bench.options
    rows = []
    for size in options.reload_sizes:
        for peer in chosen:
            rows.append(reload_row(bench, peer, size))
            print(f"reload: {rows[-1]}", file=sys.stderr)
    head = ["server, names", "by", "enforced, s", "lost", "wrong", "p99 before, µs", "p99 during, µs"]
    return [f"### A reload at {options.rate:,} q/s", "", *markdown(head, rows)]
