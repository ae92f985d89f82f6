#!/usr/bin/env python3
"""Instructions a decision takes, counted by callgrind and compared with bench/instructions.baseline.

    bench/instructions.py            fails if a blocked (without or with a cookie; grouped: of a client in one of
                                     100,000 address blocks), a cached or a passed query costs over 5 % more than the baseline
    bench/instructions.py --accept   makes what was counted the new baseline; commit it and say why

Instructions do not depend on what else the machine does, so a change of some per cent is a change of the code (or of the
compiler: the baseline names its own). What is counted is `Decider::decide` alone, hits counted and handed to the
hit log, extended errors on: no system call, no other thread. bench/instructions.rs makes the queries.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BASELINE = os.path.join(HERE, "instructions.baseline")
KINDS = ["blocked", "cookies", "grouped", "cached", "passed"]
MOST = 0.05


def build() -> str:
    """Builds the benchmark; its path."""
    command = ["cargo", "bench", "--locked", "--quiet", "--bench", "instructions", "--no-run", "--message-format=json"]
    done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, check=True, text=True)
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "instructions":
            return message["executable"]
    sys.exit("cargo built no benchmark of that name")


def count(program: str, kind: str) -> float:
    """Instructions a decision."""
    with tempfile.TemporaryDirectory(prefix="instructions-") as folder:
        command = ["valgrind", "--tool=callgrind", "--toggle-collect=*measured_decisions*",
                   f"--callgrind-out-file={folder}/out", program, kind]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or not collected or not done.stdout.strip().isdigit():
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return int(collected[1]) / int(done.stdout)


def baseline() -> dict[str, float]:
    """What was accepted; empty before the first time."""
    try:
        with open(BASELINE) as file:
            lines = [line.split() for line in file if line.strip() and not line.startswith("#")]
    except FileNotFoundError:
        return {}
    return {kind: float(number) for kind, number in lines}


def compiler() -> str:
    """The compiler's version."""
    return subprocess.run(["rustc", "--version"], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()


def accept(counts: dict[str, float]) -> None:
    """Writes the baseline."""
    with open(BASELINE, "w") as out:
        out.write(f"# Instructions a decision; made by bench/instructions.py --accept with {compiler()}\n")
        out.writelines(f"{kind} {number:.1f}\n" for kind, number in counts.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", action="store_true", help="make this the new baseline")
    options = parser.parse_args()
    accepted = baseline()
    program = build()
    counts = {kind: count(program, kind) for kind in KINDS}
    worse = []
    print(f"{'query':10} {'instructions':>12} {'baseline':>9} {'change':>7}")
    for kind, number in counts.items():
        known = accepted.get(kind)
        change = number / known - 1 if known else None
        shown = [f"{known:.1f}", f"{change:+.1%}"] if known else ["none", ""]
        print(f"{kind:10} {number:>12.1f} {shown[0]:>9} {shown[1]:>7}")
        if change is None or change > MOST:
            worse.append(kind)
    if options.accept:
        accept(counts)
    elif worse:
        sys.exit(f"over {MOST:.0%} more than the baseline ({', '.join(worse)}), here with {compiler()}. If that is worth "
                 "it, run bench/instructions.py --accept, commit the baseline, and say why.")


if __name__ == "__main__":
    main()
