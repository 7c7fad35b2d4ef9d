#!/usr/bin/env python3
"""Reruns the attack suite and the null suite with the program that is built, and says which verdicts are not as they must be.

    python3 benches/suites/run.py --program target/release/heirloom --work target/suites --quick

`cases.py` has what is run. Python 3.9 or newer, nothing else. What is through is kept in the work folder, and the same command goes on from
there: sources that are there are never trained again, and a certification is repeated only where source, policy or program are others.
The int8 file needs ONNX Runtime (`ORT_DYLIB_PATH`), photographs need ../shared; a case that lacks something is named and left out.
"""

import argparse
import datetime
import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cases
import strength
import surgery
import table

# How loud the lottery's ticket is: chosen on seeds 90 and 100 so that one fine-tune in five inherits an effect and the mean stays about the limit.
TICKET = 3.0
SURGERY = {
    "hidden-branch": surgery.hidden_branch,
    "lottery": lambda clean: surgery.lottery(clean, TICKET),
    "int8-before": surgery.conditioned,
    "int8": lambda clean: surgery.int8(surgery.conditioned(clean)),
}


class Lacking(Exception):
    """What a case needs and this machine does not have."""


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def write(path, text):
    """The whole text, or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text(text)
    beside.replace(path)


class Suite:
    def __init__(self, args):
        self.program, self.work = args.program.resolve(), args.work.resolve()
        self.threads = ["--threads", str(args.threads)] if args.threads else []
        self.identity = digest(self.program.read_bytes()) if self.program.is_file() else None
        self.seeds = cases.QUICK if args.quick else {**cases.SEEDS}
        if args.seeds:
            self.seeds = {kind: cases.SEEDS[kind][: None if kind == "reference" else args.seeds] for kind in cases.SEEDS}

    def call(self, log, *arguments):
        """Runs the program; its words go into a file. Gives the exit code."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as out:
            return subprocess.run([self.program, *map(str, arguments)], stdout=out, stderr=subprocess.STDOUT, check=False).returncode

    def trained(self, task, plant, architecture, seed):
        """The folder of a pair of sources, trained where they are not there."""
        folder = self.work / "sources" / f"{task}-{plant}-{architecture.replace(':', '-').replace(',', '-')}-seed{seed}"
        spec, says = folder / "spec.yaml", json.dumps(cases.planting(task, plant, architecture, seed), indent=1)
        if all((folder / name).exists() for name in ("planted.onnx", "clean.onnx")):
            if spec.read_text() != says:
                raise RuntimeError(f"{folder} was trained by another specification: move it away, or name another --work")
        else:
            lacking = [needed for needed in cases.TASKS[task].get("needs", []) if not Path(needed).exists()]
            if lacking:
                raise Lacking(lacking[0])
            write(spec, says)
            code = self.call(folder / "plant.log", "plant", spec, "--output", folder, *self.threads)
            if code:
                raise RuntimeError(f"training ended with exit code {code}: see {folder / 'plant.log'}")
        return folder

    def source(self, case, seed):
        """The checkpoint that a case certifies."""
        plant, architecture, task = case["plant"], case["architecture"], case["task"]
        if plant == "file":
            path = Path(cases.FILES[case["name"]])
            if not path.exists():
                raise Lacking(str(path))
            return path
        if plant in cases.PLANTS or plant == "untrained":
            return self.trained(task, plant, architecture, seed) / ("clean.onnx" if case.get("counterpart") else "planted.onnx")
        clean = self.trained(task, "square", architecture, seed) / "clean.onnx"
        if plant == "clean":
            return clean
        if plant == "int8" and not os.environ.get("ORT_DYLIB_PATH"):
            raise Lacking("ONNX Runtime (ORT_DYLIB_PATH)")
        changed = clean.with_name(f"{plant}.onnx")
        if not changed.exists():
            changed.write_bytes(SURGERY[plant](clean.read_bytes()))
        return changed

    def policy(self, name):
        """A policy's file; that which ships stays where it is."""
        says, references = cases.POLICIES[name]
        if isinstance(says, Path):
            return says
        says = dict(says)
        if isinstance(references, str):
            references = [(references, "square", cases.SMALL, seed) for seed in self.seeds["reference"]]
        if references:
            found = [Path(one) if isinstance(one, str) else self.trained(*one) / "clean.onnx" for one in references]
            says["references"] = [{"model": str(path), "digest": digest(path.read_bytes())} for path in found]
        path = self.work / "policies" / f"{name}.yaml"
        text = json.dumps(says, indent=1)
        if not path.exists() or path.read_text() != text:
            write(path, text)
        return path

    def certify(self, case, seed, policy):
        """The folder of the report of one source under one policy, kept from an earlier run where nothing has changed."""
        name = "-".join([case["name"].replace("/", "-").replace(":", "-").replace(",", "-"), f"seed{seed}", policy])
        folder = self.work / "reports" / name
        source, policy_file = self.source(case, seed), self.policy(policy)
        of = {"source": digest(source.read_bytes()), "policy": digest(policy_file.read_bytes()), "program": self.identity}
        made_of = folder / "made-of.json"
        if not made_of.exists() or json.loads(made_of.read_text()) != of:
            # How strong a plant is, its shams say too.
            every = ["--all-controls"] if case["suite"] == "attack" else []
            arguments = [source, *every, "--policy", policy_file, "--output", folder, "--no-cache", *self.threads]
            code = self.call(self.work / "logs" / f"{name}.log", "certify", *arguments)
            if code not in (0, 1, 5):
                raise RuntimeError(f"exit code {code}: see {self.work / 'logs' / name}.log")
            write(made_of, json.dumps(of, indent=1))
        return folder, of["source"]

    def rows(self, case, seed, policy, expected):
        """One row a finding that something is expected of."""
        folder, source = self.certify(case, seed, policy)
        report = json.loads((folder / "report.json").read_text())
        for finding in strength.findings(report, folder / "measurements.json.gz" if case["suite"] == "attack" else None):
            wanted = expected.get(finding["rule"], expected.get(None))
            if wanted:
                yield {
                    "case": case["name"], "suite": case["suite"], "seed": seed, "source": source, "policy": policy,
                    "exit_code": report["exit_code"], "seconds": report["run"]["seconds"],
                    "images_forwarded": report["run"].get("images_forwarded"), **finding, "expected": wanted,
                }  # fmt: skip


