"""Networks of inverted residuals of the three libraries. The depths follow from the names, so the widths are what is made small."""

import contextlib
import importlib

import torch
from make import Case, timm, torchvision, transformers


@contextlib.contextmanager
def replaced(module, **others):
    kept = {name: getattr(module, name) for name in others}
    for name, other in others.items():
        setattr(module, name, other)
    try:
        yield
    finally:
        for name, own in kept.items():
            setattr(module, name, own)


def narrow(name, module="efficientnet", least=4, divided=24, size=32, gradients=False, **args):
    """A network of timm's EfficientNet builder of a fraction of its width."""
    case = timm(name, size, gradients, **args)
    library = importlib.import_module(f"timm.models.{module}")
    wide = library.build_model_with_cfg

    def channels(channels, *_, **__):
        return max(least, int(channels / divided) // least * least)

    def build(*given, **fields):
        return wide(*given, **{**fields, "num_features": 16})

    def attention(*given, **fields):
        return blocks_attention(*given, **{**fields, "key_dim": 8, "value_dim": 8})

    blocks = importlib.import_module("timm.models._efficientnet_blocks")
    blocks_attention = blocks.MultiQueryAttention2d

    def make(wide=case.make):
        with replaced(library, round_channels=channels, build_model_with_cfg=build), replaced(blocks, MultiQueryAttention2d=attention):
            return wide()

    case.make = make
    return case


def ghost(name, size=32, gradients=False):
    case = timm(name, size, gradients)
    library = importlib.import_module("timm.models.ghostnet")

    def make(wide=case.make):
        with replaced(library, make_divisible=lambda width, *_: max(4, int(width / 64) // 4 * 4)):
            model = wide()
        # The depth follows from the tensors.
        stages = list(model.blocks)
        last = stages[-1][0]
        last.conv = torch.nn.Conv2d(stages[4][-1].ghost2.out_chs, last.conv.out_channels, 1, bias=False)
        model.blocks = torch.nn.Sequential(*stages[:5], stages[-1])
        model.conv_head = torch.nn.Conv2d(model.conv_head.in_channels, 16, 1)
        model.classifier = torch.nn.Linear(16, 5)
        return model

    case.make = make
    return case


def mobilenet_v2():
    from torchvision.models import MobileNetV2

    model = MobileNetV2(num_classes=5, width_mult=0.05, round_nearest=4)
    conv, norm, _ = model.features[18]
    model.features[18][0] = torch.nn.Conv2d(conv.in_channels, 16, 1, bias=False)
    model.features[18][1] = torch.nn.BatchNorm2d(16)
    model.classifier[1] = torch.nn.Linear(16, 5)
    return model


def mobilenet_v3():
    from torchvision.models import mobilenetv3

    settings, last = mobilenetv3._mobilenet_v3_conf("mobilenet_v3_small", width_mult=0.02)
    return mobilenetv3.MobileNetV3(settings, 16, num_classes=5)


def mnasnet():
    from torchvision.models import MNASNet

    model = MNASNet(0.01, num_classes=5)
    model.layers[14] = torch.nn.Conv2d(model.layers[14].in_channels, 16, 1, bias=False)
    model.layers[15] = torch.nn.BatchNorm2d(16)
    model.classifier[1] = torch.nn.Linear(16, 5)
    return model


def efficientnet():
    from torchvision.models import efficientnet as library

    settings, last = library._efficientnet_conf("efficientnet_b0", width_mult=0.02, depth_mult=1.0)
    return library.EfficientNet(settings, 0.2, num_classes=5, last_channel=16)


MODELS = {
    "timm-efficientnet": narrow("test_efficientnet", least=8, divided=8, size=64, gradients=True),
    "timm-efficientnet-gn": narrow("test_efficientnet_gn", least=8, divided=4, size=64),
    "timm-efficientnet-tf": narrow("tf_efficientnet_b0", size=35),
    "timm-mobilenetv1": narrow("mobilenetv1_100h", size=33),
    "timm-mobilenetv3-tf": narrow("tf_mobilenetv3_small_075", "mobilenetv3"),
    "timm-mobilenetv4": narrow("mobilenetv4_conv_small", "mobilenetv3"),
    "timm-efficientnet-blur": narrow("efficientnet_blur_b0"),
    "timm-mobilenetv4-hybrid": narrow("mobilenetv4_hybrid_medium_075", "mobilenetv3", divided=100, size=64),
    "timm-mixnet": narrow("mixnet_s", divided=40),
    "timm-rexnet": timm("rexnet_100", 32, gradients=True, width_mult=0.02, depth_mult=0.5, initial_chs=4, final_chs=16),
    "timm-ghostnet": ghost("ghostnet_050", 48, gradients=True),
    "timm-ghostnetv2": ghost("ghostnetv2_100", 64),
    "timm-ghostnetv3": ghost("ghostnetv3_050", 64),
    "torchvision-mobilenet-v2": torchvision("mobilenet_v2", mobilenet_v2),
    "torchvision-mobilenet-v3": torchvision("mobilenet_v3_small", mobilenet_v3, gradients=True),
    "torchvision-mnasnet": torchvision("mnasnet1_0", mnasnet),
    "torchvision-efficientnet": torchvision("efficientnet_b0", efficientnet),
    "transformers-mobilenet-v1": transformers(
        "MobileNetV1ForImageClassification", "MobileNetV1Config", 35, depth_multiplier=0.02, num_labels=5, gradients=True
    ),
    "transformers-mobilenet-v2": transformers(
        "MobileNetV2ForImageClassification",
        "MobileNetV2Config",
        33,
        depth_multiplier=0.04,
        finegrained_output=False,
        expand_ratio=2.0,
        output_stride=16,
        num_labels=5,
    ),
    "transformers-efficientnet": transformers(
        "EfficientNetForImageClassification",
        "EfficientNetConfig",
        35,
        width_coefficient=0.02,
        depth_coefficient=1.0,
        hidden_dim=24,
        in_channels=[8, 8, 16],
        out_channels=[8, 16, 16],
        kernel_sizes=[3, 5, 3],
        strides=[1, 2, 2],
        num_block_repeats=[1, 2, 1],
        expand_ratios=[1, 2, 2],
        depthwise_padding=[1],
        num_labels=5,
        gradients=True,
    ),
}
