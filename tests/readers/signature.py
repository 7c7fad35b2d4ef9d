"""What model_signing (PyPI, 1.1) makes of a bundle that `heirloom sign` wrote: python signature.py REPORT-FOLDER KEY.pub

Its verifier of signatures by keys must accept the bundle: layout, key hint, envelope and signature. Its command then stops at the predicate, because it takes no
other than its own; that is what is expected here, word for word. Needs: pip install 'model-signing>=1.1,<2'
"""

import pathlib
import sys

try:
    from model_signing._signing import sign_ec_key
    from model_signing._signing.sign_sigstore_pb import Signature
except ImportError as missing:
    print(f"test lacks: model_signing ({missing})")
    sys.exit(0)

folder, key = map(pathlib.Path, sys.argv[1:3])
signature = Signature.read(folder / "report.sigstore.json")
verifier = sign_ec_key.Verifier(key)
kind, payload = verifier._verify_signed_content(signature)
assert kind == "application/vnd.in-toto+json" and b'"report.json"' in payload, kind
try:
    verifier.verify(signature)
    sys.exit("it takes our predicate: say so in docs/ci.md")
except ValueError as refused:
    assert "Predicate type mismatch" in str(refused), refused
print("model_signing: the signature holds; its command takes no predicate but its own")
