"""Older convolutional networks, made narrow: each layer gets a part of its channels."""

import math

import torch
from make import Case
from torch import nn


def narrow(model, size, by, apart=0.5):
    """The same network with `by` times fewer channels, found by sending images through it. The more
    of a filter's mean is taken off it (`apart`), the more its answers differ from place to place."""
    numbers = torch.Generator().manual_seed(1)

    def fill(shape, scale):
        return nn.Parameter(torch.randn(shape, generator=numbers) * scale)

    def fit(name):
        def hook(module, inputs):
            entering = inputs[0].shape[1]
            if isinstance(module, nn.Conv2d):
                out, _, *kernel = module.weight.shape
                depthwise = module.groups > 1 and module.groups == module.in_channels == out
                # What is added to a map has as many channels as the map.
                out = entering if depthwise else getattr(module, "gives", max(2, out // by))
                module.groups = entering if depthwise else 2 if module.groups > 1 else 1
                module.in_channels, module.out_channels = entering, out
                per_group = entering // module.groups
                module.weight = fill((out, per_group, *kernel), 1.4 / math.sqrt(per_group * kernel[0] * kernel[1]))
                if per_group * kernel[0] * kernel[1] > 1:
                    # Of what is positive all over, differences above all.
                    module.weight.data.sub_(apart * module.weight.data.mean((1, 2, 3), keepdim=True))
                if module.bias is not None:
                    module.bias = fill((out,), 0.1)
            elif isinstance(module, nn.BatchNorm2d):
                module.num_features = entering
                module.weight, module.bias = nn.Parameter(torch.ones(entering)), nn.Parameter(torch.zeros(entering))
                module.running_mean, module.running_var = torch.zeros(entering), torch.ones(entering)
            else:
                out = 5 if name in ("fc", "classifier", "head", "head.fc", "last_linear", "classif", "classifier.6") else 12
                module.weight, module.bias = fill((out, entering), 1 / math.sqrt(entering)), fill((out,), 0.1)

        return hook

    def spread(module, _, found):
        # Channels that differ from place to place and from image to image: behind those that do not, nothing is compared.
        if found.shape[2] * found.shape[3] == 1:
            return found
        scale = found.std((0, 2, 3)).clamp_min(0.2)
        module.weight.div_(scale[:, None, None, None])
        if module.bias is not None:
            module.bias.copy_(-(found - module.bias[:, None, None]).mean((0, 2, 3)) / scale)
            return (found - found.mean((0, 2, 3), keepdim=True)) / scale[:, None, None]
        return found / scale[:, None, None]

    for module in model.modules():
        # Where a network itself counts channels.
        if hasattr(module, "num_1x1_c"):
            module.num_1x1_c //= by
        if hasattr(module, "filt"):
            module.channels, module.filt = None, module.filt[:1]
        if hasattr(module, "conv2d"):
            module.register_forward_pre_hook(lambda block, inputs: setattr(block.conv2d, "gives", inputs[0].shape[1]))
        for name in ("repeat", "repeat_1", "repeat_2"):
            if hasattr(module, name):
                setattr(module, name, getattr(module, name)[:2])
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, (nn.Conv2d, nn.BatchNorm2d, nn.Linear))]
    hooks = [module.register_forward_pre_hook(fit(name)) for name, module in layers]
    hooks += [module.register_forward_hook(spread) for _, module in layers if isinstance(module, nn.Conv2d)]
    model.eval()
    with torch.no_grad():
        model(torch.randn(4, 3, size, size, generator=numbers))
    for hook in hooks:
        hook.remove()
    return model


def torchvision(arch, size, by, gradients=False, apart=0.5, **args):
    """A network of torchvision, made narrow."""

    def make():
        import torchvision as library

        if arch.startswith("densenet"):
            model = library.models.DenseNet(32, (2, 1, 2, 1), 64)
        else:
            model = getattr(library.models, arch)(weights=None, **args)
        return narrow(model, size, by, apart)

    return Case(make, size, arch=f"torchvision/{arch}", gradients=gradients)


