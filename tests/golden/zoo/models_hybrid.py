"""Hybrids of convolution and attention: MobileViT, FastViT, LeViT, EdgeNeXt, EfficientFormer, EfficientViT, TinyViT, RepViT, SwiftFormer, Next-ViT."""

import torch
from make import Case, timm, transformers


def bare(architecture, make, size, **case):
    """A network that no name of timm makes so small, with the config.json that its own would have."""
    normal = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "input_size": [3, size, size]}
    config = {"architecture": architecture, "num_classes": 5, "model_args": {}, "pretrained_cfg": normal}

    def features(model, x):
        return model.forward_head(model.forward_features(x), pre_logits=True)

    return Case(make, size, features=features, config=config, **case)


def mobilevit():
    from timm.models import mobilevit as own
    from timm.models.byobnet import ByobNet, ByoModelCfg

    mixed = [own._mobilevit_block(d=1, c=8, s=2, transformer_dim=16, transformer_depth=1, patch_size=2, br=2.0) for _ in range(2)]
    blocks = (own._inverted_residual_block(d=1, c=8, s=1, br=2.0), own._inverted_residual_block(d=2, c=8, s=2, br=2.0), *mixed)
    sizes = dict(stem_chs=8, stem_type="3x3", stem_pool="", downsample="", act_layer="silu", num_features=16)
    return ByobNet(ByoModelCfg(blocks=blocks, **sizes), num_classes=5)


def nextvit():
    from timm.models import nextvit as own

    class Small(own.NextViT):
        def __init__(self):
            torch.nn.Module.__init__(self)
            self.grad_checkpointing = False
            relu, norm = torch.nn.ReLU, torch.nn.BatchNorm2d
            widths = [3, 8, 4, 8, 8]
            strides = [2, 1, 1, 2]
            self.stem = torch.nn.Sequential(*[
                own.ConvNormAct(widths[i], widths[i + 1], 3, strides[i], norm_layer=norm, act_layer=relu) for i in range(4)
            ])
            convolution, attention = own.NextConvBlock, own.NextTransformerBlock
            kinds = [([8], [convolution]), ([8, 40], [convolution, attention]), ([8], [convolution]), ([8], [convolution])]
            stages, width = [], 8
            for (widths, blocks), stride, ratio in zip(kinds, (1, 2, 2, 2), (8, 2, 2, 1)):
                stages.append(own.NextStage(width, widths, blocks, stride, ratio, 0.5, head_dim=8, norm_layer=norm, act_layer=relu))
                width = widths[-1]
            self.stages = torch.nn.Sequential(*stages)
            self.norm = norm(width)
            self.head = own.ClassifierHead(width, 5, pool_type="avg")

    return Small()


def behind_norm(case):
    """What enters the linear layer of the only head is behind its norm."""
    before = case.features
    case.features = lambda model, x: model.head.bn(before(model, x))
    return case


def awake(case, gain=1.0):
    """Norms that begin with factors of 0 leave nearly nothing of what a block computes, and no gradient that could be compared; nor do tokens
    that are nearly alike: `gain` sets those of LeViT apart."""
    asleep = case.make

    def make():
        model = asleep()
        for name, tensor in model.named_parameters():
            if name.endswith("bn.weight") and bool((tensor == 0).all()):
                torch.nn.init.ones_(tensor)
            if name.endswith("linear.weight"):
                tensor.data.mul_(gain)
        return model

    case.make = make
    return case


# At strides of 8, 16 and 32, or twice that.
LEVIT = dict(img_size=32, embed_dim=(8, 16, 16), key_dim=4, num_heads=(2, 3, 4), depth=(1, 1, 1))
FASTVIT = dict(layers=(1, 1, 1, 1), embed_dims=(8, 8, 16, 32), mlp_ratios=(1, 1, 1, 1), cls_ratio=1.0)

