"""Writes the published schemas that reports are held against, without what only people read: python3 make.py

Needs `cyclonedx-python-lib` (PyPI; its copy of the CycloneDX 1.6 schema, Apache-2.0, OWASP Foundation) and the folder of the crate `serde-sarif` 0.8.0
(MIT; its copy of OASIS SARIF 2.1.0) as the first argument.

Changed: descriptions, titles and examples are left out; schemas of others that CycloneDX refers to (SPDX licences, JSON signatures), which no report
uses, accept anything; a stray bracket in one regular expression of SARIF is mended, which not every engine reads.
"""

import json
import sys
from pathlib import Path

import cyclonedx.schema

HERE = Path(__file__).parent
FOR_PEOPLE = {"description", "title", "examples", "meta:enum", "$comment", "deprecated"}


def bare(value, names=False):
    """A schema without what is for people. Under `properties` keys are names of fields, and stay."""
    if isinstance(value, list):
        return [bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    if not names and not str(value.get("$ref", "#")).startswith("#"):
        return {}
    keep = {key: item for key, item in value.items() if names or key not in FOR_PEOPLE}
    return {key: bare(item, not names and key in {"properties", "patternProperties", "definitions"}) for key, item in keep.items()}


bom = json.loads((Path(cyclonedx.schema.__file__).parent / "_res/bom-1.6.SNAPSHOT.schema.json").read_text())
sarif = (Path(sys.argv[1]) / "src/schema.json").read_text()
mended = sarif.replace("[a-zA-Z]{2}]?$", "[a-zA-Z]{2}$")
assert mended != sarif
for name, schema in [("bom-1.6.json", bom), ("sarif-2.1.0.json", json.loads(mended))]:
    (HERE / name).write_text(json.dumps(bare(schema), separators=(",", ":")) + "\n")
