"""Networks of PyTorch that `benchmarks/press.py` presses, trained for a minute on digits: run in PyTorch's environment.

    python torch_models.py FOLDER pt2|onnx NAME

takes FOLDER/digits.npz, and writes FOLDER/model.pt2 or FOLDER/model.onnx, and what it has not seen as FOLDER/data.npz.
"""
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision

EPOCHS, BATCH, TRAINED = 4, 64, 1200
CLASSES, SIDE = 10, 32


class Reader(torch.nn.Module):
    """A Transformer over the rows of a picture as 64 tokens of 17 grey values."""

    def __init__(self):
        super().__init__()
        nn = torch.nn
        self.tokens, self.positions = nn.Embedding(17, 32), nn.Parameter(0.02 * torch.randn(64, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, activation="gelu", norm_first=True)
        self.blocks, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, CLASSES)

    def forward(self, tokens):
        return self.head(self.blocks(self.tokens(tokens) + self.positions).mean(1))


def convnext():
    block = torchvision.models.convnext.CNBlockConfig
    return torchvision.models.ConvNeXt([block(24, 48, 2), block(48, None, 2)], layer_scale=0.1, num_classes=CLASSES)


MODELS = {
    "resnet18": lambda: torchvision.models.resnet18(num_classes=CLASSES),
    "mobilenet_v3_small": lambda: torchvision.models.mobilenet_v3_small(num_classes=CLASSES),
    "vit": lambda: torchvision.models.VisionTransformer(SIDE, 8, 2, 4, 64, 128, num_classes=CLASSES),
    "mobilenet_v2": lambda: torchvision.models.mobilenet_v2(num_classes=CLASSES, width_mult=0.35),
    "convnext": convnext, "text_transformer": Reader}


def main(folder, form, name):
    torch.manual_seed(5)
    torch.set_num_threads(1)  # two that wait for each other take longer where others compute beside them
    with np.load(folder / "digits.npz") as digits:
        images, labels = torch.from_numpy(digits["images"]), torch.from_numpy(digits["labels"]).long()
    if name == "text_transformer":
        inputs = (16 * images).long().reshape(len(images), 64)
    else:
        inputs = torch.nn.functional.interpolate(images[:, None], (SIDE, SIDE), mode="bilinear").repeat(1, 3, 1, 1)
    model = MODELS[name]()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(TRAINED).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()
    model.eval()
    program = torch.export.export(model, (inputs[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
    if form == "pt2":
        torch.export.save(program, folder / "model.pt2")
    else:
        torch.onnx.export(program, dynamo=True, opset_version=18, verbose=False).save(folder / "model.onnx")
    np.savez(folder / "data.npz", input=inputs[TRAINED:].numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
