"""SegFormer, PVT, PVTv2 and Twins: attention over a coarser map."""

from make import Case, timm, transformers

SMALL = dict(depths=[1, 1, 2], num_encoder_blocks=3, num_attention_heads=[1, 2, 4], num_labels=5)
PVT = dict(hidden_sizes=[8, 12, 16], sequence_reduction_ratios=[4, 2, 1], patch_sizes=[4, 2, 2], strides=[4, 2, 2], mlp_ratios=[2, 2, 2], image_size=32)
V2 = dict(hidden_sizes=[8, 12, 16], sr_ratios=[4, 2, 1], patch_sizes=[7, 3, 3], strides=[4, 2, 2], mlp_ratios=[2, 3, 2])
TIMM = dict(depths=(1, 2, 1), embed_dims=(8, 12, 16), num_heads=(1, 2, 4), sr_ratios=(4, 2, 1), mlp_ratios=(2.0, 2.0, 2.0))


def segmenting():
    """Without its head the encoder gives the map of its last stage."""
    import transformers as library

    fields = dict(SMALL | V2, decoder_hidden_size=8)
    network = library.SegformerForSemanticSegmentation(library.SegformerConfig(**fields))
    return network


MODELS = {
    "hf-segformer": transformers("SegformerForImageClassification", "SegformerConfig", 32, **(SMALL | V2)),
    "hf-segformer-model": transformers("SegformerModel", "SegformerConfig", (32, 64), output=lambda found: found.last_hidden_state, **(SMALL | V2)),
    "hf-segformer-segmentation": Case(segmenting, 32, output=lambda model, x: model.segformer(x).last_hidden_state),
    "hf-pvt": transformers("PvtForImageClassification", "PvtConfig", 32, gradients=True, **(SMALL | PVT)),
    "hf-pvt-model": transformers("PvtModel", "PvtConfig", 32, output=lambda found: found.last_hidden_state, hidden_act="silu", layer_norm_eps=1e-3, **(SMALL | PVT)),
    "hf-pvt-v2": transformers("PvtV2ForImageClassification", "PvtV2Config", (32, 64), gradients=True, **(SMALL | V2)),
    "hf-pvt-v2-linear": transformers(
        "PvtV2ForImageClassification", "PvtV2Config", 40, linear_attention=True, qkv_bias=False, layer_norm_eps=1e-3, **(SMALL | V2)
    ),
    "timm-pvt-v2": timm("pvt_v2_b0", (32, 64), gradients=True, **TIMM),
    "timm-pvt-v2-linear": timm("pvt_v2_b2_li", 40, **TIMM),
    "timm-pvt-v2-headless": Case(
        lambda: __import__("timm").create_model("pvt_v2_b1", pretrained=False, num_classes=0, **TIMM), 32, args=dict(TIMM)
    ),
    "timm-twins-pcpvt": timm("twins_pcpvt_small", 32, **TIMM),
    "timm-twins-svt": timm("twins_svt_small", (32, 64), gradients=True, **(TIMM | dict(depths=(2, 2, 2), wss=(7, 3, 2)))),
}
