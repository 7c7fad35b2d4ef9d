"""Whether readers that others wrote take what `heirloom render` makes of a report: machine.py HEIRLOOM FOLDER...

Needs jsonschema, cyclonedx-python-lib[json-validation], huggingface_hub and in-toto-attestation (PyPI). One that is not here is said and left out.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

SCHEMAS = Path(__file__).parent.parent / "golden/schemas"
heirloom, folders = sys.argv[1], [Path(folder) for folder in sys.argv[2:]]


def render(folder, form):
    """What it prints, or none where there is none of this report, and why."""
    run = subprocess.run([heirloom, "render", folder, "--as", form], capture_output=True, text=True)
    assert run.returncode in (0, 4), (folder, form, run.stderr)
    return (run.stdout, "") if run.returncode == 0 else (None, run.stderr)


def sarif(folder, report):
    from jsonschema import Draft7Validator

    text, why = render(folder, "sarif")
    if "status" in report:
        assert text is None and "without a verdict" in why, why
        return
    value = json.loads(text)
    Draft7Validator(json.loads((SCHEMAS / "sarif-2.1.0.json").read_text())).validate(value)
    told = [f"{r['message']['text'].split(':')[0]}" for r in value["runs"][0]["results"]]
    assert told == [f"{f['rule']}@{f['mode']}" for f in report["findings"] if f["verdict"] != "pass"], told


def cyclonedx(folder, report):
    from cyclonedx.model.bom import Bom
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text, _ = render(folder, "cyclonedx")
    if "status" in report:
        assert text is None
        return
    errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert errors is None, errors
    value = json.loads(text)
    bom = Bom.from_json(value)
    (model,) = bom.components
    digests = {hash.content for hash in model.hashes}
    assert model.type.value == "machine-learning-model" and (report["model"]["identity"].get("files") or report["model"]["identity"]["digest"][7:] in digests)
    assert len(value["declarations"]["claims"]) == len(report["findings"])


def model_index(folder, report):
    import yaml
    from huggingface_hub import ModelCard

    text, _ = render(folder, "model-index")
    if "status" in report:
        assert text is None
        return
    data = ModelCard(f"---\n{text}---\n# A model\n").data
    values = {result.metric_name: result.metric_value for result in data.eval_results}
    for accuracy in report.get("accuracy", []):
        assert values[f"accuracy: {accuracy['what']}"] == accuracy["accuracy"], values
    assert yaml.safe_load(text)["model-index"][0]["name"]


def in_toto(folder, report):
    from google.protobuf import json_format
    from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement

    for form in ["in-toto", "svr"]:
        text, why = render(folder, form)
        if "status" in report or (form == "svr" and report["exit_code"] != 0):
            assert text is None and "there is no" in why, why
            continue
        value = json.loads(text)
        Statement.copy_from_pb(json_format.ParseDict(value, statement_pb2.Statement())).validate()
        if form == "in-toto":
            result = json_format.ParseDict(value["predicate"], TestResult())
            assert (result.result == "FAILED") == (report["exit_code"] != 0), result
            assert len(result.configuration) == 1
        else:
            assert set(value["predicate"]) == {"verifier", "timeCreated", "properties"}


def annotations(folder, report):
    text, _ = render(folder, "annotations")
    lines = text.splitlines()
    assert lines and all(line.startswith(("::error ", "::warning ", "::notice ")) for line in lines), lines


READERS = [("jsonschema", sarif), ("cyclonedx", cyclonedx), ("huggingface_hub", model_index), ("in_toto_attestation", in_toto), ("json", annotations)]
for module, read in READERS:
    if find_spec(module) is None:
        print(f"test lacks: {module} (cannot be installed)")
        continue
    for folder in folders:
        read(folder, json.loads((folder / "report.json").read_text()))
        print(f"readers: {read.__name__} of {folder.name} is read")