def timm(arch, size, by, gradients=False, apart=0.5, **args):
    """A network of timm, made narrow: what config.json says of it is its name and what it was given."""

    def make():
        import timm as library

        model = library.create_model(arch, pretrained=False, num_classes=5, **args)
        narrow(model, size, by, apart)
        # Written without its `pretrained_cfg`, as `make.py` writes networks of no library.
        model.pretrained_cfg = None
        return model

    said = {"architecture": arch, "num_classes": 5, "model_args": args}
    features = lambda model, x: model.forward_head(model.forward_features(x), pre_logits=True)  # noqa: E731
    return Case(make, size, config=said, features=features, gradients=gradients)


MODELS = {
    "torchvision-alexnet": torchvision("alexnet", 80, 32, gradients=True),
    "torchvision-vgg11": torchvision("vgg11", 64, 32, gradients=True),
    "timm-vgg11_bn": timm("vgg11_bn", 64, 128, gradients=True),
    "torchvision-squeezenet1_0": torchvision("squeezenet1_0", 48, 16),
    "torchvision-squeezenet1_1": torchvision("squeezenet1_1", 48, 16, gradients=True),
    "torchvision-densenet": torchvision("densenet121", 48, 16, gradients=True),
    "timm-densenetblur121d": timm("densenetblur121d", 48, 16, gradients=True, apart=0.7, block_config=(1, 2, 1, 1)),
    "torchvision-googlenet": torchvision("googlenet", 50, 64, gradients=True, init_weights=False, aux_logits=False),
    "torchvision-inception_v3": torchvision("inception_v3", 80, 96, gradients=True, apart=0.7, init_weights=False, aux_logits=False),
    "timm-inception_v3": timm("inception_v3", 80, 96, act_layer="silu", global_pool="max"),
    "torchvision-shufflenet_v2": torchvision("shufflenet_v2_x0_5", 48, 8, gradients=True),
    "timm-inception_v4": timm("inception_v4", 80, 64),
    "timm-inception_resnet_v2": timm("inception_resnet_v2", 80, 96, gradients=True),
    "timm-legacy_xception": timm("legacy_xception", 64, 96, gradients=True),
    "timm-xception41": timm("xception41", 48, 96, gradients=True),
    "timm-xception71": timm("xception71", 48, 96),
    "timm-xception41p": timm("xception41p", 48, 96),
    "timm-dla34": timm("dla34", 64, 48, gradients=True),
    "timm-dla102x": timm("dla102x", 64, 64),
    "timm-dpn68b": timm("dpn68b", 40, 32, gradients=True, k_sec=(1, 2, 1, 1), inc_sec=(64, 64, 64, 64)),
    "timm-dpn92": timm("dpn92", 40, 32, k_r=128, k_sec=(1, 2, 1, 1), inc_sec=(64, 64, 64, 64)),
    "timm-vovnet39a": timm("vovnet39a", 40, 32),
    "timm-ese_vovnet19b_dw": timm("ese_vovnet19b_dw", 40, 32, gradients=True),
    "timm-eca_vovnet39b": timm("eca_vovnet39b", 40, 48, gradients=True),
    "timm-hrnet_w18_small": timm("hrnet_w18_small", 64, 64, gradients=True),
    "timm-selecsls42b": timm("selecsls42b", 64, 64, gradients=True),
    "timm-hgnet_tiny": timm("hgnet_tiny", 40, 48),
    "timm-hgnetv2_b0": timm("hgnetv2_b0", 40, 32, gradients=True, apart=0.4),
    "timm-starnet_s1": timm("starnet_s1", 40, 8, gradients=True, depths=(1, 1, 2, 1)),
    "timm-convmixer_768_32": timm("convmixer_768_32", 35, 96),
    "timm-visformer_tiny": timm("visformer_tiny", 32, 1, gradients=True, img_size=32, depth=(1, 1, 1), embed_dim=16, init_channels=4, group=2, num_heads=2),
}
