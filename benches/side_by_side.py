"""heirloom's executor against PyTorch and ONNX Runtime: the same networks, batches and threads, in turn.

    pip install torch onnx onnxruntime
    cargo bench --bench speed --no-run
    python benches/side_by_side.py PATH-TO-BENCH [ROUNDS] [NETWORK ...]

Set ORT_DYLIB_PATH to the library in the Python package to compare extraction through it as well.

PATH-TO-BENCH is the executable that cargo names (`target/release/deps/speed-...`). A training step is forward and backward without
an optimizer, on one batch that stays the same; all sides take contiguous f32, and of PyTorch the better of its two memory formats is
counted. Counted is each side's fastest step of all rounds: what else runs on a machine makes steps slower, never faster, and on a rented one it
may do so for half a minute, so that a few short rounds in turn tell more than a long one. Peak memory is that of each side's process, in MiB.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads would slow the other side down

SECONDS = 2.5
THREADS = int(os.environ.get("THREADS", os.cpu_count()))


def rate(batch, step):
    step()
    fastest, start = float("inf"), time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        one = time.perf_counter()
        step()
        fastest = min(fastest, time.perf_counter() - one)
    return batch / fastest


def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))


def pytorch(name):
    import torch
    from networks import NETWORKS

    torch.set_num_threads(THREADS)
    make, side, batch = NETWORKS[name]
    found = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        model = make().to(memory_format=layout)
        x = torch.randn(batch, 3, side, side).to(memory_format=layout)

        def forward():
            model.eval()
            with torch.inference_mode():
                model(x)

        def train():
            model.train()
            model.zero_grad(set_to_none=True)
            y = model(x)
            y.backward(torch.ones_like(y))

        found["forward"] = max(found.get("forward", 0), rate(batch, forward))
        found.setdefault("forward_mib", peak())
        found["train"] = max(found.get("train", 0), rate(batch, train))
        found.setdefault("train_mib", peak())
    return found


def runtime(name, path):
    import numpy
    import onnxruntime
    from networks import NETWORKS

    _, side, batch = NETWORKS[name]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = numpy.random.default_rng(0).standard_normal((batch, 3, side, side), dtype=numpy.float32)
    return {"forward": rate(batch, lambda: session.run(None, {"input": x})), "forward_mib": peak()}


def main(bench, rounds, names):
    from networks import NETWORKS

    with tempfile.TemporaryDirectory() as folder:
        for name in names or NETWORKS:
            path = f"{folder}/{name}.onnx"
            subprocess.run([sys.executable, f"{sys.path[0]}/networks.py", folder, name], check=True, stderr=subprocess.DEVNULL)
            batch = NETWORKS[name][2]
            sides = {
                "heirloom": [bench, path, str(batch), str(SECONDS)],
                "PyTorch": [sys.executable, __file__, "--pytorch", name],
                "ONNX Runtime": [sys.executable, __file__, "--runtime", name, path],
            }
            found = {side: [] for side in sides}
            env = {**os.environ, "RAYON_NUM_THREADS": str(THREADS)}
            for _ in range(rounds):
                for side, command in sides.items():
                    run = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
                    found[side].append(json.loads(run.stdout.splitlines()[-1]))

            def best(side, key):
                return max(one[key] for one in found[side])

            if found["heirloom"][0]["through_onnx_runtime"]:
                # In the process, and in the worker that the command uses.
                for key, where in [("through_onnx_runtime", "in process"), ("through_worker", "in the worker")]:
                    ours, theirs = best("heirloom", key), best("ONNX Runtime", "forward")
                    print(f"| {name}, batch {batch} | features through ort, {where} | {ours:.1f} | ONNX Runtime {theirs:.1f} | {ours / theirs:.2f} | |")
            for key in ("forward", "train"):
                for side in ("PyTorch", "ONNX Runtime"):
                    if key in found[side][0]:
                        ours, theirs = best("heirloom", key), best(side, key)
                        mib = [best(s, f"{key}_mib") for s in ("heirloom", side)]
                        print(
                            f"| {name}, batch {batch} | {key} | {ours:.1f} | {side} {theirs:.1f} | {ours / theirs:.2f} |"
                            f" {mib[0]:.0f} / {mib[1]:.0f} MiB |",
                            flush=True,
                        )


if __name__ == "__main__":
    if sys.argv[1] == "--pytorch":
        print(json.dumps(pytorch(sys.argv[2])))
    elif sys.argv[1] == "--runtime":
        print(json.dumps(runtime(sys.argv[2], sys.argv[3])))
    else:
        main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3, sys.argv[3:])
