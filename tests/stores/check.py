"""Scans of servers that others wrote. tests/stores/run starts it: check.py HEIRLOOM WORK TOOLS"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import urllib.request
from email.utils import formatdate

heirloom, work, tools = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
fixtures = pathlib.Path("fixtures/models")
SECRET = "s3cret-of-the-tests-0123456789"
clean, planted = (fixtures / "clean.onnx").read_bytes(), (fixtures / "planted-square.safetensors").read_bytes()


def own(number):
    """A model with bytes of its own: a field that nothing computes with."""
    return clean + bytes([0x32, 1, 0x30 + number])


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def environment(more):
    kept = {k: v for k, v in os.environ.items() if not re.match("AWS_|AZURE_|GOOGLE_|MLFLOW_|HF_|.*_PROXY$|.*_proxy$", k)}
    return {**kept, "AWS_EC2_METADATA_DISABLED": "true", "HEIRLOOM_CACHE": str(work / "cache"), "HF_HOME": str(work), **more}


def run(arguments, env):
    done = subprocess.run([heirloom, *arguments], env=environment(env), capture_output=True, text=True)
    assert SECRET not in done.stdout + done.stderr, "the secret is said"
    return done


def scan(folder, source, env, *more):
    folder = work / folder
    folder.mkdir(exist_ok=True)
    (folder / "scan.yaml").write_text(f"version: 1\nname: stores\nsources:\n  - {source}\nrules:\n  - {{ tier: static }}\n")
    done = run(["scan", str(folder / "scan.yaml"), "--output", str(folder / "out"), "-vv", *more], env)
    for path in folder.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), f"the secret is in {path}"
    assert not (folder / "out/downloads").exists(), done.stderr
    path = folder / "out/scan.json"
    models = {m["name"]: m.get("cause") or m["outcome"] for m in json.loads(path.read_text())["models"]} if path.exists() else None
    requests = re.search(r": \d+ models?, (\d+) requests?", done.stdout + done.stderr)
    return done, models, int(requests.group(1)) if requests else None


def expect(what, found, wanted):
    assert found == wanted, f"{what}: {found}, {wanted} expected"
    print(f"  {what}: {found}")


def wait(url):
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=1)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{url} does not answer")


def s3():
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port(), verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{server._port}"
    env = {"AWS_ACCESS_KEY_ID": "key-of-the-tests", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    client.create_bucket(Bucket="models")
    put = lambda key, body: client.put_object(Bucket="models", Key=key, Body=body)
    put("team/vit/model.safetensors", planted)
    put("team/vit/config.json", b"{}")
    put("team/a.onnx", own(1))
    put("team/b.onnx", own(2))
    put("team/pickled/pytorch_model.bin", b"\x80\x02}q\x00.")
    put("team/odd name/ü+&.onnx", own(3))
    put("team/../escape.onnx", own(4))
    # Three pages of a list.
    for number in range(2100):
        put(f"team/logs/{number}.txt", b"x")
    source = f's3: {{ bucket: models, prefix: team, endpoint: "{endpoint}" }}'
    done, models, requests = scan("s3", source, env)
    expect("S3, the first night", models, {
        "../escape.onnx": "unsupported", "pickled/pytorch_model.bin": "pickle", "a.onnx": "inspected", "b.onnx": "inspected",
        "odd name/ü+&.onnx": "inspected", "vit": "inspected",
    })
    done, again, requests = scan("s3", source, env)
    expect("S3, the second night asks for the list", (again == models, requests), (True, 3))
    put("team/b.onnx", own(5))
    done, again, requests = scan("s3", source, env, "--format", "json")
    changed = [m["name"] for m in json.loads((work / "s3/out/scan.json").read_text())["models"] if m["name"] == "b.onnx"]
    expect("S3, one has changed", (again == models, changed), (True, ["b.onnx"]))
    client.delete_object(Bucket="models", Key="team/a.onnx")
    for night in (1, 2):
        expect("S3, one is missing", scan("s3", source, env)[1]["a.onnx"], "not-found")
    expect("S3, and is gone", "a.onnx" in scan("s3", source, env)[1], False)
    done, models, _ = scan("none", f's3: {{ bucket: nothing, endpoint: "{endpoint}" }}', env)
    expect("S3, no such bucket", (done.returncode, models), (2, {"*": "not-found"}))
    named = {**env, "AWS_ENDPOINT_URL": endpoint}
    done = run(["inspect", "s3://models/team/vit/model.safetensors", "-vv"], named)
    expect("inspect s3://", (done.returncode, "s3://models/team/vit/model.safetensors" in done.stdout), (0, True))
    done = run(["inspect", "s3://models/team/vit"], named)
    expect("inspect a folder in S3", done.returncode, 0)
    done = run(["certify", "s3://models/team/vit/model.safetensors", "--output", str(work / "report"), "--reports", "json"], named)
    identity = json.loads((work / "report/report.json").read_text())["model"]["identity"]
    expect("certify s3://", (done.returncode, identity["path"]), (1, "s3://models/team/vit/model.safetensors"))
    done = run(["inspect", "s3://models/team/none.onnx"], named)
    assert done.returncode == 4 and "holds no checkpoint" in done.stderr, done.stderr
    done, *_ = scan("open", 's3: { bucket: models, endpoint: "http://models.invalid" }', env)
    assert "not encrypted" in done.stdout + done.stderr, done.stderr
    print("  S3, no credentials over http: refused")
    done, models, _ = scan("nobody", f's3: {{ bucket: models, prefix: team/vit, endpoint: "{endpoint}", anonymous: true }}', {})
    expect("S3, anonymous", list(models or {}), ["model.safetensors"])
    server.stop()


def azure():
    program = tools / "node_modules/.bin/azurite-blob"
    if not program.exists():
        print("test lacks: azurite (cannot be installed)")
        return
    at, account, key = port(), "heirloom", base64.b64encode(SECRET.encode()).decode()
    log = open(work / "azurite.log", "w")
    server = subprocess.Popen(
        [program, "--blobHost", "127.0.0.1", "--blobPort", str(at), "--location", str(work / "azurite"), "--skipApiVersionCheck"],
        env={**os.environ, "AZURITE_ACCOUNTS": f"{account}:{key}"}, stdout=log, stderr=log,
    )
    try:
        endpoint = f"http://127.0.0.1:{at}/{account}"
        wait(endpoint)

        def call(method, path, query="", body=b"", headers=None):
            headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02", **(headers or {})}
            canonical = "".join(f"{k}:{v}\n" for k, v in sorted(headers.items()))
            resource = f"/{account}/{account}{path}" + "".join(f"\n{p.replace('=', ':')}" for p in sorted(query.split("&")) if p)
            kind = "application/octet-stream"
            text = "\n".join([method, "", "", str(len(body)) if body else "", "", kind, "", "", "", "", "", "", canonical + resource])
            signature = base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()
            headers |= {"Authorization": f"SharedKey {account}:{signature}", "Content-Type": kind}
            request = urllib.request.Request(f"{endpoint}{path}" + (f"?{query}" if query else ""), data=body, method=method, headers=headers)
            urllib.request.urlopen(request).read()

        call("PUT", "/models", "restype=container")
        for path, body in {"team/vit/model.safetensors": planted, "team/vit/config.json": b"{}", "team/a.onnx": own(1)}.items():
            call("PUT", f"/models/{path}", "", body, {"x-ms-blob-type": "BlockBlob"})
        env = {"AZURE_STORAGE_ACCOUNT_NAME": account, "AZURE_STORAGE_ACCOUNT_KEY": key}
        source = f'az: {{ container: models, prefix: team, endpoint: "{endpoint}" }}'
        expect("Azure, the first night", scan("az", source, env)[1], {"a.onnx": "inspected", "vit": "inspected"})
        expect("Azure, the second night", scan("az", source, env)[2], 1)
        call("PUT", "/models/team/a.onnx", "", own(2), {"x-ms-blob-type": "BlockBlob"})
        expect("Azure, one has changed", scan("az", source, env)[1], {"a.onnx": "inspected", "vit": "inspected"})
        wrong = {**env, "AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(b"another").decode()}
        expect("Azure, a wrong key", scan("az", source, wrong)[1], {"a.onnx": "auth", "vit": "auth"})
        done = run(["inspect", "az://models/team/a.onnx"], {**env, "AZURE_STORAGE_ENDPOINT": endpoint})
        expect("inspect az://", done.returncode, 0)
    finally:
        server.terminate()
        server.wait()


def google():
    """Google's XML interface, which moto has too. What is signed for Google no server here checks: it is asked without credentials."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port(), verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{server._port}"
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    client.create_bucket(Bucket="openmodels", ACL="public-read")
    for key, number in {"team/a.onnx": 1, "team/b c.onnx": 2}.items():
        client.put_object(Bucket="openmodels", Key=key, Body=own(number), ACL="public-read")
    source = f'gs: {{ bucket: openmodels, prefix: team, endpoint: "{endpoint}", anonymous: true }}'
    wanted = {"a.onnx": "inspected", "b c.onnx": "inspected"}
    expect("Google, the first night", scan("gs", source, {})[1], wanted)
    done, again, requests = scan("gs", source, {})
    expect("Google, the second night", (again, requests), (wanted, 1))
    server.stop()


