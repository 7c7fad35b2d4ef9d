"""ResNet's relatives: attention, smoothing, split blocks, norms first, no norms, blocks summed of several convolutions."""

from functools import partial

from make import Case, timm, torchvision, transformers

ONE = dict(layers=(1, 1, 1, 1))
TINY = dict(ONE, channels=(8, 8, 16, 16))
REGNET = dict(depth=5, w0=8, wa=8.0, wm=1.6, group_size=8, stem_width=8)


def of_timm(architecture, make, size=32, gradients=False, **args):
    """A network of timm of fewer channels than its name can have by arguments."""
    shown = dict(input_size=(3, size, size), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic", crop_pct=0.9)
    config = dict(architecture=architecture, num_classes=5, global_pool="avg", model_args=args, pretrained_cfg=shown)

    def features(model, x):
        return model.forward_head(model.forward_features(x), pre_logits=True)

    return Case(make, size, features=features, gradients=gradients, config=config)


def byobnet(**fields):
    from timm.models.byobnet import ByobNet, ByoBlockCfg, ByoModelCfg

    blocks = tuple(ByoBlockCfg(**block) for block in fields.pop("blocks"))
    return ByobNet(ByoModelCfg(blocks=blocks, **fields), num_classes=5)


def bit():
    from timm.layers import StdConv2d
    from timm.models.resnetv2 import ResNetV2

    return ResNetV2(layers=(1,), channels=(128,), stem_chs=32, stem_type="fixed", conv_layer=partial(StdConv2d, eps=1e-8), num_classes=5)


def cspnet(stem, stages, **fields):
    from timm.models.cspnet import CspModelCfg, CspNet, CspStagesCfg, CspStemCfg

    return CspNet(CspModelCfg(stem=CspStemCfg(**stem), stages=CspStagesCfg(**stages), **fields), num_classes=5)


def regnet():
    from torchvision.models.regnet import BlockParams, RegNet

    return RegNet(BlockParams.from_init_params(depth=5, w_0=8, w_a=8, w_m=1.6, group_width=8, se_ratio=0.25), num_classes=5, stem_width=8)


REP = [dict(type="rep", d=1, c=8, gs=0), dict(type="rep", d=2, c=8, gs=0), dict(type="rep", d=1, c=16, gs=0)]
ONES = [dict(type="one", d=1, c=8, gs=1, block_kwargs=dict(num_conv_branches=2)), dict(type="one", d=2, c=8, gs=0, block_kwargs=dict(kernel_size=1))]
GENET = [dict(type="basic", d=2, c=8, s=2), dict(type="bottle", d=1, c=16, s=2, br=0.5)] + [dict(type="bottle", d=1, c=16, s=s, gs=1, br=2.0) for s in (2, 2, 1)]
Z = [dict(type="bottle", d=2, c=8, s=1, gs=8, br=2), dict(type="bottle", d=2, c=16, s=2, gs=8, br=2)]
CROSS = dict(depth=(1, 2), out_chs=(8, 16))

MODELS = {
    "timm-resnet-d": timm("resnet18d", 33, gradients=True, stem_width=8, **TINY),
    "timm-seresnet": timm("seresnet50", 32, **dict(ONE, channels=(8, 8, 8, 8))),
    "timm-ecaresnet-t": timm("ecaresnet26t", 32, gradients=True, stem_width=8, **dict(ONE, channels=(4, 4, 8, 8))),
    "timm-resnetblur": timm("resnetblur18", 32, **dict(ONE, channels=(8, 8, 8, 8))),
    "timm-resnetaa": timm("resnetaa50d", 64, stem_width=8, output_stride=16, **dict(ONE, channels=(4, 4, 8, 8))),
    "timm-resnetrs": timm("resnetrs50", 32, stem_width=8, **dict(ONE, channels=(4, 4, 8, 8))),
    "timm-res2net": timm("res2net50d", 32, gradients=True, stem_width=8, **dict(ONE, channels=(8, 8, 8, 8))),
    "timm-skresnet": timm("skresnet50d", 32, gradients=True, stem_width=8, **dict(ONE, channels=(8, 8, 8, 8))),
    "timm-regnety": timm("regnety_002", 33, gradients=True, **REGNET),
    "timm-regnetv": timm("regnetv_064", 33, **REGNET),
    "timm-regnetz": timm("regnetz_005", 32, **dict(REGNET, bottle_ratio=1.0, num_features=16)),
    "tv-regnet": torchvision("regnet_y_400mf", regnet, 32, gradients=True),
    "hf-regnet": transformers(
        "RegNetForImageClassification",
        "RegNetConfig",
        32,
        gradients=True,
        depths=[1, 2],
        hidden_sizes=[8, 16],
        embedding_size=8,
        groups_width=8,
        hidden_act="silu",
    ),
    "timm-resnetv2": timm("resnetv2_50t", 33, gradients=True, stem_chs=16, **dict(ONE, channels=(16, 16, 32, 32))),
    "timm-resnetv2-bit": of_timm("resnetv2_50x1_bit", bit, layers=(1,)),
    "hf-bit": transformers(
        "BitForImageClassification",
        "BitConfig",
        33,
        gradients=True,
        depths=[1, 2],
        hidden_sizes=[32, 32],
        embedding_size=8,
        num_groups=4,
        global_padding="SAME",
        embedding_dynamic_padding=True,
    ),
    "hf-bit-bottleneck": transformers(
        "BitForImageClassification", "BitConfig", 32, depths=[1, 1], hidden_sizes=[32, 32], embedding_size=8, num_groups=4, layer_type="bottleneck"
    ),
    "timm-nfnet": timm("test_nfnet", 32, gradients=True, channels=(8, 8, 16, 16), stem_chs=16, num_features=16),
    "timm-nfnet-dm": timm("dm_nfnet_f0", 33, depths=(1, 2), channels=(16, 16), stem_chs=16, group_size=8, num_features=16),
    "timm-nf-ecaresnet": timm("nf_ecaresnet26", 32, depths=(1, 2), channels=(16, 32), stem_chs=16),
    "timm-repvgg": of_timm("repvgg_b1g4", partial(byobnet, blocks=REP, stem_type="rep", stem_chs=8), gradients=True),
    "timm-mobileone": of_timm("mobileone_s0", partial(byobnet, blocks=ONES, stem_type="one", stem_chs=8, attn_layer="se")),
    "timm-gernet": of_timm("gernet_s", partial(byobnet, blocks=GENET, stem_pool=None, stem_chs=8, num_features=16), 40),
    "timm-regnetz-byob": of_timm(
        "regnetz_d8",
        partial(
            byobnet,
            blocks=Z,
            downsample="",
            stem_type="tiered",
            stem_pool="",
            stem_chs=16,
            num_features=24,
            act_layer="silu",
            attn_layer="se",
            block_kwargs=dict(bottle_in=True, linear_out=True),
        ),
    ),
    "timm-cspresnet": of_timm(
        "cspresnet50",
        partial(
            cspnet,
            dict(out_chs=8, kernel_size=7, stride=4, pool="max"),
            dict(CROSS, stride=(1, 2), expand_ratio=2.0, bottle_ratio=0.5, cross_linear=True),
        ),
        gradients=True,
    ),
    "timm-cs3sedarknet": of_timm(
        "cs3sedarknet_l",
        partial(
            cspnet,
            dict(out_chs=8, kernel_size=6, stride=2, padding=2),
            dict(CROSS, block_ratio=0.5, attn_layer="se", stage_type="cs3", block_type="dark"),
            act_layer="silu",
        ),
    ),
    "timm-darknetaa": of_timm(
        "darknetaa53", partial(cspnet, dict(out_chs=8, stride=1), dict(CROSS, bottle_ratio=0.5, avg_down=True, stage_type="dark", block_type="dark"))
    ),
}
