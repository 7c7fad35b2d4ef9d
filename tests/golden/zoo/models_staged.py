"""Hierarchical networks: ConvNeXt, Swin, InceptionNeXt, MetaFormers, FocalNet, DaViT."""

from functools import partial

from timm.models.focalnet import FocalNet
from timm.models.metaformer import (
    Attention, GroupNorm1, GroupNorm1NoBias, LayerNorm2dNoBias, LayerNormNoBias, MetaFormer, SepConv,
)
from torch import nn

from make import Case, timm, torchvision, transformers

SWIN = dict(img_size=48, patch_size=4, window_size=4, embed_dim=8, depths=(2, 2), num_heads=(1, 2))
HF_FOCALNET = dict(embed_dim=8, depths=[1, 1], focal_levels=[2, 1], focal_windows=[3, 5], mlp_ratio=2.0, num_labels=5)
HF_SWIN = dict(image_size=48, window_size=4, embed_dim=8, depths=[2, 2], num_heads=[1, 2], mlp_ratio=2.0, num_labels=5)


def convnext_torchvision():
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(8, 12, 1), CNBlockConfig(12, None, 1)], num_classes=5)


def swin_torchvision(v2):
    from torchvision.models import swin_transformer as library

    block = library.SwinTransformerBlockV2 if v2 else library.SwinTransformerBlock
    merging = library.PatchMergingV2 if v2 else library.PatchMerging
    network = partial(library.SwinTransformer, patch_size=[4, 4], embed_dim=8, depths=[2, 2], num_heads=[1, 2], window_size=[4, 4])
    return network(mlp_ratio=2.0, num_classes=5, block=block, downsample_layer=merging)


def sized(network, name, args, size=48):
    """A network of timm whose makers take no other sizes than their own."""
    config = {"architecture": name, "num_classes": 5, "model_args": args, "pretrained_cfg": {}}
    return Case(lambda: network(num_classes=5, **args), size, gradients=True, config=config)


def metaformer(name, head_dim=32, **rest):
    args = dict(depths=[1, 1, 1, 1], dims=[8, 8, 12, 12] if head_dim == 32 else [8, 8, 12, 16])
    own = {} if head_dim == 32 else dict(head_dim=head_dim)
    return sized(partial(MetaFormer, **rest), name, {**args, **own}, 40)


def focalnet(name, **rest):
    args = dict(depths=[1, 1], embed_dim=8, mlp_ratio=2.0, focal_windows=[3, 5], **rest)
    return sized(FocalNet, name, args)


