#!/usr/bin/env python3
"""Which checkpoints heirloom reads, as a table: docs/evidence/checkpoints.md.

    cargo run --release --example answers -- ZOO/* >zoo.tsv
    python3 benches/checkpoints/table.py --safetensors zoo.tsv --onnx "default exporter" dynamo.tsv --onnx "older exporter" script.tsv --files files.jsonl

A part that is not named stays as it is. `files.py` beside this writes files.jsonl; `answers` prints one line for each folder (examples/answers.rs says what a folder holds). Python 3.9 or newer, nothing else.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs/evidence/checkpoints.md"
SAFETENSORS, ONNX, FILES = "Safetensors, by family", "ONNX, by exporter", "Files that others have published"
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


def files(found):
    """Of files.py: what became of each file."""
    out = ["| file | MB | what it is | features | verdict | seconds |", "|---|---:|---|---|---|---:|"]
    for one in found:
        trains = {True: ", can be trained", False: ", frozen features alone"}.get(one.get("trains"), "")
        verdict = one["verdict"] + (f": {one['reason']}" if one.get("reason") else "")
        what = f"{one.get('what', '')}{trains}"
        cells = [f"`{one['file']}`", f"{one['bytes'] / 1e6:.1f}", what, one.get("features", ""), verdict, f"{one['seconds']:.0f}"]
        out.append("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    return out


def sections(text):
    """The parts of a page by their headings."""
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2])))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--safetensors", metavar="TSV")
    parser.add_argument("--onnx", nargs=2, action="append", default=[], metavar=("KIND", "TSV"))
    parser.add_argument("--files", type=Path, metavar="JSONL")
    parser.add_argument("--stdout", action="store_true", help="print the page instead of writing it")
    args = parser.parse_args()
    before, _, after = PAGE.read_text().partition(MARK) if PAGE.is_file() else ("", "", "")
    parts = sections(after)
    if args.safetensors:
        parts[SAFETENSORS] = "\n".join(safetensors(rows(args.safetensors)))
    if args.onnx:
        parts[ONNX] = "\n".join(onnx([(kind, rows(path)) for kind, path in args.onnx]))
    if args.files:
        parts[FILES] = "\n".join(files([json.loads(line) for line in args.files.read_text().splitlines()]))
    told = "".join(f"\n## {heading}\n\n{parts[heading]}\n" for heading in (SAFETENSORS, ONNX, FILES) if heading in parts)
    page = f"{before}{MARK}\n{told}"
    if args.stdout:
        sys.stdout.write(page)
    else:
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
