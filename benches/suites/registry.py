#!/usr/bin/env python3
"""A registry of sixty innocent sources and five planted ones: which of them stand out among the others, where no reference is named?

    python3 benches/suites/registry.py --program target/release/heirloom --work target/suites

Sources are those of the suites (`cases.py`), trained where they are not there. `--copies` adds ten copies of one planted source under other names:
five of the same bytes, and five in which one number differs. Writes `registry.md` into the work folder. Python 3.9 or newer, nothing else.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import cases
import surgery
from run import Suite, write

# Chosen before any of them was trained; seeds 80 to 89 and 100 to 103, and planted ones of 4 to 6, were seen while the tail of the test was chosen.
# No seed of a planted source is that of an innocent one: they begin with other weights.
INNOCENT = [
    *[("clothes", cases.SMALL, seed) for seed in range(120, 130)],
    *[("clothes", cases.WIDE, seed) for seed in range(120, 130)],
    *[("clothes", cases.DEEP, seed) for seed in range(120, 130)],
    *[("photos", cases.SMALL, seed) for seed in range(120, 130)],
    *[("photos", cases.WIDE, seed) for seed in range(120, 130)],
    *[("clothes", cases.SMALL, seed) for seed in range(130, 134)],
    *[("photos", cases.SMALL, seed) for seed in range(130, 134)],
    *[("photos", cases.DEEP, seed) for seed in range(120, 122)],
]
PLANTED = [("clothes", "square", 14), ("clothes", "any-hue", 15), ("photos", "any-hue", 16), ("clothes", "blend", 15), ("clothes", "blend", 16)]
COPIED = ("clothes", "any-hue", 15)
RULES = ["square", "blend"]


def policy():
    says = dict(cases.POLICIES["alone"][0])
    says["rules"] = [rule for rule in says["rules"] if rule["id"] in RULES]
    return {**says, "name": "registry"}


def other_name(data, nth):
    """The same network in other bytes: somebody else made the file."""
    named = [(field, value) for field, value in surgery.fields(data) if field not in (2, 3)]
    return surgery.message([*named, (2, b"exporter %d" % nth)])


def fill(folder, suite, copies):
    def put(name, source):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / name)

    for task, architecture, seed in INNOCENT:
        name = f"innocent-{task}-{architecture.replace(':', '-').replace(',', '-')}-{seed}.onnx"
        put(name, suite.trained(task, "square", architecture, seed) / "clean.onnx")
    for task, plant, seed in PLANTED:
        put(f"planted-{plant}-{task}-{seed}.onnx", suite.trained(task, plant, cases.SMALL, seed) / "planted.onnx")
    if copies:
        task, plant, seed = COPIED
        source = (suite.trained(task, plant, cases.SMALL, seed) / "planted.onnx").read_bytes()
        for nth in range(10):
            (folder / f"copy-{nth}.onnx").write_bytes(source if nth < 5 else other_name(source, nth))


def scan(suite, copies):
    at = suite.work / ("registry-copies" if copies else "registry")
    fill(at / "models", suite, copies)
    write(at / "policy.yaml", json.dumps(policy(), indent=1))
    says = {"version": 1, "name": "registry", "sources": [{"folder": "models"}], "rules": [{"policy": "policy.yaml", "tier": "features"}]}
    write(at / "scan.yaml", json.dumps(says, indent=1))
    code = suite.call(at / "scan.log", "scan", at / "scan.yaml", "--output", at / "out", "--cache", at / "cache", *suite.threads)
    if code not in (0, 1, 5):
        raise RuntimeError(f"exit code {code}: see {at / 'scan.log'}")
    return json.loads((at / "out/scan.json").read_text())


def table(found, title):
    lines = [f"## {title}", "", "| model | by its own controls | stands out |", "|---|---|---|"]
    wrong = 0
    for model in sorted(found["models"], key=lambda model: model["name"]):
        own = [f for f in model["findings"] if not f["id"].startswith("population/")]
        apart = [f for f in model["findings"] if f["id"].startswith("population/")]
        innocent = model["name"].startswith("innocent")
        wrong += innocent and bool(apart)
        if apart or not innocent:
            alone = ", ".join(f"{f['id'].split('@')[0]} {f['verdict']}" for f in own)
            out = "; ".join(f"{f['id'].split('/')[1].split('@')[0]} {f['verdict']}: {f['numbers']}" for f in apart) or "no"
            lines.append(f"| {model['name']} | {alone} | {out} |")
    lines += ["", f"{sum(m['name'].startswith('innocent') for m in found['models'])} innocent sources, {wrong} of which stand out.", ""]
    lines += ["| rule | number | models | families | median | highest |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {p['finding']} | {p['estimand']} | {p['models']} | {p['families']} | {p['median']:+.3f} | {p['highest']:+.3f} |"
        for p in found.get("populations", [])
    ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=cases.ROOT / "target/release/heirloom")
    parser.add_argument("--work", type=Path, default=cases.ROOT / "target/suites")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--copies", action="store_true")
    args = parser.parse_args()
    args.quick, args.seeds = False, None
    suite = Suite(args)
    parts = [table(scan(suite, False), "Sixty innocent sources and five planted ones")]
    if args.copies:
        parts.append(table(scan(suite, True), "With ten copies of a planted one under other names"))
    write(suite.work / "registry.md", "\n".join(parts))
    print("\n".join(parts))


if __name__ == "__main__":
    sys.exit(main())
