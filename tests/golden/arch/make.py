"""Small ResNets and VGGs of torchvision, timm and Hugging Face Transformers, with what they answer.

    pip install torch torchvision timm transformers safetensors
    python make.py

Writes, beside itself, NAME.safetensors (weights, as the libraries name them) and NAME.io.safetensors (`input`, `output`).
Written with torch 2.15.0, torchvision 0.29.2, timm 1.0.31 and transformers 5.23.0.
"""

import pathlib

import torch
from safetensors.torch import save_file
from timm.layers import ClassifierHead
from timm.models.vgg import VGG as TimmVGG
from timm.models.vgg import ConvMlp
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.vgg import VGG, make_layers
from transformers import ResNetConfig, ResNetForImageClassification

HERE = pathlib.Path(__file__).parent


def randomise(module, generator):
    """Batch norms of a fresh network are the identity, which would hide mistakes."""
    for name, tensor in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(0.5 + noise.abs())
        elif tensor.dim() == 1:
            tensor.copy_(0.3 * noise + (1.0 if name.endswith("weight") else 0.0))
        else:
            fan_in = tensor[0].numel()
            tensor.copy_(noise * (2.0 / fan_in) ** 0.5)


@torch.no_grad()
def save(name, model, size, answer=lambda x: x, notes=None):
    generator = torch.Generator().manual_seed(0)
    randomise(model, generator)
    model.eval()
    x = torch.randn(2, 3, *size, generator=generator)
    y = answer(model(x))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, HERE / f"{name}.safetensors")
    save_file({"input": x, "output": y.contiguous()}, HERE / f"{name}.io.safetensors", metadata=notes)


def torchvision_resnet(block, **options):
    """torchvision fixes the stages at 64 to 512 channels; narrower ones keep the files small."""

    class Narrow(ResNet):
        def __init__(self):
            super().__init__(block, [1, 1, 1, 1], num_classes=5, **options)

        def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
            return super()._make_layer(block, planes // 16, blocks, stride, dilate)

    narrow = Narrow()
    narrow.fc = torch.nn.Linear(512 // 16 * block.expansion, 5)
    return narrow


def stem(model, width):
    """The stem's width follows `inplanes`, which has to be small before the first stage is made."""
    model.conv1 = torch.nn.Conv2d(3, width, 7, 2, 3, bias=False)
    model.bn1 = torch.nn.BatchNorm2d(width)
    first = model.layer1[0]
    first.conv1 = torch.nn.Conv2d(width, first.conv1.out_channels, first.conv1.kernel_size, 1, first.conv1.padding, bias=False)
    out = first.bn3.num_features if hasattr(first, "bn3") else first.bn2.num_features
    first.downsample = None if width == out else torch.nn.Sequential(
        torch.nn.Conv2d(width, out, 1, bias=False), torch.nn.BatchNorm2d(out)
    )
    return model


# Three poolings, so that 56x56 pixels leave the 7x7 of a VGG.
VGG_LAYERS = [4, "M", 6, 6, "M", 8, "M"]


def torchvision_vgg(norms):
    model = VGG(make_layers(VGG_LAYERS, batch_norm=norms), num_classes=5, init_weights=False)
    model.classifier[0], model.classifier[3] = torch.nn.Linear(8 * 49, 12), torch.nn.Linear(12, 10)
    model.classifier[6] = torch.nn.Linear(10, 5)
    return model


def timm_vgg():
    model = TimmVGG(VGG_LAYERS, num_classes=5, norm_layer=torch.nn.BatchNorm2d)
    model.pre_logits = ConvMlp(8, 12, 7)
    model.head = ClassifierHead(12, 5)
    return model


if __name__ == "__main__":
    save("torchvision-vgg", torchvision_vgg(False), (56, 56))
    save("torchvision-vgg-norms", torchvision_vgg(True), (56, 56))
    save("timm-vgg", timm_vgg(), (56, 56))
    save("torchvision-basic", stem(torchvision_resnet(BasicBlock), 4), (33, 48))
    save("torchvision-grouped", stem(torchvision_resnet(Bottleneck, groups=2, width_per_group=32), 8), (48, 33))
    for kind in ["basic", "bottleneck"]:
        config = ResNetConfig(embedding_size=4, hidden_sizes=[8, 16, 24], depths=[1, 2, 1], layer_type=kind, num_labels=5)
        save(f"hugging-face-{kind}", ResNetForImageClassification(config), (48, 48), lambda out: out.logits)
    # Same weights, another activation: Transformers keeps ReLU between the convolutions of a block.
    for kind, act in [("basic", "silu"), ("bottleneck", "gelu")]:
        shape = dict(embedding_size=4, hidden_sizes=[8, 16, 24], depths=[1, 2, 1], layer_type=kind, hidden_act=act)
        model = ResNetForImageClassification(ResNetConfig(**shape, num_labels=5))
        save(f"hugging-face-{kind}-{act}", model, (48, 48), lambda out: out.logits, {"config": model.config.to_json_string(use_diff=False)})
        (HERE / f"hugging-face-{kind}-{act}.safetensors").unlink()