MODELS = {
    "timm-convnext": timm("convnext_tiny", 48, gradients=True, depths=(1, 1, 1, 1), dims=(8, 8, 12, 16)),
    "timm-convnextv2": timm("convnextv2_atto", 48, gradients=True, depths=(1, 1, 1, 1), dims=(8, 8, 12, 16)),
    "timm-convnext-zepto": timm("convnext_zepto_rms_ols", 48, depths=(1, 1, 1, 1), dims=(8, 8, 12, 16)),
    "timm-convnext-rms": timm("convnext_atto_rms", 48, depths=(1, 1, 1, 1), dims=(8, 8, 12, 16)),
    "timm-convnext-tiered": timm("convnext_atto_ols", 48, depths=(1, 1, 1, 1), dims=(16, 8, 12, 16), head_hidden_size=12),
    "timm-convnext-hnf": timm("convnext_tiny_hnf", 48, depths=(1, 1, 1, 1), dims=(8, 8, 12, 16), kernel_sizes=(7, 5, 3, 3), act_layer="silu"),
    "hf-convnext": transformers(
        "ConvNextForImageClassification", "ConvNextConfig", 48, gradients=True, depths=[1, 1], hidden_sizes=[8, 12], num_stages=2, num_labels=5
    ),
    "hf-convnextv2": transformers(
        "ConvNextV2ForImageClassification", "ConvNextV2Config", 48, depths=[1, 1], hidden_sizes=[8, 12], num_stages=2, num_labels=5,
        hidden_act="gelu_new",
    ),
    "hf-convnext-dinov3": transformers(
        "DINOv3ConvNextModel", "DINOv3ConvNextConfig", 48, lambda found: found.pooler_output, depths=[1, 1], hidden_sizes=[8, 12]
    ),
    "tv-convnext": torchvision("convnext_tiny", convnext_torchvision, 48, gradients=True),
    "timm-swin": timm("swin_tiny_patch4_window7_224", 48, gradients=True, mlp_ratio=2.0, **SWIN),
    # 52 leaves maps of 13 and 7 places to be filled up.
    "timm-swin-filled": timm("swin_s3_tiny_224", 52, **{**SWIN, "img_size": 52, "window_size": (4, 5)}),
    "timm-swinv2": timm("swinv2_tiny_window8_256", (48, 52), gradients=True, mlp_ratio=2.0, **{**SWIN, "img_size": (48, 52)}),
    "timm-swinv2-before": timm("swinv2_base_window12to16_192to256", 48, mlp_ratio=2.0, pretrained_window_sizes=(6, 3), **SWIN),
    "hf-swin": transformers("SwinForImageClassification", "SwinConfig", 52, use_absolute_embeddings=True, **{**HF_SWIN, "image_size": 52}),
    "hf-swin-base": transformers("SwinModel", "SwinConfig", 46, lambda found: found.pooler_output, **HF_SWIN),
    "hf-swinv2": transformers("Swinv2ForImageClassification", "Swinv2Config", 44, gradients=True, **HF_SWIN),
    "tv-swin": torchvision("swin_t", partial(swin_torchvision, False), 52, gradients=True),
    "tv-swinv2": torchvision("swin_v2_t", partial(swin_torchvision, True), 52, gradients=True),
    "timm-inception-next": timm("inception_next_tiny", 48, gradients=True, depths=(1, 1, 1, 1), dims=(8, 16, 16, 24), mlp_ratios=2),
    "timm-poolformer": metaformer(
        "poolformer_s12", downsample_norm=None, mlp_act=nn.GELU, mlp_bias=True, norm_layers=GroupNorm1,
        layer_scale_init_values=1e-5, res_scale_init_values=None, use_mlp_head=False,
    ),
    "timm-poolformerv2": metaformer("poolformerv2_s12", norm_layers=GroupNorm1NoBias, use_mlp_head=False),
    "timm-convformer": metaformer("convformer_s18", token_mixers=SepConv, norm_layers=LayerNorm2dNoBias),
    "timm-caformer": metaformer(
        "caformer_s18", token_mixers=[SepConv, SepConv, Attention, Attention], norm_layers=[LayerNorm2dNoBias] * 2 + [LayerNormNoBias] * 2,
        head_dim=4,
    ),
    "hf-poolformer": transformers(
        "PoolFormerForImageClassification", "PoolFormerConfig", 48, gradients=True, depths=[1, 1], hidden_sizes=[8, 12], mlp_ratio=2.0,
        num_encoder_blocks=2, patch_sizes=[7, 3], strides=[4, 2], padding=[2, 1], num_labels=5,
    ),
    "timm-focalnet": focalnet("focalnet_tiny_srf", focal_levels=[2, 1]),
    "timm-focalnet-post": focalnet(
        "focalnet_huge_fl3", focal_levels=[1, 1], use_post_norm=True, use_post_norm_in_modulation=True, use_overlap_down=True,
        layerscale_value=1e-4, normalize_modulator=True, head_hidden_size=12,
    ),
    "hf-focalnet": transformers("FocalNetForImageClassification", "FocalNetConfig", 46, gradients=True, **HF_FOCALNET),
    "hf-focalnet-post": transformers(
        "FocalNetModel", "FocalNetConfig", 46, lambda found: found.pooler_output, use_conv_embed=True, use_layerscale=True,
        use_post_layernorm=True, use_post_layernorm_in_modulation=True, normalize_modulator=True, hidden_act="relu", **HF_FOCALNET,
    ),
    "timm-davit": timm("davit_tiny", 44, gradients=True, depths=(1, 1), embed_dims=(8, 12), num_heads=(2, 3), mlp_ratio=2, window_size=4),
    "timm-davit-florence": timm("davit_base_fl", 46, depths=(1, 1), embed_dims=(8, 12), num_heads=(2, 3), mlp_ratio=2, window_size=4),
}
