"""Runs .github/workflows/nightly-scan.yml twice, as `act` reads it, and compares with one scan. tests/act/run starts it: check.py HEIRLOOM WORK ACT"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import actions

heirloom, work, act = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
WORKFLOW = pathlib.Path(".github/workflows/nightly-scan.yml")
# The stand-in of each action: its folder inside the repository that `uses` names.
STAND_INS = {
    "actions/checkout": "checkout",
    "actions/upload-artifact": "upload",
    "actions/download-artifact": "download",
    "actions/cache/restore": "restore",
    "actions/cache/save": "save",
}


def repository():
    """What a team would have: models, a scan file, a policy, and the workflow."""
    at = work / "team"
    (at / "models").mkdir(parents=True)
    for name in ["clean.onnx", "planted-square.onnx", "clean.safetensors", "planted-square.safetensors"]:
        shutil.copyfile(pathlib.Path("fixtures/models") / name, at / "models" / name)
    (at / "models/broken.onnx").write_bytes(b"not a model")
    shutil.copyfile("policies/quick.yaml", at / "quick.yaml")
    (at / "scan.yaml").write_text("version: 1\nname: team\nsources:\n  - folder: models\nrules:\n  - { policy: quick.yaml, tier: features }\n")
    (at / ".github/workflows").mkdir(parents=True)
    shutil.copyfile(WORKFLOW, at / ".github/workflows/nightly-scan.yml")
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=team", "-c", "user.email=team@localhost", "commit", "-qm", "models"]):
        subprocess.run(["git", *command], cwd=at, check=True)
    return at


def stand_ins():
    """Arguments of `act` by which each repository of actions is a folder of this machine."""
    arguments = []
    for uses in sorted(set(re.findall(r"^ +(?:- )?uses: (\S+@\S+)", WORKFLOW.read_text(), re.MULTILINE))):
        name, commit = uses.split("@")
        owner, repository, *inside = name.split("/")
        folder = work / "actions" / repository
        actions.define(STAND_INS[name], folder.joinpath(*inside))
        arguments += ["--local-repository", f"{owner}/{repository}@{commit}={folder}"]
    return arguments


def bin_folder():
    """A cargo that brings the tested program: the workflow's build takes minutes, and is what every other test has done."""
    at = work / "bin"
    at.mkdir()
    cargo = at / "cargo"
    cargo.write_text(
        f"""#!/bin/sh
[ "$*" = "build --release --locked --manifest-path .heirloom/Cargo.toml --bin heirloom" ] || {{ echo "cargo: $*" >&2; exit 1; }}
cp '{at}/heirloom' .heirloom/target/release/heirloom
"""
    )
    # The program, but for the shard that `killed` names.
    (at / "heirloom").write_text(
        f"""#!/bin/sh
case " $* " in *" --shard $(cat '{at}/killed' 2>/dev/null) "*) kill -9 $$ ;; esac
exec '{heirloom}' "$@"
"""
    )
    for program in (cargo, at / "heirloom"):
        program.chmod(0o755)
    return at


def night(number, *arguments):
    """One run of the workflow: whether it succeeded, what it said, and the scan that it kept."""
    shutil.rmtree(store / "artifacts", ignore_errors=True)
    variables = {"HEIRLOOM_ACT_STORE": str(store), "HEIRLOOM_CACHE": "off", "GITHUB_RUN_ID": str(number)}
    command = [act, "workflow_dispatch", "-W", ".github/workflows/nightly-scan.yml", "-P", "ubuntu-latest=-self-hosted", "--no-cache-server", "--action-offline-mode"]
    for name, value in variables.items():
        command += ["--env", f"{name}={value}"]
    command += [*stands_in, "--input", "scan=scan.yaml", "--input", "jobs=3", *arguments]
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(work), **variables}
    done = subprocess.run(command, cwd=team, env=env, capture_output=True, text=True, timeout=1800)
    path = store / "artifacts/heirloom-scan/scan.json"
    assert path.exists(), done.stdout + done.stderr
    return done.returncode == 0, done.stdout + done.stderr, json.loads(path.read_text())


def judged(scan):
    return {model["name"]: model["outcome"] for model in scan["models"]}


def without_run(scan):
    return {key: value for key, value in scan.items() if key != "run"}


store, tools, team = work / "store", bin_folder(), repository()
stands_in = stand_ins()
env = {**os.environ, "ORT_DYLIB_PATH": "off", "HEIRLOOM_CACHE": "off"}
done = subprocess.run([heirloom, "scan", "scan.yaml", "--output", work / "one"], cwd=team, env=env, capture_output=True, text=True)
assert done.returncode == 1, done.stdout + done.stderr
wanted = json.loads((work / "one/scan.json").read_text())

# The first night: three jobs, merged, are one scan, and its verdict is the workflow's.
succeeded, told, first = night(1)
assert first["run"]["shards"] == 3 and sorted(set(re.findall(r"Matrix: map\[shard:(./.)\]", told))) == ["1/3", "2/3", "3/3"], told
assert not succeeded and without_run(first) == without_run(wanted), told
print(f"first night: 3 jobs are one scan: {first['summary']}")

# The second night takes up the records of the first, and measures nothing again.
succeeded, told, second = night(2)
assert "cache heirloom-scan-scan.yaml-1" in told and judged(second) == judged(first), told
again = [name for name, model in second["run"]["models"].items() if model["measured"] != first["run"]["models"][name]["measured"] and judged(first)[name] != "error"]
assert not again and not second["changes"]["new"] and not succeeded, (again, second["changes"], told)
print(f"second night: nothing is measured again: {second['summary']}")

# A job that is killed: what it had to do is named, and the night does not pass.
shutil.rmtree(store)
(tools / "killed").write_text("2/3")
succeeded, told, third = night(3)
lost = [model for model in third["models"] if model.get("cause") == "missing"]
found = {name: outcome for name, outcome in judged(third).items() if name not in [model["name"] for model in lost]}
assert len(third["models"]) == 5 and lost and not succeeded, told
assert all(judged(first)[name] == outcome for name, outcome in found.items()), told
print(f"third night, one job killed: {third['summary']}; {lost[0]['name']}: {lost[0]['summary']}")
