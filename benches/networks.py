"""The networks that speeds are compared on, as PyTorch modules: `python networks.py FOLDER` writes them as ONNX files.

Weights are random: they do not change how long a network takes. Definitions follow the papers and, where there is one, torchvision.
"""

import sys

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """A basic block; `pads`: the shortcut of the CIFAR ResNets, every second pixel and channels of zeros."""

    def __init__(self, width_in, width, stride, pads):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.stride, self.extra, self.shortcut = stride, width - width_in, None
        if not pads and (stride > 1 or self.extra):
            self.shortcut = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.shortcut is not None:
            x = self.shortcut(x)
        elif self.stride > 1 or self.extra:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra // 2, self.extra - self.extra // 2))
        return F.relu(y + x)


class ResNet(nn.Module):
    def __init__(self, widths, blocks, imagenet_stem, pads):
        super().__init__()
        stem = (7, 2, 3) if imagenet_stem else (3, 1, 1)
        self.conv1, self.bn1 = nn.Conv2d(3, widths[0], *stem, bias=False), nn.BatchNorm2d(widths[0])
        self.pool = nn.MaxPool2d(3, 2, 1) if imagenet_stem else nn.Identity()
        layers, width = [], widths[0]
        for stage, wider in enumerate(widths):
            for i in range(blocks):
                layers.append(Block(width, wider, 2 if stage and not i else 1, pads))
                width = wider
        self.blocks, self.head = nn.Sequential(*layers), nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.blocks(self.pool(F.relu(self.bn1(self.conv1(x))))).mean((2, 3)))


class Inverted(nn.Module):
    """An inverted bottleneck of EfficientNet-Lite: expand, depthwise, project."""

    def __init__(self, width_in, width, expand, kernel, stride):
        super().__init__()
        inner, layers = width_in * expand, []
        if expand > 1:
            layers += [nn.Conv2d(width_in, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()]
        layers += [nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()]
        layers += [nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width)]
        self.layers, self.adds = nn.Sequential(*layers), stride == 1 and width_in == width

    def forward(self, x):
        y = self.layers(x)
        return x + y if self.adds else y


def efficientnet_lite0():
    stages = [(16, 1, 3, 1, 1), (24, 6, 3, 2, 2), (40, 6, 5, 2, 2), (80, 6, 3, 2, 3), (112, 6, 5, 1, 3), (192, 6, 5, 2, 4), (320, 6, 3, 1, 1)]
    layers, width = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()], 32
    for wider, expand, kernel, stride, repeats in stages:
        for i in range(repeats):
            layers.append(Inverted(width, wider, expand, kernel, stride if i == 0 else 1))
            width = wider
    layers += [nn.Conv2d(width, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 10)]
    return nn.Sequential(*layers)


class Layer(nn.Module):
    """A transformer layer, normalised first."""

    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.qkv, self.out = nn.LayerNorm(width, 1e-6), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm2, self.up, self.down = nn.LayerNorm(width, 1e-6), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.heads = heads

    def forward(self, x):
        n, tokens, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        x = x + self.out(y.transpose(1, 2).reshape(n, tokens, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class ViT(nn.Module):
    def __init__(self, width=384, depth=12, heads=6, patch=16, side=224):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.places = nn.Parameter(torch.randn(1, (side // patch) ** 2 + 1, width) * 0.02)
        self.layers, self.norm = nn.Sequential(*[Layer(width, heads) for _ in range(depth)]), nn.LayerNorm(width, 1e-6)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.norm(self.layers(x))[:, 0])


# Name -> network, side in pixels, batch.
NETWORKS = {
    "resnet20-32": (lambda: ResNet([16, 32, 64], 3, False, True), 32, 128),
    "resnet18-32": (lambda: ResNet([64, 128, 256, 512], 2, False, False), 32, 128),
    "resnet18-224": (lambda: ResNet([64, 128, 256, 512], 2, True, False), 224, 16),
    "efficientnet-lite0-224": (efficientnet_lite0, 224, 16),
    "vit-s16-224": (ViT, 224, 16),
}


def export(name, path):
    make, side, _ = NETWORKS[name]
    torch.manual_seed(0)
    example = torch.randn(2, 3, side, side)
    axes = {"input": {0: "n"}, "logits": {0: "n"}}
    # In training mode, or PyTorch folds the batch norms into the convolutions and there is nothing left to fine-tune.
    torch.onnx.export(
        make().train(), example, path, input_names=["input"], output_names=["logits"], dynamic_axes=axes, opset_version=17, dynamo=False,
        do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
    )  # fmt: skip
    import onnx

    model = onnx.load(path)
    for node in model.graph.node:  # An evaluated batch norm has one output.
        if node.op_type == "BatchNormalization":
            del node.output[1:]
            for attribute in [a for a in node.attribute if a.name == "training_mode"]:
                node.attribute.remove(attribute)
    onnx.save(model, path)


if __name__ == "__main__":
    for name in sys.argv[2:] or NETWORKS:
        export(name, f"{sys.argv[1]}/{name}.onnx")
