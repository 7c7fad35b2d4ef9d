"""Scans of a hub that misbehaves, and scans that are disturbed: does each end as a calm one does?

    python3 benches/scan_faults.py target/release/heirloom [MODELS]

A hub on loopback holds MODELS small models (300), each another file, and sends downloads on to another origin. Every scan goes into a new folder,
and its result is held against the calm one's. Disks that are full or read-only need `mount` as root: without it their rows say so. Python alone.
"""

import contextlib
import http.server
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

import scan_hub

TOKEN = "hf_token-of-the-faults-0123456789"
FAULTS = ["error 500", "429", "429 with RateLimit", "slow", "reset", "cut off", "a length too great", "a length too small"]
STATUS = {"error 500": (500, []), "429": (429, []), "429 with RateLimit": (429, [("RateLimit", '"api";r=0;t=1')])}


class Hub(scan_hub.Hub):
    """One request in `one_in` goes wrong. `elsewhere` is the other origin, which must never see the token."""

    one_in, rng, told, elsewhere, lock, paths, tokens = 0, random.Random(1), {}, None, threading.Lock(), [], 0

    def do_GET(self):
        self.is_file = "/resolve/" in self.path
        with Hub.lock:
            faults = FAULTS if self.is_file else FAULTS[:6]
            self.fault = Hub.rng.choice(faults) if Hub.one_in and Hub.rng.randrange(Hub.one_in) == 0 else None
            if self.fault:
                Hub.told[self.fault] = Hub.told.get(self.fault, 0) + 1
            Hub.paths.append(self.path)
            Hub.tokens += self.server is Hub.elsewhere and "Authorization" in self.headers
        if self.fault == "reset":
            self.close_connection = True
        elif self.fault in STATUS:
            status, more = STATUS[self.fault]
            self.answer(status, b"", more)
        elif self.is_file and self.server is not Hub.elsewhere:
            self.fault = None
            self.answer(302, b"", [("Location", f"http://127.0.0.1:{Hub.elsewhere.server_port}{self.path}")])
        else:
            if self.fault == "slow":
                time.sleep(2)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                super().do_GET()

    def answer(self, status, body, headers=()):
        sent, said = {
            "cut off": (len(body) // 2, len(body)),
            "a length too great": (len(body), len(body) + 999),
            "a length too small": (len(body) // 2, len(body) // 2),
        }.get(self.fault, (len(body), len(body)))
        self.send_response(status)
        for name, value in [*headers, ("Content-Length", str(said))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:sent])
        self.close_connection = self.close_connection or sent != said


class Scan:
    """A scan in a folder of its own."""

    def __init__(self, program, address, folder):
        self.program, self.address, self.folder = program, address, folder
        (folder / "scan.yaml").write_text("version: 1\nname: hub\nsources:\n  - hf: { organisation: acme }\nrules:\n  - { tier: static }\n")
        self.said = ""

    def start(self, *more):
        keep = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and not name.startswith("HF_")}
        more_environment = {"HF_ENDPOINT": self.address, "HF_HOME": str(self.folder / "home"), "HF_TOKEN": TOKEN, "HEIRLOOM_CACHE": str(self.folder / "cache"), "ORT_DYLIB_PATH": "off"}
        arguments = [self.program, "scan", "scan.yaml", "--output", "out", *more]
        return subprocess.Popen(arguments, env={**keep, **more_environment}, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def end(self, child):
        said = child.communicate(timeout=600)[0]
        self.said += said
        return child.returncode, said

    def run(self, *more):
        return self.end(self.start(*more))

    def result(self):
        """What stands in scan.json, but for times."""
        found = json.loads((self.folder / "out/scan.json").read_text())
        return {key: value for key, value in found.items() if key != "run"}

    def leaks(self):
        """Where the token stands: nowhere."""
        found = [str(path) for path in self.folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
        return found + (["what it said"] if TOKEN in self.said else [])


def files():
    """How often each model's file was asked for, at the other origin."""
    counts = {}
    for path in Hub.paths:
        if "/resolve/" in path:
            counts[path] = counts.get(path, 0) + 1
    Hub.paths.clear()
    return {path: count / 2 for path, count in counts.items()}


def mounted(folder, options):
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True).returncode == 0


class Quiet(http.server.ThreadingHTTPServer):
    """A client that is killed in a request is no news."""

    def handle_error(self, request, client_address):
        pass


class Table:
    def __init__(self, program, address, work):
        self.program, self.address, self.work, self.number, self.leaks = program, address, work, 0, []
        self.wanted = None

    def scan(self, folder=None):
        self.number += 1
        folder = folder or self.work / str(self.number)
        folder.mkdir(parents=True, exist_ok=True)
        Hub.paths.clear()
        Hub.told.clear()
        return Scan(self.program, self.address, folder)

    def row(self, name, scan, code, note):
        self.leaks += scan.leaks()
        same = (scan.folder / "out/scan.json").exists() and scan.result() == self.wanted
        print(f"| {name} | {code} | {'yes' if same else 'NO'} | {note} |", flush=True)

    def calm(self):
        scan = self.scan()
        began = time.perf_counter()
        code, _ = scan.run()
        self.wanted, self.seconds = scan.result(), time.perf_counter() - began
        self.row("calm", scan, code, f"{self.seconds:.1f} s; {len(files())} files")

    def faults(self, one_in):
        scan = self.scan()
        Hub.one_in = one_in
        began = time.perf_counter()
        code, _ = scan.run()
        seconds = time.perf_counter() - began
        Hub.one_in = 0
        told = ", ".join(f"{count} {what}" for what, count in sorted(Hub.told.items()))
        self.row(f"one request in {one_in} goes wrong", scan, code, f"{seconds:.1f} s; {told}")

    def killed(self, times):
        scan, asked, done = self.scan(), {}, 0
        for number in range(times):
            child = scan.start()
            time.sleep(random.Random(number).uniform(0.02, self.seconds / times * 1.5))
            if child.poll() is not None:
                # It came to its end before the last kills.
                code = scan.end(child)[0]
                break
            child.send_signal(signal.SIGKILL)
            scan.end(child)
            done += 1
        else:
            code, _ = scan.run()
        asked = files()
        twice = sum(count - 1 for count in asked.values() if count > 1)
        self.row(f"killed {done} times", scan, code, f"{len(asked)} files, {twice:.0f} asked for again: what was on its way at a kill")

    def two_at_once(self):
        scan = self.scan()
        first = scan.start()
        time.sleep(self.seconds / 4)
        second = scan.run()
        code, _ = scan.end(first)
        self.row("two at once into one folder", scan, code, f"the second ends with {second[0]}: {next(line for line in second[1].splitlines() if 'rror' in line).strip()[:160]}")

    def disk(self, name, small):
        folder = self.work / f"disk-{self.number}"
        if not mounted(folder, small):
            print(f"| {name} | | | test lacks: mount |")
            return
        try:
            scan = self.scan(folder)
            if name == "read-only":
                subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
            code, said = scan.run()
            left = (folder / "out/scan.json").exists()
            subprocess.run(["mount", "-o", "remount,rw,size=512m", str(folder)], check=True)
            again, _ = scan.run()
            line = next((line for line in said.splitlines() if "rror" in line), "")
            self.row(f"{name}, then not", scan, f"{code}, then {again}", f"{'a result' if left else 'no result'} before; {line[:160]}")
        finally:
            subprocess.run(["umount", str(folder)], check=True)


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    models = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    scan_hub.Hub.commits.update({f"acme/model-{number:05}": 1 for number in range(models)})
    servers = [Quiet(("127.0.0.1", 0), Hub) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    Hub.elsewhere = servers[1]
    with tempfile.TemporaryDirectory() as work:
        table = Table(program, f"http://127.0.0.1:{servers[0].server_port}", pathlib.Path(work))
        print(f"| a scan of {models} models | exit | result as the calm one's | |\n|---|---|---|---|")
        table.calm()
        table.faults(100)
        table.faults(20)
        table.killed(20)
        table.two_at_once()
        table.disk("a full disk", f"size={models * 6}k")
        table.disk("read-only", "size=512m")
        print(f"\nThe token came to the other origin {Hub.tokens} times, and stands in {len(table.leaks)} files or lines {table.leaks or ''}")


if __name__ == "__main__":
    main()
