"""timm networks whose `config.json` asks for another network than their tensors show, with what they answer.

    pip install torch timm safetensors
    python timm_args.py

Writes, beside itself, timm-BLOCK.safetensors (weights: those of every network of that block are the same) and timm-BLOCK.io.safetensors
(`input`, and an output for every network; `config.json` of each in the header). Written with torch 2.15.0 and timm 1.0.31.
"""

import json
import pathlib

import timm
import torch
from safetensors.torch import save_file

from make import randomise

HERE = pathlib.Path(__file__).parent
NETWORKS = {
    "plain": {},
    "silu": {"act_layer": "silu"},
    "gelu-tanh": {"act_layer": "gelu_tanh"},
    "leaky-relu": {"act_layer": "leaky_relu"},
    "hard-swish": {"act_layer": "hard_swish"},
    "max": {"global_pool": "max"},
    "stride-16": {"output_stride": 16},
    "stride-8": {"output_stride": 8},
    "all": {"act_layer": "silu", "global_pool": "max", "output_stride": 8},
}


@torch.no_grad()
def save(block, architecture, base):
    outputs, configs, weights = {}, {}, None
    for name, args in NETWORKS.items():
        generator = torch.Generator().manual_seed(0)
        model = timm.create_model(architecture, num_classes=5, **base, **args)
        randomise(model, generator)
        model.eval()
        x = torch.randn(2, 3, 64, 49, generator=generator)
        outputs["input"], outputs[name] = x, model(x).contiguous()
        configs[name] = json.dumps({"architecture": architecture, "num_classes": 5, "global_pool": args.get("global_pool", "avg"), "model_args": {**base, **args}, "pretrained_cfg": {"input_size": [3, 64, 49]}})
        state = {k: v.contiguous() for k, v in model.state_dict().items()}
        assert weights is None or all(torch.equal(weights[k], v) for k, v in state.items())
        weights = state
    save_file(weights, HERE / f"timm-{block}.safetensors")
    save_file(outputs, HERE / f"timm-{block}.io.safetensors", metadata=configs)


if __name__ == "__main__":
    save("basic", "resnet18", dict(layers=[1, 2, 1, 1], channels=[4, 8, 12, 16], stem_width=8))
    save("bottleneck", "resnext50_32x4d", dict(layers=[1, 1, 2, 1], channels=[4, 8, 12, 16], stem_width=8, cardinality=2, base_width=32))
