"""heirloom's way from a folder of JPEGs to network input against a PyTorch DataLoader with as many workers, in turn.

    pip install torch torchvision pillow pyarrow
    cargo bench --bench loading --no-run
    python benches/loading.py PATH-TO-BENCH [CIFAR10-TEST.parquet] [ROUNDS]

PATH-TO-BENCH is the executable that cargo names (`target/release/deps/loading-...`). The folder has 2,000 JPEGs of about 500x375 pixels at
quality 90: CIFAR-10 test images (smooth noise without the parquet file) scaled up, with texture added until the files are as large as
photographs are (about 75 kB). Both sides read, decode, resize to 224 and cut out the middle, normalise and make batches of 64 of every
image once. PyTorch's side is the usual one: `ImageFolder` on Pillow, `Resize`, `CenterCrop`, `ToTensor`, `Normalize`, `DataLoader`.
A round runs each side once; printed is the median over the rounds, and the ratio. Memory is the sum of the peaks of a side's processes.
"""

import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

COUNT, SIDE, BATCH = 2000, 224, 64
WORKERS = int(os.environ.get("THREADS", os.cpu_count()))


def make(folder, parquet):
    """Writes the folder once; the same bytes every time."""
    import numpy
    from PIL import Image

    rng = numpy.random.default_rng(0)
    if parquet:
        import pyarrow.parquet

        rows = pyarrow.parquet.read_table(parquet, columns=["image"]).slice(0, COUNT)["image"].to_pylist()
        small = [Image.open(io.BytesIO(row["bytes"])).convert("RGB") for row in rows]
    else:
        small = [Image.fromarray(rng.integers(0, 256, (8, 8, 3), numpy.uint8)) for _ in range(COUNT)]
    for i, image in enumerate(small):
        width, height = [(500, 375), (375, 500), (500, 333), (480, 360)][i % 4]
        smooth = numpy.asarray(image.resize((width, height), Image.BICUBIC), numpy.float32)
        fine = rng.normal(0, 9, (height, width, 1)) + rng.normal(0, 3, (height, width, 3))
        coarse = numpy.asarray(Image.fromarray(rng.normal(0, 18, (height // 3, width // 3)).astype(numpy.float32)).resize((width, height)))
        pixels = (smooth + fine + coarse[..., None]).clip(0, 255).astype(numpy.uint8)
        place = folder / f"class{i % 10}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i:05}.jpg", quality=90)


def peak(pid="self"):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))


def pytorch(folder):
    import torch
    from torchvision import datasets, transforms

    torch.set_num_threads(1)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    steps = [transforms.Resize(SIDE), transforms.CenterCrop(SIDE), transforms.ToTensor(), transforms.Normalize(mean, std)]
    data = datasets.ImageFolder(folder, transforms.Compose(steps))
    loader = torch.utils.data.DataLoader(data, BATCH, num_workers=WORKERS)
    start, seen, batches = time.perf_counter(), 0, iter(loader)
    for inputs, _ in batches:
        if seen == 0:
            # Starting the workers is not what is compared.
            start, counted = time.perf_counter(), -len(inputs)
        seen += len(inputs)
        memory = peak() + sum(peak(worker.pid) for worker in batches._workers if worker.is_alive())
    seconds = time.perf_counter() - start
    print(json.dumps({"rate": (seen + counted) / seconds, "mib": memory}))


def run(*command):
    out = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "RAYON_NUM_THREADS": str(WORKERS)})
    return json.loads(out.stdout.strip().splitlines()[-1])


def main():
    bench, *rest = sys.argv[1:]
    parquet = next((one for one in rest if one.endswith(".parquet")), None)
    rounds = next((int(one) for one in rest if one.isdigit()), 3)
    place = os.environ.get("PICTURES")
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(place or scratch)
        if not any(folder.glob("class*")):
            make(folder, parquet)
        size = sum(path.stat().st_size for path in folder.rglob("*.jpg")) / COUNT
        print(f"{COUNT} images of {size / 1000:.0f} kB, {WORKERS} workers", flush=True)
        ours, theirs = [], []
        for _ in range(rounds):
            theirs.append(run(sys.executable, __file__, "pytorch", str(folder)))
            ours.append(run(bench, str(folder), str(SIDE), str(BATCH)))
        rate = [statistics.median(one["rate"] for one in side) for side in (ours, theirs)]
        memory = [statistics.median(one["mib"] for one in side) for side in (ours, theirs)]
        print(f"pictures/s: heirloom {rate[0]:.0f}, DataLoader {rate[1]:.0f}, ratio {rate[0] / rate[1]:.2f}")
        print(f"peak MiB:   heirloom {memory[0]:.0f}, DataLoader {memory[1]:.0f}")


if __name__ == "__main__":
    pytorch(sys.argv[2]) if sys.argv[1] == "pytorch" else main()
