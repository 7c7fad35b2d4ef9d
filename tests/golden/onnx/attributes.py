"""The attributes of every operator that heirloom reads, as the ONNX standard has them, per operator set.

    pip install onnx
    python attributes.py

Writes src/model/onnx/attributes/table.rs for the operators named in src/model/onnx/import.rs. Written with onnx 1.23.2.
"""

import pathlib
import re

import onnx.defs

ROOT = pathlib.Path(__file__).parents[3]
# Newer sets than heirloom reads are in the standard's own tests.
OLDEST, NEWEST = 7, onnx.defs.onnx_opset_version()
source = (ROOT / "src/model/onnx/import.rs").read_text()
names = set()
for table in ["OPERATORS", "ON_CONSTANTS"]:
    body = re.search(rf"const {table}: &\[&str\] = &\[(.*?)\];", source, re.DOTALL).group(1)
    names |= set(re.findall(r'"(\w+)"', body))


def ranges(op):
    """[name, type, since, until, required], one for every span of operator sets over which nothing about it changes."""
    found, first = [], None
    for opset in range(OLDEST, NEWEST + 1):
        try:
            schema = onnx.defs.get_schema(op, opset, "")
        except onnx.defs.SchemaError:
            continue
        first = first or opset
        for attribute in schema.attributes.values():
            this = [attribute.name, attribute.type.name, attribute.required]
            for entry in found:
                if [entry[0], entry[1], entry[4]] == this and entry[3] == opset:
                    entry[3] = opset + 1
                    break
            else:
                found.append([this[0], this[1], opset, opset + 1, this[2]])
    # ONNX Runtime reads some operators in sets older than they are: as in the first that has them.
    for entry in found:
        entry[2] = 0 if entry[2] == first else entry[2]
        entry[3] = "ALWAYS" if entry[3] == NEWEST + 1 else entry[3]
    return sorted(found, key=lambda entry: (entry[0], entry[2]))


lines = [
    "//! Made by tests/golden/onnx/attributes.py from the schemas of the package `onnx`: do not edit.",
    "",
    "use super::Kind::{Float, Floats, Int, Ints, SparseTensor, Tensor, Text, Texts};",
    "use super::{ALWAYS, Known};",
    "",
    "/// Operators in the order of their names: attribute, type, from which operator set on, up to which, and whether a node must have it.",
    "#[rustfmt::skip]",
    "pub(super) const TABLE: &[(&str, &[Known])] = &[",
]
kinds = {"FLOAT": "Float", "INT": "Int", "STRING": "Text", "TENSOR": "Tensor", "GRAPH": "Graph", "FLOATS": "Floats", "INTS": "Ints"}
kinds |= {"STRINGS": "Texts", "SPARSE_TENSOR": "SparseTensor"}
for op in sorted(names):
    known = ranges(op)
    if not known:
        lines.append(f'    ("{op}", &[]),')
        continue
    lines.append(f'    ("{op}", &[')
    for name, kind, since, until, required in known:
        lines.append(f'        ("{name}", {kinds[kind]}, {since}, {until}, {str(required).lower()}),')
    lines.append("    ]),")
lines.append("];")
(ROOT / "src/model/onnx/attributes").mkdir(exist_ok=True)
(ROOT / "src/model/onnx/attributes/table.rs").write_text("\n".join(lines) + "\n")
print(len(names), "operators")
