"""Hiera and CvT."""

from make import Case, timm, transformers

# Three stages: 8 x 8 patches become 4 x 4 and 2 x 2.
TIMM = dict(img_size=(32, 32), embed_dim=8, stages=(1, 2, 1), q_pool=2, mask_unit_size=(4, 4), mask_unit_attn=(True, True, False), mlp_ratio=2.0)
HF = dict(
    image_size=[32, 32], embed_dim=8, depths=[1, 2, 1], num_heads=[1, 2, 4], num_query_pool=2, masked_unit_size=[4, 4],
    masked_unit_attention=[True, True, False], mlp_ratio=2.0, num_labels=5,
)
CVT = dict(
    embed_dim=[4, 8, 8], depth=[1, 2, 3], num_heads=[1, 2, 4], mlp_ratio=[2.0, 2.0, 2.0], num_labels=5, drop_path_rate=[0.0, 0.0, 0.1]
)


def pretraining():
    import transformers as library

    return library.HieraForPreTraining(library.HieraConfig(**HF, decoder_depth=1, decoder_hidden_size=8, decoder_num_heads=2))


def without_masks(model, x):
    """The encoder as it is used once trained: nothing is masked."""
    encoder = model.hiera
    encoder.embeddings.patch_embeddings.is_mae = False
    return encoder(x).last_hidden_state


MODELS = {
    "timm-hiera": timm("hiera_tiny_224", 32, gradients=True, **TIMM),
    "timm-hiera-windows": timm(
        "hiera_small_abswin_256", (32, 64), **(TIMM | dict(img_size=(32, 64), global_pos_size=(3, 3), q_pool=1, mlp_ratio=3.0))
    ),
    "timm-hiera-windows-large": timm("hiera_base_abswin_256", 32, **(TIMM | dict(global_pos_size=(14, 14), global_pool="max"))),
    "hf-hiera": transformers("HieraForImageClassification", "HieraConfig", 32, gradients=True, **HF),
    "hf-hiera-model": transformers(
        "HieraModel", "HieraConfig", 32, output=lambda found: found.pooler_output,
        **(HF | dict(masked_unit_attention=[True, False, False], hidden_act="gelu_new", layer_norm_eps=1e-3)),
    ),
    "hf-hiera-pretraining": Case(pretraining, 32, output=without_masks),
    "hf-cvt": transformers("CvtForImageClassification", "CvtConfig", 32, gradients=True, **CVT),
    "hf-cvt-model": transformers(
        "CvtModel", "CvtConfig", (32, 64), output=lambda found: found.last_hidden_state, **(CVT | dict(qkv_bias=[False] * 3))
    ),
    "hf-cvt-kernels": transformers(
        "CvtForImageClassification", "CvtConfig", 48, **(CVT | dict(stride_kv=[1, 2, 2], kernel_qkv=[3, 5, 3], padding_kv=[1, 2, 1], padding_q=[1, 2, 1]))
    ),
}
