"""Holds what a reader saw in junit.xml (JSON on stdin) against the report.json beside it: expect.py READER FOLDER."""

import json
import sys
from pathlib import Path

SEVERITIES = ["low", "medium", "high", "critical"]


def kind(report, finding):
    """What a finding must be in JUnit: what changes the exit code is a failure or an error, the rest that did not pass is skipped."""
    verdict = finding["verdict"]
    gates = SEVERITIES.index(finding["severity"]) >= SEVERITIES.index(report["policy"]["fail_on"])
    if verdict == "pass":
        return "passed"
    if verdict == "skipped" or finding.get("waived") or report["report_only"] or not gates:
        return "skipped"
    return "failure" if verdict == "fail" else "error"


reader, folder = sys.argv[1], Path(sys.argv[2])
seen = json.load(sys.stdin)
report = json.loads((folder / "report.json").read_text())
if "status" in report:
    expected = {"certification": "error"}
else:
    expected = {f"{finding['rule']}@{finding['mode']}": kind(report, finding) for finding in report["findings"]}
counts = {"tests": len(expected)}
for name, of in [("failures", "failure"), ("errors", "error"), ("skipped", "skipped")]:
    counts[name] = sum(kind == of for kind in expected.values())
assert seen["stated"] == counts, (reader, seen["stated"], counts)
assert [case["name"] for case in seen["cases"]] == list(expected), (reader, seen["cases"])
for case in seen["cases"]:
    wanted = expected[case["name"]]
    assert case["kind"] in ([wanted, "failed"] if wanted in ("failure", "error") else [wanted]), (reader, case, wanted)
    if wanted in ("failure", "error"):
        said = report["error"] if "status" in report else "excess"
        assert said in case["text"] and case["message"], (reader, case)
    if "output" in case:
        assert (wanted == "skipped") == case["output"].lstrip().startswith("skipped: "), (reader, case)
        embedded = "status" in report or report["policy"]["source"].startswith("<embedded>")
        assert embedded or int(case["line"]) >= 1, (reader, case)
print(f"readers: {reader} reads {folder.name}: {counts}")
