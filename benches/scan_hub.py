"""A night over a hub of many models of which none, or few, have changed: seconds, memory, requests.

    python3 benches/scan_hub.py target/release/heirloom [MODELS] [CHANGED]

A hub on loopback holds MODELS small models (5,000), each another file. The first night reads all of them (tier `static`), the second finds nothing
changed, before the third CHANGED (100) get another commit. Needs Python alone; what it writes is in a temporary folder.
"""

import hashlib
import http.server
import json
import os
import pathlib
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLAIN = (ROOT / "fixtures/models/clean.onnx").read_bytes()


def bytes_of(model, commit):
    note = f"{model} {commit}".encode()
    # `doc_string` of an ONNX file: nothing computes with it.
    return PLAIN + bytes([0x32, len(note)]) + note


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    commits = {}
    counts = {}

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        parsed = urllib.parse.urlsplit(self.path)
        parts = parsed.path.strip("/").split("/")
        query = urllib.parse.parse_qs(parsed.query)
        if parts == ["api", "models"]:
            return self.page(query)
        if parts[:2] == ["api", "models"]:
            return self.model("/".join(parts[2:4]))
        return self.file("/".join(parts[:2]))

    def count(self, what):
        Hub.counts[what] = Hub.counts.get(what, 0) + 1

    def page(self, query):
        self.count("list")
        first, size = int(query.get("cursor", ["0"])[0]), min(int(query["limit"][0]), 1000)
        names = sorted(Hub.commits)[first : first + size]
        body = [{"_id": "0", "id": name, "sha": f"{Hub.commits[name]:040x}", "disabled": False} for name in names]
        more = first + size < len(Hub.commits)
        link = f'<https://upstream.invalid/api/models?{urllib.parse.urlencode({**query, "cursor": first + size}, doseq=True)}>; rel="next"'
        self.answer(200, json.dumps(body).encode(), [("Link", link)] if more else [])

    def model(self, name):
        self.count("model")
        data = bytes_of(name, Hub.commits[name])
        file = {"rfilename": "model.onnx", "size": len(data), "lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}}
        self.answer(200, json.dumps({"id": name, "sha": f"{Hub.commits[name]:040x}", "gated": False, "siblings": [file]}).encode())

    def file(self, name):
        self.count("file")
        self.answer(200, bytes_of(name, Hub.commits[name]), [("ETag", f'"{Hub.commits[name]}"')])


def night(program, folder, address):
    Hub.counts.clear()
    keep = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and not name.startswith("HF_")}
    environment = {**keep, "HF_ENDPOINT": address, "HF_HOME": str(folder), "HEIRLOOM_CACHE": "off", "ORT_DYLIB_PATH": "off"}
    began = time.perf_counter()
    arguments = [program, "scan", str(folder / "scan.yaml"), "--output", str(folder / "out"), "--quiet"]
    child = os.posix_spawn(program, arguments, environment, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter() - began, usage.ru_maxrss / 1024, dict(Hub.counts)


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    models, changed = (int(argument) for argument in (sys.argv[2:] + ["5000", "100"][len(sys.argv) - 2 :])[:2])
    Hub.commits.update({f"acme/model-{number:05}": 1 for number in range(models)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "scan.yaml").write_text("version: 1\nname: hub\nsources:\n  - hf: { organisation: acme }\nrules:\n  - { tier: static }\n")
        print(f"| night over {models} models | exit | seconds | peak memory, MiB | requests |\n|---|---|---|---|---|")
        for name in ["the first", "nothing has changed", f"{changed} have changed"]:
            if "have" in name:
                Hub.commits.update({key: 2 for key in list(Hub.commits)[:changed]})
            code, seconds, memory, counts = night(program, folder, address)
            shown = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
            print(f"| {name} | {code} | {seconds:.1f} | {memory:.0f} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
