#!/usr/bin/env python3
"""Start time, memory and reload time of qalqan with lists of several sizes.

Usage: bench/load.py [target/release/qalqan] [names ...]

For each size a list of made-up names (19 octets on average, as real lists have) is written to a temporary folder;
qalqan is checked, started, asked, given one more name, and asked until that name is blocked. *RSS after* is a second
later, while the old set is still there for hits that are being written; *RSS settled* when it is gone. Figures are
medians of five runs. Nothing but loopback is used, and every process started here is ended here.
"""
import json, os, random, signal, socket, statistics, struct, subprocess, sys, tempfile, time

BINARY = sys.argv[1] if len(sys.argv) > 1 else "target/release/qalqan"
SIZES = [int(n) for n in sys.argv[2:]] or [20_000, 190_000, 1_000_000]
RUNS = 5
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-"


def names(count):
    """`count` distinct names like those of real lists: two or three labels, 19 octets on average."""
    rng = random.Random(count)
    seen = set()
    while len(seen) < count:
        label = "".join(rng.choices(LETTERS[:36], k=rng.randint(5, 17)))
        front = "".join(rng.choices(LETTERS[:26], k=rng.randint(2, 6))) + "." if rng.random() < 0.4 else ""
        seen.add(f"{front}{label}.{rng.choice(['com', 'net', 'org', 'info', 'top', 'xyz', 'ru', 'kz'])}")
    return sorted(seen)


def query(name):
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split("."))
    return struct.pack("!6H", 1, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def blocked(sock, address, name):
    """The name gets the sinkhole's 0.0.0.0."""
    sock.sendto(query(name), address)
    try:
        answer = sock.recv(4096)
    except socket.timeout:
        return False
    return answer[3] & 15 == 0 and answer[6:8] == b"\0\1" and answer.endswith(b"\0\4\0\0\0\0")


def rss(pid):
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["VmHWM"].split()[0]) / 1024


def has_admin():
    """Whether this build has an admin listener, which would want a port of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write("[admin]\n")
        config.flush()
        done = subprocess.run([BINARY, "check", "--config", config.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return b'unknown section "admin"' not in done.stdout


ADMIN = "[admin]\nlisten = []" if has_admin() else ""


def run(count):
    listed = names(count)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "list.txt")
        with open(path, "w") as out:
            out.write("\n".join(listed) + "\n")
        config = os.path.join(folder, "config.toml")
        ready = os.path.join(folder, "ready.json")
        with open(config, "w") as out:
            out.write(f'''[server]
listen = ["127.0.0.1:0"]
ready_file = "{ready}"
[upstream]
servers = ["udp://127.0.0.1:9"]
{ADMIN}
[[list]]
name = "bench"
source = "list.txt"
''')
        checked = json.loads(subprocess.run([BINARY, "check", "--json", "--config", config], stdout=subprocess.PIPE).stdout)
        started = time.monotonic()
        server = subprocess.Popen([BINARY, "serve", "--config", config], stderr=subprocess.DEVNULL)
        try:
            while not os.path.exists(ready):
                time.sleep(0.001)
                assert server.poll() is None, "the server ended"
            start = time.monotonic() - started
            with open(ready) as file:
                host, port = json.load(file)["listen"][0]["address"].rsplit(":", 1)
            address = (host, int(port))
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.settimeout(1)
            assert blocked(sock, address, listed[0]), "a listed name is not blocked"
            time.sleep(1.5)
            memory, _ = rss(server.pid)
            with open(path, "a") as out:
                out.write("one-more-name.example\n")
            written = time.monotonic()
            while not blocked(sock, address, "one-more-name.example"):
                time.sleep(0.002)
                assert time.monotonic() - written < 60, "not enforced within a minute"
            enforced = time.monotonic() - written
            time.sleep(1.5)
            after, peak = rss(server.pid)
            time.sleep(7)
            settled, _ = rss(server.pid)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(10)
    return {"start s": start, "RSS MiB": memory, "reload s": enforced, "RSS after MiB": after,
            "RSS settled MiB": settled, "peak MiB": peak}, checked


for count in SIZES:
    rows = []
    for _ in range(RUNS):
        row, checked = run(count)
        rows.append(row)
    median = {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]}
    print(count, "names:", median, json.dumps(checked.get("totals", {})), flush=True)
