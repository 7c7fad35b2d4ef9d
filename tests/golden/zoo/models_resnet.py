"""ResNets as heirloom has read them from the beginning."""

from make import timm

MODELS = {
    "timm-resnet": timm("resnet18", 48, gradients=True, layers=(1, 1, 1, 1), channels=(8, 8, 16, 16)),
}
