"""Transformers with rotary or relative positions, their relatives without attention, and those whose class token comes late."""

from make import Case, timm, transformers

DINOV3 = dict(hidden_size=16, num_attention_heads=2, intermediate_size=24, num_hidden_layers=2, image_size=32, patch_size=8)
BEIT = dict(hidden_size=16, num_attention_heads=2, intermediate_size=24, num_hidden_layers=2, image_size=32, patch_size=8, num_labels=5)
EVA = dict(embed_dim=16, depth=1, num_heads=2)


def pooler(found):
    return found.pooler_output


MIXER = dict(embed_dim=8, num_blocks=1, patch_size=8, img_size=32)


def built(module, kind, name, size, gradients=False, parts=dict, **args):
    """A network of timm whose named function takes no sizes of its own: of its class, with the `parts` that its name stands for."""
    import importlib

    import timm as library

    def make():
        found = importlib.import_module(f"timm.models.{module}")
        network = getattr(found, kind)(num_classes=5, **parts(), **args)
        network.pretrained_cfg = library.get_pretrained_cfg(name).to_dict()
        return network

    return Case(make, size, features=lambda m, x: m.forward_head(m.forward_features(x), pre_logits=True), gradients=gradients, args=args)


def gated():
    from timm.layers import GluMlp
    from torch.nn import SiLU

    return dict(mlp_layer=GluMlp, act_layer=SiLU)


def linear():
    from timm.models.mlp_mixer import Affine, ResBlock

    return dict(block_layer=ResBlock, norm_layer=Affine)


def spatial():
    from timm.layers import GatedMlp
    from timm.models.mlp_mixer import SpatialGatingBlock

    return dict(block_layer=SpatialGatingBlock, mlp_layer=GatedMlp)


MODELS = {
    "dinov3-vit-hf": transformers("DINOv3ViTModel", "DINOv3ViTConfig", (32, 48), pooler, num_register_tokens=3, **DINOV3),
    "dinov3-vit-hf-gated": transformers(
        "DINOv3ViTModel", "DINOv3ViTConfig", 32, pooler, use_gated_mlp=True, key_bias=True, hidden_act="silu", rope_theta=50.0, **DINOV3
    ),
    "beit-hf": transformers("BeitForImageClassification", "BeitConfig", 32, use_relative_position_bias=True, **BEIT),
    "beit-hf-shared": transformers(
        "BeitModel",
        "BeitConfig",
        (40, 32),
        pooler,
        use_shared_relative_position_bias=True,
        use_mean_pooling=False,
        use_mask_token=True,
        **BEIT,
    ),
    "data2vec-hf": transformers(
        "Data2VecVisionForImageClassification",
        "Data2VecVisionConfig",
        32,
        use_relative_position_bias=True,
        use_absolute_position_embeddings=True,
        layer_scale_init_value=0.0,
        **BEIT,
    ),
    "timm-dinov3": timm("vit_small_patch16_dinov3_qkvb", (32, 48), gradients=True, **EVA, patch_size=8, img_size=(32, 48)),
    "timm-eva02": timm("eva02_base_patch16_clip_224", 32, gradients=True, **EVA, patch_size=8, img_size=32),
    "timm-eva02-post-norm": timm("eva02_enormous_patch14_clip_224", 28, **EVA, mlp_ratio=2, patch_size=7, img_size=28),
    "timm-sapiens2": timm("vit_base_patch16_sapiens2", 32, **EVA | dict(num_heads=4), num_kv_heads=2, patch_size=8, img_size=32),
    "timm-perception-encoder": timm("vit_pe_core_tiny_patch16_384", 32, **EVA, patch_size=8, attn_pool_num_heads=2, img_size=32),
    "timm-rope-mixed": timm("vit_small_patch16_rope_mixed_ape_224", (32, 40), **EVA, patch_size=8, img_size=(32, 40)),
    "timm-beit": timm("beit_base_patch16_224", (32, 40), gradients=True, **EVA, patch_size=8, use_shared_rel_pos_bias=True, img_size=(32, 40)),
    "timm-samvit": timm(
        "samvit_base_patch16",
        (40, 32),
        gradients=True,
        embed_dim=8,
        depth=2,
        num_heads=2,
        patch_size=8,
        neck_chans=4,
        window_size=3,
        global_attn_indexes=(1,),
        img_size=(40, 32),
    ),
    "timm-cait": timm("cait_xxs24_224", 32, gradients=True, **EVA, patch_size=8, depth_token_only=1, img_size=32),
    "timm-xcit": timm("xcit_tiny_12_p8_224", (32, 24), gradients=True, **EVA, cls_attn_layers=1, img_size=(32, 24)),
    "timm-mixer": built("mlp_mixer", "MlpMixer", "mixer_s16_224", 32, gradients=True, **MIXER),
    "timm-gmixer": built("mlp_mixer", "MlpMixer", "gmixer_12_224", 32, parts=gated, mlp_ratio=(1.0, 4.0), **MIXER),
    "timm-resmlp": built("mlp_mixer", "MlpMixer", "resmlp_12_224", 32, gradients=True, parts=linear, **MIXER, mlp_ratio=4),
    "timm-gmlp": built("mlp_mixer", "MlpMixer", "gmlp_ti16_224", 32, gradients=True, parts=spatial, **MIXER, mlp_ratio=6),
    "timm-crossvit": timm(
        "crossvit_9_dagger_240", 48, gradients=True, embed_dim=[8, 16], depth=[[1, 1, 0]], num_heads=[4, 4], img_scale=[1.0, 32 / 48], img_size=48
    ),
    "timm-volo": built(
        "volo",
        "VOLO",
        "volo_d1_224",
        48,
        gradients=True,
        layers=(1, 1, 1, 1),
        embed_dims=(8, 8, 8, 8),
        num_heads=(2, 4, 4, 4),
        stem_hidden_dim=4,
        img_size=48,
    ),
}
