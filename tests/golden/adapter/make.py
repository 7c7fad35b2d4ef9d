"""A LoRA adapter of peft onto the ViT of ../zoo/hf-vit, and what both together compute.

    pip install torch transformers peft safetensors
    python make.py

Writes, beside itself, adapter_config.json and adapter_model.safetensors as peft does, and io.safetensors (`input`, `output`).
Written with torch 2.15.0, transformers 5.24.0 and peft 0.21.2.
"""

import pathlib

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import ViTForImageClassification

HERE = pathlib.Path(__file__).parent
torch.manual_seed(3)
base = ViTForImageClassification.from_pretrained(HERE.parent / "zoo/hf-vit")
size = base.config.image_size
size = (size, size) if isinstance(size, int) else tuple(size)
model = get_peft_model(base, LoraConfig(r=2, lora_alpha=3, target_modules=["q_proj", "o_proj", "fc1", "fc2"], modules_to_save=["classifier"]))
with torch.no_grad():
    for name, tensor in model.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            tensor.copy_(0.3 * torch.randn(tensor.shape))
model.eval()
model.base_model.model.config._name_or_path = "someone/small-vit"
model.peft_config["default"].base_model_name_or_path = "someone/small-vit"
model.save_pretrained(HERE)
(HERE / "README.md").unlink(missing_ok=True)
x = torch.randn(2, 3, *size)
with torch.no_grad():
    save_file({"input": x, "output": model(x).logits.contiguous()}, HERE / "io.safetensors")
print(sorted(name for name, _ in model.named_parameters() if "lora_A" in name))