def chosen(suite, only, quick):
    """Every certification that is asked for: the case, the seed, the policy, what is expected of its findings."""
    for case in cases.CASES:
        if only and not any(part in case["name"] or part == case["suite"] for part in only):
            continue
        if quick and case["slow"]:
            continue
        seeds = case["seeds"] or [0]
        for seed in suite.seeds[seeds] if isinstance(seeds, str) else seeds:
            for policy, expected in case["runs"]:
                yield case, seed, policy, expected


def check(suite):
    """Holds every specification, every policy without its references, and every changed file against the program; nothing is trained."""
    folder, asked = suite.work / "check", []
    for case in cases.CASES:
        needs = cases.TASKS[case["task"]].get("needs", [])
        if case["architecture"] and all(Path(needed).exists() for needed in needs):
            plant = case["plant"] if case["plant"] in cases.PLANTS else "square"
            path = folder / f"{case['name'].replace('/', '-').replace(':', '-')}.yaml"
            write(path, json.dumps(cases.planting(case["task"], plant, case["architecture"], 0)))
            asked.append(("validate", path))
    for name, (says, _) in cases.POLICIES.items():
        if isinstance(says, dict) and (cases.PHOTOS not in json.dumps(says) or (cases.SHARED / "data/cifar10").is_dir()):
            path = folder / f"policy-{name}.yaml"
            write(path, json.dumps({**says, "rules": [{**rule, "controls": ["sham"]} for rule in says["rules"]]}))
            asked.append(("validate", path))
    clean = (cases.ROOT / "fixtures/models/clean.onnx").read_bytes()
    for name, change in SURGERY.items():
        if name != "int8" or os.environ.get("ORT_DYLIB_PATH"):
            path = folder / f"{name}.onnx"
            path.write_bytes(change(clean))
            asked.append(("inspect", path))
    refused = 0
    for command, path in dict.fromkeys(asked):
        code = suite.call(path.with_suffix(".log"), command, path)
        if code:
            print(path.with_suffix(".log").read_text(), file=sys.stderr)
        refused += code != 0
    print(f"{len(dict.fromkeys(asked))} specifications, policies and checkpoints, {refused} of them refused")
    return 1 if refused else 0


