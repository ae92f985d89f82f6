"""TCP, DoT and DoH beside dnsdist: what a query costs, what a handshake costs, what idle connections hold; bench/compare.py's
parts `transports` and `idle`."""
import base64
import os
import re
import resource
import socket
import ssl
import subprocess
import sys
import time

import peers
from harness import Bench, free_port, made_up, markdown, middle, rss

KINDS = ["tcp", "dot", "doh"]
CLIENTS = 100


def certificate(folder: str) -> tuple[str, str]:
    """A self-signed certificate (ECDSA, P-256) and its key, the same for all."""
    paths = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1]]
    subprocess.run(argv, check=True, stderr=subprocess.DEVNULL)
    return paths


def ports() -> dict[str, int]:
    """One for each kind but plain TCP, which has that of UDP."""
    return {kind: free_port() for kind in KINDS[1:]}


class Encrypted(peers.Qalqan):
    """With listeners for all kinds, and room for many connections of one client."""

    def __init__(self, name: str, path: str, pair: tuple[str, str], most: int = 1000):
        self.ports = ports()
        super().__init__(name, path, more=f'''
[tls]
certificate = "{pair[0]}"
key = "{pair[1]}"
dot = ["127.0.0.1:{self.ports['dot']}"]
doh = ["127.0.0.1:{self.ports['doh']}"]
[server.tcp]
idle = "5m"
max_connections = {2 * most}
max_per_client = {2 * most}
''')


class EncryptedDnsdist(peers.Dnsdist):
    """The same, by its own means."""

    def __init__(self, name: str, pair: tuple[str, str]):
        self.ports, self.pair = ports(), pair
        super().__init__(name, cache=True)

    def start(self, folder, port, upstream, names):
        argv = super().start(folder, port, upstream, names)
        cert, key = self.pair
        with open(argv[-1], "a") as config:
            config.write(f'''
addTLSLocal("127.0.0.1:{self.ports['dot']}", "{cert}", "{key}")
addDOHLocal("127.0.0.1:{self.ports['doh']}", "{cert}", "{key}", "/dns-query")
''')
        return argv


