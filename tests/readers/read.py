"""What junitparser (PyPI) reads in a folder's junit.xml, as JSON."""

import json
import sys
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped

xml = JUnitXml.fromfile(str(Path(sys.argv[1]) / "junit.xml"))
stated = {name: getattr(xml, name) for name in ["tests", "failures", "errors", "skipped"]}
cases = []
for suite in xml:
    in_suite = {name: getattr(suite, name) for name in stated}
    # The same once more, counted from the cases.
    suite.update_statistics()
    assert in_suite == {name: getattr(suite, name) for name in stated}, (in_suite, suite)
    for case in suite:
        kinds = {Failure: "failure", Error: "error", Skipped: "skipped"}
        told = [(kinds[type(result)], result.message, result.text) for result in case.result]
        assert len(told) <= 1, told
        kind, message, text = told[0] if told else ("passed", "", "")
        line = case._elem.attrib.get("line")
        cases.append({"name": case.name, "kind": kind, "message": message, "text": text, "output": case.system_out or "", "line": line})
print(json.dumps({"stated": stated, "cases": cases}))
