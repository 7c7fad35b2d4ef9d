#!/usr/bin/env python3
"""Certifies files that others have published, and says of each what came of it: one JSON line a file, for table.py.

    python3 benches/checkpoints/files.py --program target/release/heirloom FILE... >files.jsonl

By frozen features, with policy.yaml beside this file. Python 3.9 or newer, nothing else.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# What each exit code of `certify` says.
WORDS = {0: "pass", 1: "FAIL", 2: "error", 3: "nothing judged", 4: "refused", 5: "inconclusive"}


def told(text):
    """The error, without the progress before it."""
    lines = [line for line in text.splitlines() if line.startswith("error:")]
    return (lines or text.strip().splitlines() or [""])[-1].removeprefix("error: ")


def of(program, path, policy):
    name = "/".join(path.parts[-2:])
    found = {"file": name, "bytes": path.stat().st_size}
    seen = subprocess.run([program, "inspect", path, "--format", "json"], capture_output=True, text=True, check=False)
    if seen.returncode == 0:
        read = json.loads(seen.stdout)
        found["what"] = read["description"]
        found["trains"] = next((mode["possible"] for mode in read["modes"] if mode["mode"] == "full_network"), False)
        found["features"] = f"{read['cut']['width']} ({read['cut']['how']})"
    with tempfile.TemporaryDirectory() as output:
        began = time.monotonic()
        done = subprocess.run([program, "certify", path, "--policy", policy, "--output", output, "--no-cache"], capture_output=True, text=True, check=False)
        found["seconds"] = round(time.monotonic() - began, 1)
        found["verdict"] = WORDS.get(done.returncode, str(done.returncode))
        if done.returncode not in (0, 1, 5):
            found["reason"] = told(done.stderr).replace(str(path), path.name)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="heirloom", help="the built program")
    parser.add_argument("--policy", type=Path, default=HERE / "policy.yaml")
    parser.add_argument("files", nargs="+", type=Path)
    args = parser.parse_args()
    for path in args.files:
        print(json.dumps(of(args.program, path.resolve(), args.policy)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
