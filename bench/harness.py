"""What every part of bench/compare.py uses: made-up names, files of queries, processes, loads, and tables."""
import contextlib
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
from collections.abc import Iterable, Iterator

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = os.path.join(HERE, "tools")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def made_up(count: int, seed: int) -> list[str]:
    """`count` distinct names like those of real lists: two or three labels, 19 octets on average."""
    rng = random.Random(seed)
    seen: dict[str, None] = {}
    while len(seen) < count:
        label = "".join(rng.choices(LETTERS, k=rng.randint(5, 17)))
        front = "".join(rng.choices(LETTERS[:26], k=rng.randint(2, 6))) + "." if rng.random() < 0.4 else ""
        seen[f"{front}{label}.{rng.choice(['com', 'net', 'org', 'info', 'top', 'xyz', 'ru', 'kz'])}"] = None
    return list(seen)


def write_queries(folder: str, listed: list[str], most: int = 20_000) -> dict[str, str]:
    """One file of queries a scenario, with at most `most` names of the list; bench/tools/src/query.rs tells the form."""
    rng = random.Random(7)
    sample = rng.sample(listed, min(len(listed), most))
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


def free_port() -> int:
    """A port free for UDP and TCP on loopback a moment ago."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                tcp.bind(udp.getsockname())
                return udp.getsockname()[1]


def answers(port: int, name: str, timeout: float = 0.5) -> tuple[int, bool] | None:
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


def rss(pid: int) -> float:
    """Resident memory in MiB."""
    with open(f"/proc/{pid}/status") as status:
        return int(dict(field.split(":", 1) for field in status)["VmRSS"].split()[0]) / 1024


class Bench:
    """The processes and the settings they share. Whatever it starts ends with it."""

    def __init__(self, options):
        self.options = options
        self.tool = os.path.join(TOOLS, "target", "release", "bench-tools")
        self.started: list[subprocess.Popen] = []

    def spawn(self, argv: list[str], core: int, log: str | None = None, **more) -> subprocess.Popen:
        """Starts a process on a core; it ends with us, however we end."""
        end_with_us = lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        out = open(log, "w") if log else subprocess.PIPE
        more.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(["taskset", "-c", str(core), *argv], stdout=out,
                                   stderr=subprocess.STDOUT if log else None, preexec_fn=end_with_us, **more)
        self.started.append(process)
        return process

    def end(self, process: subprocess.Popen) -> None:
        """Ends a process started here."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def end_all(self) -> None:
        """Ends whatever was started."""
        for process in self.started:
            self.end(process)

    @contextlib.contextmanager
    def helper(self, kind: str, core: int) -> Iterator[tuple[subprocess.Popen, int]]:
        """The echo or the upstream: the process and its port."""
        process = self.spawn([self.tool, kind], core, text=True)
        yield process, int(process.stdout.readline().rsplit(":", 1)[1])
        self.end(process)

    @contextlib.contextmanager
    def folder(self) -> Iterator[str]:
        """A temporary folder."""
        with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
            yield folder

    def serve(self, peer, folder: str, upstream: int, listed: list[str], port: int = 0):
        """Starts a peer and waits until it blocks and forwards; process, port and seconds, or None after a word why."""
        os.makedirs(folder, exist_ok=True)
        port = port or free_port()
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

    def load_argv(self, port: int, queries: str, pid: int, seconds: float, *more: str) -> list[str]:
        """The command of a load."""
        return [self.tool, "load", "--server", f"127.0.0.1:{port}", "--names", queries, "--pid", str(pid),
                "--seconds", str(seconds), *more]

    def load(self, port: int, queries: str, pid: int, seconds: float, *more: str) -> dict:
        """One slice of load: what it counted."""
        argv = ["taskset", "-c", str(self.options.load_core), *self.load_argv(port, queries, pid, seconds, *more)]
        done = subprocess.run(argv, stdout=subprocess.PIPE, timeout=seconds + 30, check=True, text=True)
        return json.loads(done.stdout)


def cost(one: dict) -> float:
    """CPU-seconds a million answers."""
    return one["cpu"] / one["answers"] * 1e6 if one["answers"] else float("nan")


def middle(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)


def markdown(head: list[str], body: list[list[str]]) -> list[str]:
    """A table: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [head, *body]) for column in range(len(head))]
    line = lambda row: "| " + " | ".join(cell.ljust(width) if not n else cell.rjust(width)
                                         for n, (cell, width) in enumerate(zip(row, widths))) + " |"
    rule = "| " + " | ".join("-" * width if not n else "-" * (width - 1) + ":" for n, width in enumerate(widths)) + " |"
    return [line(head), rule, *map(line, body), ""]


def machine() -> str:
    """What the figures were taken on."""
    with open("/proc/cpuinfo") as file:
        models = {line.split(":", 1)[1].strip() for line in file if line.startswith("model name")}
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) / 2**20
    load = os.getloadavg()[0]
    return (f"{', '.join(sorted(models)) or os.uname().machine}, {os.cpu_count()} CPUs, {memory:.0f} GiB, "
            f"Linux {os.uname().release}, load average at the start {load:.1f}, {time.strftime('%Y-%m-%d %H:%M')}")
