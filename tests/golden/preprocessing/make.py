"""What image processors of Hugging Face Transformers and transforms of timm make of three small images.

    pip install torch torchvision transformers timm safetensors pillow
    python make.py

Writes cases.safetensors beside itself: tensors `CASE.HEIGHTxWIDTH` `[3, H, W]`, and in its header for every case the files beside the model as
JSON. The images are `(37 x + 91 y + 53 c + x y) mod 256`. Holds the defaults in src/model/preprocessing/processors.rs against the library
too: a case `defaults-NAME` says nothing but the processor's name and a small size.

Written with transformers 5.24.0, timm 1.0.31, torchvision 0.29.2, Pillow 13.0.0.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import timm.data
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from timm.models._hub import _parse_model_cfg

warnings.filterwarnings("ignore")
HERE = Path(__file__).parent
IMAGES = [(40, 90), (61, 47), (16, 16)]
SMALL, EDGE = {"height": 16, "width": 16}, {"shortest_edge": 16}
OWN = dict(image_mean=[0.1, 0.2, 0.3], image_std=[0.5, 0.6, 0.7])

HUGGING_FACE = {
    "squash": ("ViTImageProcessor", dict(size=SMALL, resample=3)),
    "squash-nearest": ("ViTImageProcessor", dict(size=SMALL, resample=0)),
    "squash-lanczos": ("ViTImageProcessor", dict(size=SMALL, resample=1)),
    "squash-wide": ("ViTImageProcessor", dict(size={"height": 12, "width": 20}, **OWN)),
    "size-of-one-number": ("ViTImageProcessor", dict(size=16)),
    "edge-of-one-number": ("CLIPImageProcessor", dict(size=18, crop_size=15)),
    "edge-and-cut": ("CLIPImageProcessor", dict(size={"shortest_edge": 20}, crop_size=SMALL, **OWN)),
    "cut-larger-than-edge": ("CLIPImageProcessor", dict(size={"shortest_edge": 13}, crop_size={"height": 18, "width": 20})),
    "squash-and-cut": ("DeiTImageProcessor", dict(size={"height": 19, "width": 22}, crop_size={"height": 16, "width": 15})),
    "only-cut": ("BitImageProcessor", dict(do_resize=False, crop_size={"height": 21, "width": 20})),
    "not-rescaled": ("ViTImageProcessor", dict(size=SMALL, do_rescale=False, image_mean=[127.5] * 3, image_std=[127.5] * 3)),
    "not-normalised": ("ViTImageProcessor", dict(size=SMALL, do_normalize=False)),
    "neither": ("ViTImageProcessor", dict(size=SMALL, do_normalize=False, do_rescale=False)),
    "other-factor": ("ViTImageProcessor", dict(size=SMALL, rescale_factor=1 / 127.5, image_mean=[1.0] * 3, image_std=[1.0] * 3)),
    "one-number": ("SiglipImageProcessor", dict(size=SMALL, image_mean=0.4, image_std=0.3)),
    "crop-share": ("ConvNextImageProcessor", dict(size=EDGE, crop_pct=0.8, resample=2)),
    "crop-share-of-poolformer": ("PoolFormerImageProcessor", dict(size=EDGE, crop_size=SMALL, crop_pct=0.7)),
    "crop-share-of-both-sides": ("PoolFormerImageProcessor", dict(size=SMALL, crop_size=SMALL)),
    "levit": ("LevitImageProcessor", dict(size=EDGE, crop_size=SMALL)),
    "flipped": ("MobileViTImageProcessor", dict(size=EDGE, crop_size=SMALL, resample=2, do_flip_channel_order=True)),
    "not-flipped": ("MobileViTImageProcessor", dict(size=EDGE, crop_size=SMALL, do_flip_channel_order=False, do_normalize=True)),
    "divided-twice": ("EfficientNetImageProcessor", dict(size=SMALL, include_top=True, **OWN)),
    "only-divided": ("EfficientNetImageProcessor", dict(size=SMALL, include_top=True, do_normalize=False, **OWN)),
    "offset": ("EfficientNetImageProcessor", dict(size=SMALL, include_top=False, do_normalize=False, rescale_offset=True, rescale_factor=1 / 127.5)),
    "offset-and-normalised": ("EfficientNetImageProcessor", dict(size=SMALL, include_top=True, rescale_offset=True, rescale_factor=1 / 127.5, **OWN)),
    "padded-to-what-it-is": ("ViTImageProcessor", dict(size=SMALL, do_pad=True, pad_size=SMALL)),
}
DEFAULTS = {
    **{f"{name}ImageProcessor": dict(size=SMALL) for name in ["ViT", "Beit", "Blip", "Siglip", "Pvt", "Segformer", "DINOv3ViT", "EfficientNet"]},
    **{f"{name}ImageProcessor": dict(size=EDGE, crop_size=SMALL) for name in ["Bit", "CLIP", "ChineseCLIP", "MobileNetV1", "MobileNetV2", "Levit", "PoolFormer", "MobileViT"]},
    "DeiTImageProcessor": dict(size={"height": 20, "width": 20}, crop_size=SMALL),
    "ConvNextImageProcessor": dict(size=EDGE),
}
TIMM = {
    "timm-defaults": dict(input_size=[3, 16, 16]),
    "timm-bilinear": dict(input_size=[3, 16, 16], interpolation="bilinear", crop_pct=0.95, mean=[0.5] * 3, std=[0.5] * 3),
    "timm-whole": dict(input_size=[3, 16, 16], crop_pct=1.0),
    "timm-squash": dict(input_size=[3, 16, 16], crop_mode="squash", crop_pct=0.9),
    "timm-border": dict(input_size=[3, 16, 16], crop_mode="border", crop_pct=1.0, mean=[0.1, 0.5, 0.9]),
    "timm-border-cut": dict(input_size=[3, 17, 16], crop_mode="border", crop_pct=0.8),
    "timm-wide": dict(input_size=[3, 12, 20], crop_pct=0.9),
    "timm-test-size": dict(input_size=[3, 16, 16], test_input_size=[3, 32, 32], test_crop_pct=1.0, crop_pct=0.875),
}


def picture(height, width):
    y, x, c = np.mgrid[:height, :width, :3]
    return Image.fromarray(((37 * x + 91 * y + 53 * c + x * y) % 256).astype(np.uint8))


tensors, cases = {}, {}


def keep(case, files, run):
    cases[case] = json.dumps(files)
    for height, width in IMAGES:
        tensors[f"{case}.{height}x{width}"] = torch.as_tensor(run(picture(height, width))).float().contiguous()


def hugging_face(case, kind, fields, **more):
    processor = getattr(transformers, kind)(**fields)
    keep(case, {"preprocessor_config.json": {"image_processor_type": kind, **fields}, **more}, lambda i: processor(images=i, return_tensors="pt")["pixel_values"][0])


for case, (kind, fields) in HUGGING_FACE.items():
    hugging_face(case, kind, fields)
for kind, fields in DEFAULTS.items():
    hugging_face(f"defaults-{kind}", kind, fields)
# What is saved by the library itself, with every field, the names of old versions, and no name beside a `model_type`.
whole = json.loads(transformers.CLIPImageProcessor(size={"shortest_edge": 20}, crop_size=SMALL).to_json_string())
run = transformers.CLIPImageProcessor(size={"shortest_edge": 20}, crop_size=SMALL)
keep("saved", {"preprocessor_config.json": whole}, lambda i: run(images=i, return_tensors="pt")["pixel_values"][0])
keep("saved-nested", {"processor_config.json": {"image_processor": whole}}, lambda i: run(images=i, return_tensors="pt")["pixel_values"][0])
vit = transformers.ViTImageProcessor(size=SMALL)
keep("old-name", {"preprocessor_config.json": {"feature_extractor_type": "ViTFeatureExtractor", "size": 16}}, lambda i: vit(images=i, return_tensors="pt")["pixel_values"][0])
keep("by-model-type", {"preprocessor_config.json": {"size": SMALL}, "config.json": {"model_type": "swin"}}, lambda i: vit(images=i, return_tensors="pt")["pixel_values"][0])
for case, cfg in TIMM.items():
    config = {"architecture": "resnet18", "num_classes": 5, "pretrained_cfg": cfg}
    pretrained, _, _ = _parse_model_cfg(json.loads(json.dumps(config)), {})
    transform = timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=pretrained), is_training=False)
    keep(case, {"config.json": config}, transform)

save_file(tensors, str(HERE / "cases.safetensors"), metadata=cases)
print(len(cases), "cases; transformers", transformers.__version__, "timm", timm.__version__)