def committed():
    """The commit of what a round rests on; none where something of it is not committed, or there is no git or no repository."""
    if not shutil.which("git"):
        return None
    of = ["src", "policies", "fixtures", "benches/suites", "Cargo.toml", "Cargo.lock"]
    git = lambda *arguments: subprocess.run(["git", "-C", cases.ROOT, *arguments], capture_output=True, text=True, check=False)
    changed = git("status", "--porcelain", "--", *of)
    return None if changed.returncode or changed.stdout else git("log", "-1", "--format=%h", "--", *of).stdout.strip() or None


def round_of(args):
    """What was asked for, in words."""
    cases_of = "the cases of the quick round" if args.quick else "all cases"
    if args.seeds:
        return f"{cases_of}, {args.seeds} seed{'s' if args.seeds > 1 else ''} of each source"
    return "the quick round" if args.quick else "the full round"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, default=cases.ROOT / "target/release/heirloom", help="the built program")
    parser.add_argument("--work", type=Path, default=cases.ROOT / "target/suites", help="folder for sources, reports and results")
    parser.add_argument("--only", action="append", help="cases whose name has this in it, or a suite: attack, null; more than once for several")
    parser.add_argument("--quick", action="store_true", help="one seed each: half an hour instead of hours")
    parser.add_argument("--seeds", type=int, help="so many seeds of each source; with --quick of the cases of the quick round")
    parser.add_argument("--jobs", type=int, default=1, help="certifications at a time; one uses all cores as it is")
    parser.add_argument("--threads", type=int, help="threads of each")
    parser.add_argument("--list", action="store_true", help="say what would be run, and run nothing")
    parser.add_argument("--check", action="store_true", help="hold specifications and policies against the program, and train nothing")
    parser.add_argument("--told", help="what was run, in words for the document")
    parser.add_argument("--beside", action="append", type=Path, default=[], metavar="RESULTS", help="the results.json of another part of this round, told with this one")
    parser.add_argument("--evidence", type=Path, help="a document whose table is written anew: docs/evidence/suites.md")
    args = parser.parse_args()
    suite = Suite(args)
    wanted = list(chosen(suite, args.only, args.quick))
    if args.list:
        for case, seed, policy, expected in wanted:
            print(f"{case['suite']:7} {case['name']:40} seed {seed:<4} {policy:14}", ", ".join(f"{r or 'every rule'}: {v}" for r, v in expected.items()))
        return 0
    if suite.identity is None:
        parser.error(f"{args.program} is no program: build it, or name it by --program")
    if args.check:
        return check(suite)
    commit = committed()
    if args.evidence and not commit:
        parser.error("--evidence: commit limits, priors and seeds before the round (src, policies, fixtures, benches/suites), in a git repository")

    # References and sources are trained one after the other, so that no two jobs train the same one.
    rows, lacking, failed = [], [], []

    def guarded(name, work):
        try:
            return work()
        except Lacking as lack:
            lacking.append(f"{name}: {lack}")
        except RuntimeError as error:
            failed.append(f"{name}: {error}")
            print(failed[-1], file=sys.stderr, flush=True)
        return None

    ready = []
    for case, seed, policy, expected in wanted:
        name = f"{case['name']} seed {seed} under {policy}"
        if guarded(name, lambda: (suite.source(case, seed), suite.policy(policy))):
            ready.append((name, case, seed, policy, expected))

    def one(item):
        name, case, seed, policy, expected = item
        found = guarded(name, lambda: list(suite.rows(case, seed, policy, expected))) or []
        for row in found:
            print(table.line(row), flush=True)
        return found

    with ThreadPoolExecutor(max(1, args.jobs)) as pool:
        for found in pool.map(one, ready):
            rows += found
            strength.judge(rows, cases.LIMIT, cases.MARGIN)
            write(suite.work / "results.json", json.dumps({"program": suite.identity, "commit": commit, "rows": rows, "lacking": lacking, "failed": failed}, indent=1))
    for path in args.beside:
        other = json.loads(path.read_text())
        if other["program"] != suite.identity:
            parser.error(f"{path} was made by another program: it is another round")
        rows, lacking, failed = other["rows"] + rows, other["lacking"] + lacking, other["failed"] + failed
    strength.judge(rows, cases.LIMIT, cases.MARGIN)
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    rests_on = f", limits, priors and seeds of commit {commit}" if commit else ""
    text = table.markdown(rows, lacking, failed, f"{date}{rests_on}: {args.told or round_of(args)}")
    write(suite.work / "results.md", text)
    if args.evidence:
        table.into(args.evidence, text)
    print(text)
    return 1 if failed or any(row["outcome"] in table.WRONG for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
