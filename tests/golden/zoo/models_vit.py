"""Plain vision transformers under the names of timm, Transformers, torchvision and OpenCLIP.

OpenCLIP's needs `pip install open_clip_torch` (3.3.0) too.
"""

from make import Case, timm, torchvision, transformers

# As files call the parts that the network in memory calls otherwise.
IN_FILES = [
    ("attention.q_proj", "attention.attention.query"),
    ("attention.k_proj", "attention.attention.key"),
    ("attention.v_proj", "attention.attention.value"),
    ("attention.o_proj", "attention.output.dense"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
    ("vit.layers.", "vit.encoder.layer."),
]


def named_as_in_files(case):
    """The same, with gradients under the names that `save_pretrained` gives."""
    make = case.make

    def renamed(name):
        for ours, theirs in IN_FILES:
            name = name.replace(ours, theirs)
        return name

    def model():
        network = make()
        own = network.named_parameters
        network.named_parameters = lambda *a, **k: ((renamed(name), p) for name, p in own(*a, **k))
        return network

    case.make = model
    return case


def tiny(name, size=16, gradients=False, **args):
    """A small network of timm's architecture of that name."""
    return timm(name, size, gradients, **{"img_size": size, "patch_size": 4, "embed_dim": 16, "mlp_ratio": 1.5, "depth": 1, "num_heads": 4, **args})


def distilled():
    """Its two heads read a token each; the features are both tokens, not their mean."""
    case = tiny("deit_tiny_distilled_patch16_224", gradients=True)
    case.features = lambda model, x: model.forward_features(x)[:, :2].flatten(1)
    return case


def hugging_face(model, config, **fields):
    small = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=4, image_size=16, patch_size=4)
    if not config.startswith("Dinov2"):
        small["intermediate_size"] = 24
    return transformers(model, config, **{"size": 16, **small, "num_labels": 5, **fields})


def first_token(found):
    return found.last_hidden_state[:, 0]


def pooler(found):
    return found.pooler_output


def clip(**fields):
    vision = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=4, intermediate_size=24, image_size=16, patch_size=4)
    text = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=16, max_position_embeddings=8)
    return dict(vision_config={**vision, **fields}, text_config=text)


def tower(model, config, output, gradients=False, **fields):
    """The image tower within a network of images and text."""
    import transformers as library

    def make():
        return getattr(library, model)(getattr(library, config)(**clip(), **fields))

    return Case(make, 16, output=output, gradients=gradients)


def torchvision_vit():
    from torchvision.models import VisionTransformer

    return VisionTransformer(image_size=16, patch_size=4, num_layers=1, num_heads=12, hidden_dim=24, mlp_dim=16, num_classes=5)


def open_clip(name, heads, **fields):
    """The image tower of OpenCLIP beside the scale that the whole has."""

    def make():
        import torch
        from open_clip.transformer import QuickGELU, VisionTransformer

        class Clip(torch.nn.Module):
            def __init__(self):
                super().__init__()
                act = QuickGELU if name.endswith("quickgelu") else torch.nn.GELU
                small = dict(image_size=16, patch_size=4, layers=1, mlp_ratio=1.5, output_dim=8)
                self.visual = VisionTransformer(width=2 * heads, heads=heads, act_layer=act, **small, **fields)
                self.logit_scale = torch.nn.Parameter(torch.zeros(()))

            def forward(self, x):
                return self.visual(x)

        return Clip()

    return Case(make, 16, arch=f"open_clip/{name}", gradients=True)


MODELS = {
    "timm-vit": tiny("vit_tiny_patch16_224", gradients=True),
    "timm-vit-other-size": tiny("vit_tiny_patch16_224", 24, img_size=16, dynamic_img_size=True),
    "timm-vit-gap-registers": tiny("vit_little_patch16_reg4_gap_256"),
    "timm-vit-dinov2": tiny("vit_small_patch14_reg4_dinov2"),
    "timm-vit-dinov2-giant": tiny("vit_giant_patch14_dinov2", mlp_ratio=2.0),
    "timm-vit-clip": tiny("vit_base_patch16_clip_quickgelu_224"),
    "timm-vit-siglip": tiny("vit_so400m_patch16_siglip_256", gradients=True),
    "timm-vit-rpn": tiny("vit_base_patch16_rpn_224"),
    "timm-vit-18x2": tiny("vit_small_patch16_18x2_224"),
    "timm-vit-xp": tiny("vit_base_patch16_xp_224", gradients=True),
    "timm-vit-difference": tiny("vit_dwee_patch16_reg1_gap_256", depth=2, gradients=True),
    "timm-vit-difference-beside": tiny("vit_dpwee_patch16_reg1_gap_256", depth=2),
    "timm-aimv2": tiny("aimv2_large_patch14_224"),
    "timm-beit3": tiny("beit3_base_patch16_224"),
    "timm-deit-distilled": distilled(),
    "timm-deit3": tiny("deit3_small_patch16_224"),
    "hf-vit": named_as_in_files(hugging_face("ViTForImageClassification", "ViTConfig", gradients=True)),
    "hf-vit-pooler": hugging_face("ViTModel", "ViTConfig", output=pooler, hidden_act="gelu_new", pooler_output_size=12),
    "hf-deit": hugging_face("DeiTForImageClassification", "DeiTConfig"),
    "hf-deit-teacher": hugging_face("DeiTForImageClassificationWithTeacher", "DeiTConfig"),
    "hf-dinov2": hugging_face("Dinov2ForImageClassification", "Dinov2Config", size=24, mlp_ratio=2),
    "hf-dinov2-swiglu": hugging_face("Dinov2Model", "Dinov2Config", output=pooler, use_swiglu_ffn=True),
    "hf-dinov2-registers": hugging_face("Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig", mlp_ratio=2, size=(12, 20)),
    "hf-vit-mae": hugging_face("ViTMAEModel", "ViTMAEConfig", output=first_token, mask_ratio=0.0),
    "hf-vit-msn": hugging_face("ViTMSNModel", "ViTMSNConfig", output=lambda found: found.last_hidden_state),
    "hf-vit-msn-classifier": hugging_face("ViTMSNForImageClassification", "ViTMSNConfig"),
    "hf-ijepa": hugging_face("IJepaForImageClassification", "IJepaConfig"),
    "hf-clip": tower(
        "CLIPModel",
        "CLIPConfig",
        lambda model, x: model.visual_projection(model.vision_model(x).pooler_output),
        projection_dim=12,
    ),
    "hf-clip-classifier": tower("CLIPForImageClassification", "CLIPConfig", lambda model, x: model(x).logits),
    "hf-siglip": tower("SiglipModel", "SiglipConfig", lambda model, x: model.vision_model(x).pooler_output),
    "open-clip": open_clip("ViT-B-32-quickgelu", 12),
    "open-clip-clipa": open_clip("ViT-L-14-CLIPA", 16, no_ln_pre=True, pool_type="avg", final_ln_after_pool=True),
    "torchvision-vit": torchvision("vit_b_16", torchvision_vit, 16, gradients=True),
}
