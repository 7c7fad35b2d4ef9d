#!/usr/bin/env python3
"""Which checkpoints heirloom reads, as a table: docs/evidence/checkpoints.md.

    cargo run --release --example answers -- ZOO/* >zoo.tsv
    python3 benches/checkpoints/table.py --safetensors zoo.tsv --onnx "default exporter" dynamo.tsv --onnx "older exporter" script.tsv

`answers` prints one line for each folder (examples/answers.rs says what a folder holds). Python 3.9 or newer, nothing else.
"""

import argparse
import re
import sys
from collections import defaultdict
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/evidence/checkpoints.md"
MARK = "<!-- table.py: from here on written by benches/checkpoints/table.py -->"


def rows(path):
    found = []
    for line in Path(path).read_text().splitlines():
        parts = line.split("\t")
        if len(parts) == 6:
            name, word, output, features, _, what = parts
            found.append((name, word, [float(part) for part in (output, features) if part], what))
    return found


def family(what):
    """`safetensors, ResNet-50, torchvision names; features ...`: ResNet."""
    text = what.removeprefix("safetensors, ")
    return re.split(r"[,;]|-\d", text)[0].strip()


def reason(what):
    what = re.sub(r"^.*?\.(safetensors|onnx): ", "", what)
    what = re.sub(r" \(known: .*?\)", "", what)
    return what.split(": missing")[0][:160]


def most(numbers):
    return f"{max(numbers):.0e}" if numbers else "–"


def safetensors(all_rows):
    groups = defaultdict(list)
    for name, word, apart, what in all_rows:
        groups[family(what) if word != "refused" else None].append((name, word, apart, what))
    out = ["| family | checkpoints | equal to the library | largest difference |", "|---|---|---:|---:|"]
    for key in sorted((key for key in groups if key), key=str.lower):
        members = groups[key]
        names = ", ".join(f"`{name}`" for name, *_ in members)
        equal = sum(word == "equal" for _, word, *_ in members)
        out.append(f"| {key} | {names} | {equal} of {len(members)} | {most([n for m in members for n in m[2]])} |")
    accepted = [row for row in all_rows if row[1] != "refused"]
    equal = [row for row in accepted if row[1] == "equal"]
    head = f"{len(accepted)} of {len(all_rows)} checkpoints are read ({len(accepted) / len(all_rows):.0%}), {len(equal)} of these are equal to their library."
    refused = [f"- `{name}`: {reason(what)}" for name, _, _, what in groups.get(None, [])]
    if refused:
        refused = ["", "Refused:", "", *refused]
    return [head, "", *out, *refused]


def onnx(kinds):
    out = ["| exporter | files | read, and can be trained | equal to the library | largest difference |", "|---|---:|---:|---:|---:|"]
    notes = []
    for kind, all_rows in kinds:
        accepted = [row for row in all_rows if row[1] != "refused"]
        equal = [row for row in accepted if row[1] == "equal"]
        worst = most([n for row in equal for n in row[2]])
        out.append(f"| {kind} | {len(all_rows)} | {len(accepted)} ({len(accepted) / max(len(all_rows), 1):.0%}) | {len(equal)} | {worst} |")
        for name, word, apart, what in all_rows:
            if word != "equal":
                told = reason(what) if word == "refused" else f"apart by {most(apart)}; {what}"
                notes.append(f"- {kind}, `{name}`: {told}")
    return [*out, *(["", "Not equal or not read:", "", *notes] if notes else [])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--safetensors", required=True, metavar="TSV")
    parser.add_argument("--onnx", nargs=2, action="append", default=[], metavar=("KIND", "TSV"))
    parser.add_argument("--stdout", action="store_true", help="print the page instead of writing it")
    args = parser.parse_args()
    lines = ["", "## Safetensors, by family", "", *safetensors(rows(args.safetensors))]
    if args.onnx:
        lines += ["", "## ONNX, by exporter", "", *onnx([(kind, rows(path)) for kind, path in args.onnx])]
    before = PAGE.read_text().split(MARK)[0] if PAGE.is_file() else ""
    page = f"{before}{MARK}\n" + "\n".join(lines) + "\n"
    if args.stdout:
        sys.stdout.write(page)
    else:
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
