"""Writes what timm's names of EfficientNets and MobileNets say that tensors do not show.

    pip install torch timm
    python architectures_efficientnet.py > ../../../src/model/arch/efficientnet/architectures.txt

One line for each name of timm's efficientnet.py, mobilenetv3.py and hardcorenas.py: the name, its activation, what else sets it apart, and its
stages. `late` is the head that pools first (MobileNetV3's). A stage is `STRIDExBLOCKS` and letters for what its blocks do: `n` no shortcut where one would fit, `s` a shortcut around a plain
convolution, `a` an activation behind the last convolution and no shortcut, `r` ReLU or `w` SiLU in place of the network's activation; `+` joins runs of
blocks that differ. What is asserted here is what the builder takes for granted; a name for which it does not hold is left out and refused.
Written with timm 1.0.31.
"""

import itertools
import sys
import warnings

import timm
import torch
from timm.models import _efficientnet_builder, list_models

warnings.filterwarnings("ignore")
ACTS = {"SiLU": "silu", "ReLU": "relu", "ReLU6": "relu6", "Hardswish": "hard_swish", "GELU": "gelu"}
GATES = {"Sigmoid": "sigmoid", "Hardsigmoid": "hard_sigmoid", "HardSigmoid": "hard_sigmoid"}
POOLS = {"AvgPool2d": "avg", "BlurPool2d": "blur"}
# The convolution that strides.
MAIN = ("conv_dw", "conv_exp", "conv", "dw_start.conv", "dw_mid.conv", "dw_end.conv")

plain_make = _efficientnet_builder.EfficientNetBuilder._make_block


def make(self, args, *rest):
    said = {key: args.get(key) for key in ("noskip", "skip", "pw_act", "block_type")}
    block = plain_make(self, args, *rest)
    block.said = said
    return block


_efficientnet_builder.EfficientNetBuilder._make_block = make


def kind(module):
    return type(module).__name__


def block_letters(block, act):
    said, letters = block.said, ""
    if said["pw_act"]:
        assert said["noskip"]
        letters += "a"
    elif said["noskip"]:
        letters += "n"
    if said["skip"]:
        letters += "s"
    own = {kind(m.act) for m in block.modules() if hasattr(m, "act") and kind(m.act) != "Identity"}
    assert len(own) <= 1, own
    own = ACTS[own.pop()] if own else act
    if own != act:
        letters += {"relu": "r", "silu": "w"}[own]
    return letters, own


def check_block(block, same, norm, found):
    """The block's stride, and whether it is what the builder takes it for."""
    stride = 1
    for name, module in block.named_modules():
        what = kind(module)
        last = name.split(".")[-1]
        assert what not in ("CondConv2d", "GlobalContext"), what
        if what in ("Conv2d", "Conv2dSame"):
            assert module.dilation == (1, 1)
            (kernel, _), (step, _) = module.kernel_size, module.stride
            if name == "conv_s2d":
                assert (kernel, step, what) == (2, 2, "Conv2dSame")
                continue
            if kernel % 2:
                assert (what == "Conv2dSame") == (same and step != 1)
            else:
                assert kernel == 2 and what == "Conv2dSame"
            if step != 1 and not name.startswith("attn."):
                assert name.rsplit(".", 1)[0] in MAIN if last.isdigit() else name in MAIN, name
                stride = step
            if name.startswith("attn."):
                assert step == (2 if "down_conv" in name else 1)
        elif what in POOLS:
            assert module.stride == 2 and getattr(module, "kernel_size", 2) == 2 and getattr(module, "pad_mode", "constant") == "constant"
            stride = 2
            found["aa"].add(POOLS[what])
        elif what in ("BatchNormAct2d", "BatchNorm2d", "GroupNormAct"):
            assert what.replace("Act", "").replace("2d", "") == norm[0] and module.eps == norm[1]
        elif what == "SqueezeExcite":
            found["gate"].add(GATES[kind(module.gate)])
            found["squeeze"].add((ACTS[kind(module.act1)], found["own"]))
        elif what == "MultiQueryAttention2d":
            assert list(module.query_strides) == [1, 1] and module.scale == module.key_dim**-0.5
        else:
            assert "Norm" not in what or what == "ConvNormAct", what
            assert what != "Attention2d"
    return stride


def line(name):
    with torch.device("meta"):
        net = timm.create_model(name, pretrained=False)
    act, options = ACTS[kind(net.bn1.act)], []
    same = kind(net.conv_stem) == "Conv2dSame"
    assert net.conv_stem.stride == (2, 2) and net.global_pool.pool_type == "avg"
    norm = (kind(net.bn1).replace("Act", "").replace("2d", ""), net.bn1.eps)
    if same:
        options.append("same")
    if norm[0] == "GroupNorm":
        assert norm[1] == 1e-5
        sizes = {m.num_channels // m.num_groups for m in net.modules() if kind(m) == "GroupNormAct"}
        assert len(sizes) == 1
        options.append(f"group={sizes.pop()}")
    else:
        assert norm[0] == "BatchNorm", norm
        if norm[1] != 1e-5:
            options.append(f"eps={norm[1]}")
    if kind(net) == "EfficientNet":
        heads = [net.bn2]
    else:
        options.append("late")
        heads = [net.act2, net.norm_head]
        assert sum(kind(h) == "Identity" for h in heads) == 1
    for head in heads:
        own = ACTS.get(kind(getattr(head, "act", head)))
        assert own == act or kind(head) == "Identity", own
    found, stages = {"aa": set(), "gate": set(), "squeeze": set()}, []
    for stage in net.blocks:
        blocks, strides = [], []
        for block in stage:
            letters, found["own"] = block_letters(block, act)
            blocks.append(letters)
            strides.append(check_block(block, same, norm, found))
        assert set(strides[1:]) <= {1}
        runs = [(len(list(run)), letters) for letters, run in itertools.groupby(blocks)]
        stages.append(f"{strides[0]}x" + "+".join(f"{count}{letters}" for count, letters in runs))
    del found["own"]
    if found["gate"] - {"sigmoid"}:
        (gate,) = found["gate"]
        options.append(f"gate={gate}")
    if any(squeeze != own for squeeze, own in found["squeeze"]):
        (squeeze,) = {squeeze for squeeze, _ in found["squeeze"]}
        options.append(f"squeeze={squeeze}")
    if found["aa"]:
        (aa,) = found["aa"]
        options.append(f"aa={aa}")
    return " ".join([name, act, ",".join(options) or "-", *stages])


for module in ("efficientnet", "mobilenetv3", "hardcorenas"):
    for name in list_models(module=module):
        try:
            print(line(name))
        except (AssertionError, AttributeError, KeyError, ValueError) as why:
            print(name, "is left out:", repr(why), file=sys.stderr)
