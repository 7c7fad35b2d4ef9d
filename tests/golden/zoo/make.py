"""Small networks of every family, written as their libraries write them, with what the libraries compute.

    pip install torch torchvision timm transformers safetensors
    python make.py            all that are not there yet
    python make.py NAME ...   these, anew

Each file beside this one that is called models_*.py has a dictionary MODELS: NAME -> Case. NAME/ gets the library's own files
(model.safetensors, config.json) and io.safetensors: `input`, `output`, `features` where it has them, and, where a case asks for gradients,
`direction` and `gradient.TENSOR`, the gradient of sum(direction * output) with respect to that tensor of the file.
Written with torch 2.15.0, torchvision 0.29.2, timm 1.0.31 and transformers 5.24.0.
"""

import importlib
import json
import pathlib
import shutil
import sys
from dataclasses import dataclass, field
from typing import Callable, Optional

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent


@dataclass
class Case:
    """`make()` gives a network. `size` is the side of its images, or (height, width). `arch` is what --arch must say, where config.json cannot.
    `output` and `features` say what the network gives and what enters its head; `features` of None is not compared."""

    make: Callable
    size: object = 32
    arch: Optional[str] = None
    output: Callable = lambda model, x: model(x)
    features: Optional[Callable] = None
    gradients: bool = False
    # Written into config.json of timm: what was given to create_model beside the name.
    args: dict = field(default_factory=dict)
    # For networks of no library's `save_pretrained`: what config.json holds, or None for no such file.
    config: Optional[dict] = None


def timm(name, size=32, gradients=False, **args):
    """A network of timm, with what differs from the architecture of that name."""
    import timm as library

    def make():
        return library.create_model(name, pretrained=False, num_classes=5, **args)

    def features(model, x):
        return model.forward_head(model.forward_features(x), pre_logits=True)

    return Case(make, size, features=features, gradients=gradients, args=args)


def transformers(model, config, size=32, output=lambda found: found.logits, gradients=False, **fields):
    """A network of Transformers: names of its class and of its configuration's."""
    import transformers as library

    def make():
        return getattr(library, model)(getattr(library, config)(**fields))

    return Case(make, size, output=lambda network, x: output(network(x)), gradients=gradients)


def torchvision(arch, make, size=32, gradients=False):
    """A network of torchvision as `--arch torchvision/ARCH` reads it."""
    return Case(make, size, arch=f"torchvision/{arch}", gradients=gradients)


@torch.no_grad()
def randomise(model, generator):
    """What a fresh network has the same numbers in hides mistakes: norms that are the identity, factors of 0 or 1."""
    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if not tensor.is_floating_point() or tensor.numel() == 0:
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(0.5 + noise.abs())
        elif name.endswith("running_mean"):
            tensor.copy_(0.3 * noise)
        elif isinstance(dict(model.named_parameters()).get(name), torch.nn.Parameter):
            if tensor.numel() > 1 and bool((tensor == tensor.flatten()[0]).all()):
                value = float(tensor.flatten()[0])
                tensor.copy_(value + 0.2 * noise if abs(value) > 0.01 else 0.2 * noise)
            elif tensor.numel() == 1:
                tensor.copy_(tensor + 0.3)
            elif float(tensor.abs().max()) < 0.1:
                # Tables of positions and the like begin near nothing.
                tensor.copy_(0.3 * noise)


def write(name, case):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = case.make()
    randomise(model, generator)
    model.eval()
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if hasattr(model, "save_pretrained"):
        model.save_pretrained(folder)
    elif getattr(model, "pretrained_cfg", None):
        from timm.models import save_for_hf

        save_for_hf(model, folder, model_args=case.args or None, safe_serialization=True)
    else:
        save_file({k: v.clone().contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
        if case.config is not None:
            (folder / "config.json").write_text(json.dumps(case.config))
    size = case.size if isinstance(case.size, tuple) else (case.size, case.size)
    x = torch.randn(2, 3, *size, generator=generator)
    output = case.output(model, x)
    found = {"input": x, "output": output}
    if case.features is not None:
        with torch.no_grad():
            found["features"] = case.features(model, x)
    if case.gradients:
        direction = torch.randn(output.shape, generator=generator)
        found["direction"] = direction
        model.zero_grad()
        (direction * output).sum().backward()
        for tensor, parameter in model.named_parameters():
            if parameter.grad is not None:
                found[f"gradient.{tensor}"] = parameter.grad
    notes = {"arch": case.arch} if case.arch else None
    save_file({k: v.detach().clone().contiguous() for k, v in found.items()}, folder / "io.safetensors", metadata=notes)
    print(name, tuple(output.shape), f"{sum(p.stat().st_size for p in folder.iterdir()) // 1024} KiB")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    # The models import this file by name: one set of classes.
    sys.modules["make"] = sys.modules["__main__"]
    cases = {}
    for path in sorted(HERE.glob("models_*.py")):
        for name, case in importlib.import_module(path.stem).MODELS.items():
            assert name not in cases, name
            cases[name] = case
    for name in sys.argv[1:] or [name for name in cases if not (HERE / name / "io.safetensors").is_file()]:
        write(name, cases[name])
