#!/usr/bin/env python3
"""How long reports take: a month in which every one of many names was asked for in every hour.

    bench/reports.py [--binary target/release/qalqan] [--names 3500] [--days 30]

Writes a store with the schema of src/store/schema.sql, runs the binary on it, and prints wall time, CPU time and the most memory
for each kind of report. Processes only; nothing is served.
"""

import argparse
import os
import pathlib
import random
import sqlite3
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIRST = 20758  # 2026-11-01, in days since 1970
REPORTS = [
    ("html", ["--format", "html"]),
    ("csv", ["--format", "csv"]),
    ("parquet", ["--format", "parquet"]),
    ("one order, html", ["--format", "html", "--order", "01-11-25/4"]),
    ("csv by day", ["--format", "csv", "--by", "day"]),
    ("csv by hour", ["--format", "csv", "--by", "hour"]),
]


def store(path, names, days):
    """Writes the store; gives its size in bytes."""
    chance = random.Random(5)
    db = sqlite3.connect(path)
    db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;")
    db.executescript((ROOT / "src/store/schema.sql").read_text())
    db.execute("PRAGMA user_version = 1")
    meta = [("created", "2026-11-01T00:00:00Z"), ("time_zone", "UTC"), ("threshold", "5"), ("software", "bench")]
    db.executemany("INSERT INTO meta VALUES (?, ?)", meta)
    db.execute("INSERT INTO run VALUES (1, ?, ?, 'bench')", (FIRST * 86400, (FIRST + days) * 86400 - 1))
    authorities = ["Agency", "Court", "Ministry"]
    orders = [(o, f"{o:02d}-11-25/4", authorities[o % 3], f"Law {o % 5}") for o in range(70)]
    db.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", orders)
    subjects = [(s, s.to_bytes(8, "big"), "blocked", f"name{s}.example", f"list{s % 3}", FIRST) for s in range(names)]
    db.executemany("INSERT INTO subject VALUES (?, ?, ?, ?, ?, ?)", subjects)
    db.executemany("INSERT INTO subject_list VALUES (?, ?)", [(s, f"list{s % 3}") for s in range(names)])
    db.executemany("INSERT INTO subject_order VALUES (?, ?)", [(s, s % 70) for s in range(names)])
    counted = [(1, "all", "", "")] + [(s + 2, "rule", f"name{s}.example", "") for s in range(names)]
    db.executemany("INSERT INTO counted VALUES (?, ?, ?, ?)", counted)
    for day in range(FIRST, FIRST + days):
        sketches = [(day, 1, 1, 50_000)] + [(day, s + 2, 1, chance.randint(1, 900)) for s in range(names)]
        db.executemany("INSERT INTO sketch VALUES (?, ?, ?, ?)", sketches)
        sums = [[0, 0] for _ in range(names)]
        for block in range(day * 4, day * 4 + 4):
            rows = []
            for name in range(names):
                row = [block, name]
                for _ in range(6):
                    hits = chance.randint(1, 40)
                    row += [hits, max(1, hits // 3)]
                    sums[name][0] += hits
                    sums[name][1] += max(1, hits // 3)
                rows.append(row)
            db.executemany(f"INSERT INTO hour_block VALUES ({', '.join('?' * 14)})", rows)
        db.executemany("INSERT INTO day VALUES (?, ?, ?, ?, 0)", [(day, s, *sums[s]) for s in range(names)])
        db.execute("INSERT INTO total_day VALUES (?, 'received', 20000000)", (day,))
    db.commit()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return os.path.getsize(path)


def run(command, folder):
    """Runs a program to its end; gives wall seconds, CPU seconds and megabytes."""
    before = os.times()
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = child.stderr.read().decode()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"{command}: {child.returncode}\n{said}")
    return os.times().elapsed - before.elapsed, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main():
    """Makes the store and all reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "target/release/qalqan"))
    parser.add_argument("--names", type=int, default=3500)
    parser.add_argument("--days", type=int, default=30)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/state")
        pathlib.Path(f"{folder}/list.txt").write_text("name0.example\n")
        pathlib.Path(f"{folder}/config.toml").write_text('state_dir = "state"\n[[list]]\nname = "list0"\nsource = "list.txt"\n')
        size = store(f"{folder}/state/statistics.db", args.names, args.days)
        print(f"{args.names} names, {args.days} days of 24 hours: {size / 1e6:.1f} MB")
        binary = str(pathlib.Path(args.binary).resolve())
        last = subprocess.run(["date", "-u", "-d", f"1970-01-01 +{FIRST + args.days - 1} days", "+%F"], capture_output=True, text=True, check=True)
        span = ["--from", "2026-11-01", "--to", last.stdout.strip()]
        jobs = [(name, [binary, "report", *span, *more, "--out", "report"]) for name, more in REPORTS]
        jobs.append(("stats", [binary, "stats", "--since", "2026-11-01"]))
        for name, command in jobs:
            wall, cpu, memory = min(run(command, folder) for _ in range(3))
            print(f"{name:16}  {wall:5.2f} s  {cpu:5.2f} s CPU  {memory:4.0f} MB")


if __name__ == "__main__":
    main()