def cpu(pid: int) -> float:
    """CPU-seconds of a process so far, all threads."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def names(folder: str, listed: list[str], scenario: str) -> dict[str, str]:
    """Files of queries, the same for all: for dnsperf names, for h2load addresses (RFC 8484 section 6: without padding, id 0)."""
    passed = made_up(1000, 99)
    every = {"blocked": listed, "cached": passed, "mixed": passed * 4 + listed[: len(passed) * 4 // 19]}[scenario]
    paths = {kind: os.path.join(folder, f"{scenario}.{kind}") for kind in ("dnsperf", "h2load")}
    with open(paths["dnsperf"], "w") as out:
        out.writelines(f"{name} A\n" for name in every)
    with open(paths["h2load"], "w") as out:
        for name in every:
            labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
            query = bytes.fromhex("0000 0100 0001 0000 0000 0000") + labels + bytes.fromhex("00 0001 0001")
            out.write(f"/dns-query?dns={base64.urlsafe_b64encode(query).decode().rstrip('=')}\n")
    return paths


def load(bench: Bench, pid: int, port: int, kind: str, queries: dict[str, str], seconds: float) -> dict:
    """One slice: answers, CPU of the server, how many got none. Four queries under way on each of 100 connections.

    dnsperf (2.10) loses track of several DoH answers that come together, so DoH is asked by h2load.
    """
    if kind == "doh":
        argv = ["h2load", "-c", str(CLIENTS), "-m", "4", "-D", str(max(1, round(seconds))), "--warm-up-time", "0", "-t", "1", "-B",
                f"https://127.0.0.1:{port}", "-i", queries["h2load"], "-H", "accept: application/dns-message"]
        answers, lost = r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded", r"(\d+) failed, \d+ errored"
    else:
        argv = ["dnsperf", "-m", kind, "-s", "127.0.0.1", "-p", str(port), "-d", queries["dnsperf"], "-c", str(CLIENTS),
                "-q", str(4 * CLIENTS), "-l", str(seconds), "-t", "3"]
        answers, lost = r"Queries completed:\s+(\d+)", r"Queries lost:\s+(\d+)"
    before = cpu(pid)
    done = subprocess.run(["taskset", "-c", str(bench.options.load_core), *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=seconds + 30)
    spent = cpu(pid) - before
    figure = lambda pattern: float((re.search(pattern, done.stdout) or [0, 0])[1])
    return {"answers": figure(answers), "lost": figure(lost), "cpu": spent, "seconds": seconds}


def handshakes(bench: Bench, pid: int, port: int, seconds: int) -> dict:
    """One slice of connections that do nothing but shake hands, each anew."""
    argv = ["taskset", "-c", str(bench.options.load_core), "openssl", "s_time", "-connect", f"127.0.0.1:{port}", "-new", "-time", str(seconds)]
    before = cpu(pid)
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds + 30)
    count = re.search(r"(\d+) connections in \d+ real seconds", done.stdout)
    return {"answers": float(count[1]) if count else 0, "lost": 0, "cpu": cpu(pid) - before, "seconds": seconds}


def transports(bench: Bench) -> list[str]:
    """A query over each transport, and a handshake: CPU-seconds a million of both, and the ratio, round by round."""
    options = bench.options
    listed = made_up(options.names, options.names)
    seconds = 4 * options.slice
    results: dict[tuple[str, str], list[dict]] = {}
    with bench.folder() as folder, bench.helper("upstream", options.load_core) as (_, upstream):
        pair = certificate(folder)
        builds = [("qalqan", options.qalqan), *(build.split("=", 1) for build in options.build)]
        servers = [Encrypted(name, os.path.abspath(path), pair) for name, path in builds] + [EncryptedDnsdist("dnsdist", pair)]
        up = {}
        for peer in servers:
            if not peer.path or not (running := bench.serve(peer, os.path.join(folder, peer.name), upstream, listed)):
                return ["### Transports", "", f"{peer.name} did not come up.", ""]
            up[peer.name] = (peer, running[0].pid, {"tcp": running[1], **peer.ports})
        files = {scenario: names(folder, listed, scenario) for scenario in ("blocked", "cached", "mixed")}
        for turn in range(options.rounds):
            order = list(up.values())[:: -1 if turn % 2 else 1]
            for kind in KINDS:
                for scenario, queries in files.items():
                    for peer, pid, at in order:
                        one = load(bench, pid, at[kind], kind, queries, seconds if turn else seconds / 2)
                        if turn:
                            results.setdefault((f"{kind}, {scenario}", peer.name), []).append(one)
            for peer, pid, at in order:
                one = handshakes(bench, pid, at["dot"], max(1, round(seconds)))
                if turn:
                    results.setdefault(("dot, handshake alone", peer.name), []).append(one)
            print(f"\rtransports: round {turn + 1} of {options.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rows = []
    price = lambda one: one["cpu"] / one["answers"] * 1e6 if one["answers"] else float("nan")
    for what in dict.fromkeys(what for what, _ in results):
        theirs = results[what, "dnsdist"]
        for name in up:
            mine = results[what, name]
            ratios = [price(other) / price(one) for one, other in zip(mine, theirs)]
            rows.append([f"{what}, {name}", f"{middle(map(price, mine)):.2f}", f"{middle(ratios):.2f}",
                         f"{middle(one['answers'] / one['seconds'] for one in mine) / 1000:.1f}",
                         f"{middle(one['cpu'] / one['seconds'] for one in mine) * 100:.0f}", f"{sum(one['lost'] for one in mine):.0f}"])
    head = ["", "CPU s/M", "queries a CPU-second to dnsdist's", "k/s", "busy %", "lost"]
    return [f"### Transports: {CLIENTS} clients, connections kept", "", *markdown(head, rows)]


def idle(bench: Bench, count: int = 10_000) -> list[str]:
    """Resident memory with so many DoT connections that have asked once and say nothing more."""
    options = bench.options
    listed = made_up(options.names, options.names)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, soft))
    rows = []
    with bench.folder() as folder, bench.helper("upstream", options.load_core) as (_, upstream):
        pair = certificate(folder)
        for peer in [Encrypted("qalqan", os.path.abspath(options.qalqan), pair, count), EncryptedDnsdist("dnsdist", pair)]:
            if not peer.path or not (up := bench.serve(peer, os.path.join(folder, peer.name), upstream, listed)):
                continue
            before = rss(up[0].pid)
            held = connections(peer.ports["dot"], count)
            time.sleep(2)
            alive = sum(asked(one) for one in held)
            rows.append([peer.name, f"{alive:,}", f"{before:.0f}", f"{rss(up[0].pid):.0f}"])
            for one in held:
                one.close()
            bench.end(up[0])
    return ["### Idle DoT connections", "", *markdown(["server", "connections that answer", "RSS before, MiB", "RSS with them, MiB"], rows)]


def connections(port: int, count: int) -> list[ssl.SSLSocket]:
    """Connections that have shaken hands; fewer if the server takes no more."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    held = []
    for _ in range(count):
        try:
            held.append(context.wrap_socket(socket.create_connection(("127.0.0.1", port), 5)))
        except OSError:
            break
    return held


def asked(one: ssl.SSLSocket) -> bool:
    """Whether a connection answers."""
    try:
        one.settimeout(5)
        query = bytes.fromhex("0001 0100 0001 0000 0000 0000") + b"\6passed\7example\3net\0" + bytes.fromhex("0001 0001")
        one.sendall(len(query).to_bytes(2, "big") + query)
        return len(one.recv(2)) > 0
    except OSError:
        return False