def mlflow():
    try:
        import mlflow  # noqa: F401
        from mlflow import MlflowClient
    except ImportError:
        print("test lacks: mlflow (cannot be installed)")
        return
    at = port()
    log = open(work / "mlflow.log", "w")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(at), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{work}/mlflow.db", "--artifacts-destination", str(work / "artifacts")]
    server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    endpoint = f"http://127.0.0.1:{at}"
    try:
        wait(f"{endpoint}/health")
        os.environ["MLFLOW_TRACKING_URI"] = endpoint
        client = MlflowClient(endpoint)
        experiment = client.create_experiment("tests")

        def version(name, files, source=None, put="model"):
            made = client.create_run(experiment)
            folder = work / f"upload-{made.info.run_id}"
            folder.mkdir()
            for path, body in files.items():
                (folder / path).write_bytes(body)
            client.log_artifacts(made.info.run_id, str(folder), put)
            if not client.search_registered_models(f"name = '{name}'"):
                client.create_registered_model(name)
            source = source or f"{made.info.artifact_uri}/{put}"
            return client.create_model_version(name, source, made.info.run_id).version

        version("vit", {"model.onnx": own(1)})
        version("vit", {"model.safetensors": planted, "config.json": b"{}"})
        version("resnet", {"model.onnx": own(2), "MLmodel": b"flavors: {}"})
        client.set_registered_model_alias("vit", "champion", "1")
        # What a server refuses to register now it may have taken before.
        import sqlite3

        for name, hostile in [("files", "file:///etc/passwd"), ("metadata", "http://169.254.169.254/latest/meta-data/"), ("elsewhere", "s3://other/x")]:
            version(name, {"model.onnx": own(3)})
            with sqlite3.connect(work / "mlflow.db") as base:
                base.execute("update model_versions set source = ?, storage_location = ? where name = ?", (hostile, hostile, name))
        env = {"MLFLOW_TRACKING_TOKEN": SECRET}
        source = f'mlflow: {{ endpoint: "{endpoint}" }}'
        wanted = {"elsewhere": "outside-link", "files": "outside-link", "metadata": "outside-link", "resnet": "inspected", "vit": "inspected"}
        expect("MLflow, the first night", scan("mlflow", source, env)[1], wanted)
        # Two searches, and a question for each that is refused.
        expect("MLflow, the second night", scan("mlflow", source, env)[1:], (wanted, 5))
        version("vit", {"model.onnx": own(4)})
        expect("MLflow, a new version", scan("mlflow", source, env)[1], wanted)
        of = lambda folder: [m.get("revision", "").split("-")[0] for m in json.loads((work / folder / "out/scan.json").read_text())["models"] if m["name"] == "vit"]
        expect("MLflow, it is the newest", of("mlflow"), ["v3"])
        scan("alias", f'mlflow: {{ endpoint: "{endpoint}", alias: champion }}', env)
        expect("MLflow, an alias", of("alias"), ["v1"])
        only = f'mlflow: {{ endpoint: "{endpoint}", filter: "name LIKE \'res%\'" }}'
        expect("MLflow, a filter", scan("filter", only, env)[1], {"resnet": "inspected"})
    finally:
        os.killpg(server.pid, 15)
        server.wait()


for check in (s3, azure, google, mlflow):
    print(check.__name__)
    check()
