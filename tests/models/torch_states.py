"""Writes networks of torchvision and timm, of random weights, as state dicts, and what they answer to images:
run in PyTorch's own environment.

    python torch_states.py folder name [name …]
"""
import sys
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from safetensors.torch import save_file

SIDE, CLASSES = 64, 10
#: Mean and deviation of ImageNet's red, green and blue, 0..1.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: A builder, behind the library that its weights are of, to the model.
MODELS = {
    **{f"torchvision.{name}": lambda name=name: getattr(torchvision.models, name)(num_classes=CLASSES) for name in (
        "resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0",
        "convnext_tiny")},
    "torchvision.vit_base": lambda: torchvision.models.VisionTransformer(SIDE, 16, 12, 12, 768, 3072,
                                                                         num_classes=CLASSES),
    **{f"timm.{builder}": lambda name=name: timm.create_model(name, num_classes=CLASSES) for builder, name in {
        "resnet50": "resnet50", "mobilenet_v2": "mobilenetv2_100", "mobilenet_v3_large": "mobilenetv3_large_100",
        "efficientnet_b0": "efficientnet_b0", "convnext_tiny": "convnext_tiny"}.items()},
    "timm.vit_tiny": lambda: timm.create_model("vit_tiny_patch16_224", img_size=SIDE, num_classes=CLASSES)}


def randomized(model):
    """Give what begins as 0 or 1 other numbers, so that each counts."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.6, 1.4)
            module.bias.data.uniform_(-0.3, 0.3)
    for name, parameter in model.named_parameters():
        if name.endswith(("layer_scale", "gamma")):
            parameter.data.uniform_(0.2, 1.0)
        elif name.endswith(("class_token", "cls_token", "pos_embedding", "pos_embed")):
            parameter.data.normal_(0, 0.5)
        elif not parameter.any():
            parameter.data.uniform_(-0.2, 0.2)
    return model.eval()


def main(folder, *names):
    torch.manual_seed(0)
    images = torch.from_numpy(np.load(folder / "images.npy").transpose(0, 3, 1, 2)).float().contiguous() / 255
    mean, deviation = (torch.tensor(values)[None, :, None, None] for values in (MEAN, DEVIATION))
    for name in names:
        model = randomized(MODELS[name]())
        save_file({key: value.contiguous() for key, value in model.state_dict().items()},
                  str(folder / f"{name}.safetensors"))
        with torch.no_grad():
            np.save(folder / f"{name}.npy", model((images - mean) / deviation).numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