MODELS = {
    # Maps of 10, 5 and 3 places: odd ones are resized.
    "timm-mobilevit": bare("mobilevit_xxs", mobilevit, 40, gradients=True),
    "timm-mobilevitv2": timm("mobilevitv2_050", 40, width_factor=0.125),
    "transformers-mobilevit": transformers(
        "MobileViTForImageClassification", "MobileViTConfig", 40, hidden_sizes=[8, 8, 8], neck_hidden_sizes=[8, 8, 8, 8, 8, 8, 16],
        num_attention_heads=2, expand_ratio=1.0, num_labels=5),
    "transformers-mobilevitv2": transformers(
        "MobileViTV2ForImageClassification", "MobileViTV2Config", 40, gradients=True, width_multiplier=0.0625, n_attn_blocks=[1, 1, 1],
        num_labels=5),
    "timm-fastvit": timm("fastvit_sa12", 32, gradients=True, **{**FASTVIT, "embed_dims": (4, 4, 8, 32)}),
    "timm-fastvit-merged": timm("fastvit_t8", 32, layers=(1, 1, 2, 1), embed_dims=(8, 8, 16, 16), mlp_ratios=(2, 2, 2, 2), inference_mode=True),
    "timm-fastvit-mci0": timm("fastvit_mci0", 32, **FASTVIT),
    "timm-fastvit-mci3": timm("fastvit_mci3", 32, **{**FASTVIT, "layers": (1,) * 5, "embed_dims": (4, 4, 8, 32, 32), "mlp_ratios": (1,) * 5}),
    "timm-levit": awake(timm("levit_384_s8", 40, gradients=True, **{**LEVIT, "img_size": 40}), gain=2.0),
    "timm-levit-conv": awake(timm("levit_conv_128s", 32, **LEVIT)),
    "timm-levit-one-head": behind_norm(awake(timm("levit_256d", 32, **LEVIT))),
    "transformers-levit": transformers(
        "LevitForImageClassificationWithTeacher", "LevitConfig", 32, image_size=32, hidden_sizes=[8, 16, 16], key_dim=[4, 4, 4],
        num_attention_heads=[2, 3, 4], depths=[1, 1, 1], num_labels=5),
    "timm-edgenext": timm("edgenext_xx_small", 32, gradients=True, dims=(4, 8, 10, 12), depths=(1, 1, 2, 1), heads=(2, 2, 2, 2)),
    "timm-edgenext-rw": timm("edgenext_small_rw", 32, dims=(4, 8, 8, 16), depths=(1, 2, 2, 2), heads=(2, 2, 2, 2)),
    "timm-efficientformer": timm(
        "efficientformer_l1", 49, gradients=True, embed_dims=(4, 4, 4, 4), depths=(1, 1, 1, 1), downsamples=(False, True, False, False)),
    "timm-efficientvit": timm(
        "efficientvit_b0", 32, gradients=True, widths=(4, 4, 4, 8, 8), depths=(1, 2, 1, 1, 1), head_dim=4, head_widths=(12, 16)),
    "timm-efficientvit-large": timm("efficientvit_l1", 32, widths=(4, 4, 4, 8, 8), depths=(1, 1, 1, 1, 1), head_dim=8, head_widths=(24, 16)),
    # Windows of 2 on maps of 3.
    "timm-efficientvit-msra": behind_norm(awake(timm(
        "efficientvit_m0", 48, gradients=True, img_size=48, embed_dim=[8, 8, 8], key_dim=[2, 2, 2], depth=[1, 1, 1], num_heads=[2, 2, 2],
        window_size=[2, 2, 2], kernels=[5, 3]))),
    # Windows of 3 on maps of 5, and of 2 on one of 3.
    "timm-tiny-vit": awake(timm(
        "tiny_vit_5m_224", 40, gradients=True, embed_dims=[8, 8, 8, 8], depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4], window_sizes=[3, 3, 2, 2])),
    "timm-repvit": awake(timm("repvit_m1", 32, gradients=True, embed_dim=(4, 8, 8, 8), depth=(1, 2, 1, 1))),
    "timm-repvit-09": timm("repvit_m0_9", 32, embed_dim=(4, 8, 8, 16), depth=(1, 2, 1, 1)),
    "timm-swiftformer": timm("swiftformer_xs", 40, gradients=True, embed_dims=[4, 4, 8, 8], layers=[2, 1, 1, 1]),
    "transformers-swiftformer": transformers(
        "SwiftFormerForImageClassification", "SwiftFormerConfig", 40, embed_dims=[4, 4, 8, 8], depths=[2, 1, 1, 1], num_labels=5),
    "timm-nextvit": bare("nextvit_small", nextvit, 40, gradients=True),
}
# What tensors do not show of the small Next-ViT.
MODELS["timm-nextvit"].config["model_args"] = {"sr_ratios": [8, 2, 2, 1]}
