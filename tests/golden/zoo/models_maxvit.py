"""MaxViT, MaxxViT and CoAtNet."""

from make import Case, timm, torchvision

WIDE = dict(stem_width=(4, 8), transformer_dim_head=4, transformer_expand_ratio=2.0, conv_expand_ratio=2.0)
MAX = dict(embed_dim=(8, 16), depths=(1, 2), block_type=("M", "M"), img_size=32, transformer_window_size=(4, 4), transformer_grid_size=(2, 4), **WIDE)
COAT = dict(embed_dim=(8, 16, 16), depths=(1, 2, 2), block_type=("C", "T", "T"), img_size=32, **WIDE)


def headless():
    """What is left without the classifier ends in an activation."""
    import timm as library

    return library.create_model("maxvit_tiny_tf_224", pretrained=False, num_classes=0, **(MAX | dict(head_hidden_size=8)))


def maxvit_t():
    import torchvision as library

    return library.models.MaxVit(
        input_size=(32, 32), stem_channels=8, partition_size=2, block_channels=[8, 16], block_layers=[1, 1], head_dim=4, stochastic_depth_prob=0.2,
        mlp_ratio=2, expansion_ratio=2, num_classes=5,
    )


MODELS = {
    "timm-maxvit-tf": timm("maxvit_tiny_tf_224", 32, gradients=True, **(MAX | dict(head_hidden_size=8))),
    "timm-maxvit-headless": Case(headless, 32, args=MAX | dict(head_hidden_size=8)),
    "timm-maxvit-rw": timm("maxvit_tiny_rw_224", (32, 64), **(MAX | dict(img_size=(32, 64)))),
    "timm-maxvit-rmlp": timm("maxvit_rmlp_small_rw_224", 32, gradients=True, **(MAX | dict(transformer_rel_pos_dim=8))),
    "timm-maxvit-parallel": timm(
        "maxvit_tiny_pm_256", 32, **(MAX | dict(block_type=("PM", "PM"), transformer_window_size=(2, 2), transformer_grid_size=(2, 2)))
    ),
    "timm-maxxvit": timm("maxxvit_rmlp_nano_rw_256", 32, **(MAX | dict(transformer_rel_pos_dim=8))),
    "timm-maxxvitv2": timm("maxxvitv2_nano_rw_256", 32, **MAX),
    "timm-coatnet-rw": timm("coatnet_0_rw_224", (32, 64), gradients=True, **(COAT | dict(img_size=(32, 64)))),
    "timm-coatnet-pico": timm("coatnet_pico_rw_224", 32, **COAT),
    "timm-coatnet": timm("coatnet_0_224", 32, **(COAT | dict(head_hidden_size=8))),
    "timm-coatnet-bn": timm("coatnet_bn_0_rw_224", 32, **COAT),
    "timm-coatnet-rmlp": timm("coatnet_rmlp_1_rw_224", 32, **(COAT | dict(transformer_rel_pos_dim=8, global_pool="max"))),
    "timm-coatnet-cc": timm("coatnet_nano_cc_224", 32, **(COAT | dict(block_type=("C", ("C", "T"), "T")))),
    "timm-coatnext": timm("coatnext_nano_rw_224", 32, **COAT),
    "tv-maxvit": torchvision("maxvit_t", maxvit_t, 32, gradients=True),
}
