"""What torchvision and timm call the weights of networks that are built here.

Each rule gives, for a network's layers, the module of PyTorch that holds the same weights. Layers of keras.applications
are known by their names; those that Keras numbers, by the order in which the builder makes them, kind by kind.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

#: A layer's name to its module.
Names = dict[str, str]
#: Blocks of each stage of MobileNetV2, V3 small and large, as timm counts them.
STAGES = {"mobilenet_v2": (1, 2, 3, 4, 3, 3, 1), "mobilenet_v3_small": (1, 2, 3, 2, 3),
          "mobilenet_v3_large": (1, 2, 3, 4, 2, 3)}


def names_of(builder: str, model: Any, keys: Collection[str]) -> Names:
    """Return the modules of a state dict that a network's layers have their weights from.

    Args:
        builder: of the network.
        keys: of the state dict.

    Raises:
        ValueError: there is no rule for this builder.
    """
    rules: dict[str, Callable[[str, Any, Collection[str]], Iterator[tuple[str, str]]]] = {
        "resnet18": _resnet_basic, "resnet34": _resnet_basic, "resnet50": _resnet_bottleneck,
        "resnet101": _resnet_bottleneck, "resnet152": _resnet_bottleneck, "mobilenet_v2": _mobilenet_v2,
        "mobilenet_v3_small": _mobilenet_v3, "mobilenet_v3_large": _mobilenet_v3, "efficientnet_b0": _efficientnet,
        "convnext_tiny": _convnext, "convnext_small": _convnext, "convnext_base": _convnext, "vit_tiny": _vit,
        "vit_small": _vit, "vit_base": _vit}
    if builder not in rules:
        raise ValueError(f"weights of PyTorch are known of {', '.join(rules)}, not of {builder}")
    return dict(rules[builder](builder, model, keys))


def made(model: Any, kind: str) -> list[str]:
    """Return the names of layers that Keras numbers, of one kind, in the order in which they were made."""
    found = {}
    for layer in model.layers:
        if match := re.fullmatch(rf"{kind}(?:_(\d+))?", layer.name):
            found[layer.name] = int(match[1] or -1)
    return sorted(found, key=found.__getitem__)


def _resnet_basic(builder: str, model: Any, keys: Collection[str]) -> Iterator[tuple[str, str]]:
    convolutions, norms = iter(made(model, "conv2d")), iter(made(model, "batch_normalization"))
    yield next(convolutions), "conv1"
    yield next(norms), "bn1"
    blocks = sorted({tuple(map(int, match.groups())) for key in keys
                     if (match := re.match(r"layer(\d)\.(\d+)\.", key))})
    for stage, block in blocks:
        prefix = f"layer{stage}.{block}"
        if f"{prefix}.downsample.0.weight" in keys:
            yield next(convolutions), f"{prefix}.downsample.0"
            yield next(norms), f"{prefix}.downsample.1"
        for number in (1, 2):
            yield next(convolutions), f"{prefix}.conv{number}"
            yield next(norms), f"{prefix}.bn{number}"
    yield "logits", "fc"


def _resnet_bottleneck(builder: str, model: Any, keys: Collection[str]) -> Iterator[tuple[str, str]]:
    yield from (("conv1_conv", "conv1"), ("conv1_bn", "bn1"), ("logits", "fc"))
    for layer in model.layers:
        if match := re.fullmatch(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", layer.name):
            stage, block, number, kind = int(match[1]) - 1, int(match[2]) - 1, int(match[3]), match[4]
            if number:
                yield layer.name, f"layer{stage}.{block}.{kind}{number}"
            else:
                yield layer.name, f"layer{stage}.{block}.downsample.{0 if kind == 'conv' else 1}"


def _mobilenet_v2(builder: str, model: Any, keys: Collection[str]) -> Iterator[tuple[str, str]]:
    of_timm = "conv_stem.weight" in keys
    yield from (("Conv1", "conv_stem"), ("bn_Conv1", "bn1"), ("Conv_1", "conv_head"), ("Conv_1_bn", "bn2"),
                ("logits", "classifier")) if of_timm else (
        ("Conv1", "features.0.0"), ("bn_Conv1", "features.0.1"), ("Conv_1", "features.18.0"),
        ("Conv_1_bn", "features.18.1"), ("logits", "classifier.1"))
    for layer in model.layers:
        if match := re.fullmatch(r"(?:expanded_conv|block_(\d+))_(expand|depthwise|project)(_BN)?", layer.name):
            block, part, is_norm = int(match[1] or 0), match[2], bool(match[3])
            if of_timm:
                stage, place = _stage(block, STAGES[builder])
                yield layer.name, f"blocks.{stage}.{place}.{_timm_part(part, is_norm, block > 0, 'conv_pwl')}"
            else:
                place = ["expand", "depthwise", "project"].index(part) - (block == 0)
                inner = str(place + is_norm) if part == "project" else f"{place}.{int(is_norm)}"
                yield layer.name, f"features.{block + 1}.conv.{inner}"


def _mobilenet_v3(builder: str, model: Any, keys: Collection[str]) -> Iterator[tuple[str, str]]:
    layers = {layer.name for layer in model.layers}
    of_timm = "conv_stem.weight" in keys
    last = sum(STAGES[builder]) + 1
    yield from (("conv", "conv_stem"), ("conv_bn", "bn1"), ("conv_1", f"blocks.{len(STAGES[builder])}.0.conv"),
                ("conv_1_bn", f"blocks.{len(STAGES[builder])}.0.bn1"), ("conv_2", "conv_head"),
                ("class_maps", "classifier")) if of_timm else (
        ("conv", "features.0.0"), ("conv_bn", "features.0.1"), ("conv_1", f"features.{last}.0"),
        ("conv_1_bn", f"features.{last}.1"), ("conv_2", "classifier.0"), ("class_maps", "classifier.3"))
    parts = ("expand", "depthwise", "squeeze_excite", "project")
    pattern = r"expanded_conv_(?:(\d+)_)?(expand|depthwise|squeeze_excite|project)(?:_(bn|conv|conv_1))?"
    for layer in model.layers:
        match = re.fullmatch(pattern, layer.name)
        if match is None or not layer.weights:
            continue
        block, part, more = int(match[1] or 0), match[2], match[3]
        prefix = f"expanded_conv_{block}_" if block else "expanded_conv_"
        present = [one for one in parts if f"{prefix}{one}" in layers or f"{prefix}{one}_conv" in layers]
        place = present.index(part)
        if of_timm:
            stage, number = _stage(block, STAGES[builder])
            inner = {"conv": "se.conv_reduce", "conv_1": "se.conv_expand"}.get(
                more or "", _timm_part(part, more == "bn", block > 0, "conv_pwl"))
            yield layer.name, f"blocks.{stage}.{number}.{inner}"
        else:
            inner = {"conv": "fc1", "conv_1": "fc2", "bn": "1"}.get(more or "", "0")
            yield layer.name, f"features.{block + 1}.block.{place}.{inner}"


def _efficientnet(builder: str, model: Any, keys: Collection[str]) -> Iterator[tuple[str, str]]:
    of_timm = "conv_stem.weight" in keys
    yield from (("stem_conv", "conv_stem"), ("stem_bn", "bn1"), ("top_conv", "conv_head"), ("top_bn", "bn2"),
                ("logits", "classifier")) if of_timm else (
        ("stem_conv", "features.0.0"), ("stem_bn", "features.0.1"), ("top_conv", "features.8.0"),
        ("top_bn", "features.8.1"), ("logits", "classifier.1"))
    parts = {"expand_conv": ("expand", 0), "expand_bn": ("expand", 1), "dwconv": ("depthwise", 0),
             "bn": ("depthwise", 1), "se_reduce": ("squeeze", 0), "se_expand": ("squeeze", 1),
             "project_conv": ("project", 0), "project_bn": ("project", 1)}
    order = ["expand", "depthwise", "squeeze", "project"]
    for layer in model.layers:
        match = re.fullmatch(r"block(\d)([a-z])_(.+)", layer.name)
        if match is None or match[3] not in parts:
            continue
        stage, block, (part, number) = int(match[1]), ord(match[2]) - ord("a"), parts[match[3]]
        if of_timm:
            inner = (("se.conv_reduce", "se.conv_expand")[number] if part == "squeeze"
                     else _timm_part(part, bool(number), stage > 1, "conv_pwl"))
            yield layer.name, f"blocks.{stage - 1}.{block}.{inner}"
        else:
            place = order.index(part) - (stage == 1)
            inner = f"{place}.fc{number + 1}" if part == "squeeze" else f"{place}.{number}"
            yield layer.name, f"features.{stage}.{block}.block.{inner}"


def _convnext(builder: str, model: Any, keys: Collection[str]) -> Iterator[tuple[str, str]]:
    of_timm = "stem.0.weight" in keys
    norms, denses = iter(made(model, "layer_normalization")), iter(made(model, "dense"))
    depthwise = iter(made(model, "depthwise_conv2d"))
    pattern = r"stages\.(\d)\.blocks\.(\d+)\.gamma" if of_timm else r"features\.(\d)\.(\d+)\.layer_scale"
    blocks = sorted({tuple(map(int, match.groups())) for key in keys if (match := re.match(pattern, key))})
    yield "stem", "stem.0" if of_timm else "features.0.0"
    yield next(norms), "stem.1" if of_timm else "features.0.1"
    for stage, block in blocks:
        number = stage if of_timm else stage // 2
        if block == 0 and number:
            before = f"stages.{stage}.downsample" if of_timm else f"features.{stage - 1}"
            yield next(norms), f"{before}.0"
            yield f"downsample_{number}", f"{before}.1"
        prefix = f"stages.{stage}.blocks.{block}" if of_timm else f"features.{stage}.{block}"
        inner = ("conv_dw", "norm", "mlp.fc1", "mlp.fc2", "gamma") if of_timm else (
            "block.0", "block.2", "block.3", "block.5", "layer_scale")
        yield next(depthwise), f"{prefix}.{inner[0]}"
        yield next(norms), f"{prefix}.{inner[1]}"
        for module in (inner[3], inner[2]):  # the builder makes the outer one first
            yield next(denses), f"{prefix}.{module}"
        yield next(depthwise), f"{prefix}.{inner[4]}"
    yield next(norms), "head.norm" if of_timm else "classifier.0"
    yield "logits", "head.fc" if of_timm else "classifier.2"


def _vit(builder: str, model: Any, keys: Collection[str]) -> Iterator[tuple[str, str]]:
    of_timm = "cls_token" in keys
    norms, denses = iter(made(model, "layer_normalization")), iter(made(model, "dense"))
    attentions = made(model, "multi_head_attention")
    yield "patch_embedding", "patch_embed.proj" if of_timm else "conv_proj"
    yield "class_token", "cls_token" if of_timm else "class_token"
    yield "positions", "pos_embed" if of_timm else "encoder.pos_embedding"
    for number, attention in enumerate(attentions):
        prefix = f"blocks.{number}" if of_timm else f"encoder.layers.encoder_layer_{number}"
        inner = ("norm1", "attn", "norm2", "mlp.fc1", "mlp.fc2") if of_timm else (
            "ln_1", "self_attention", "ln_2", "mlp.0", "mlp.3")
        for layer, module in zip((next(norms), attention, next(norms), next(denses), next(denses)), inner, strict=True):
            yield layer, f"{prefix}.{module}"
    yield next(norms), "norm" if of_timm else "encoder.ln"
    yield "logits", "head" if of_timm else "heads.head"


def _stage(block: int, counts: tuple[int, ...]) -> tuple[int, int]:
    """Return the stage that a block is in, and its number there."""
    for stage, count in enumerate(counts):
        if block < count:
            return stage, block
        block -= count
    raise ValueError(f"there is no block {block} behind the last stage")


def _timm_part(part: str, is_norm: bool, expands: bool, last: str) -> str:
    """Return what timm calls a part of an inverted residual; those that do not expand have other names."""
    if expands:
        order: Mapping[str, tuple[str, str]] = {"expand": ("conv_pw", "bn1"), "depthwise": ("conv_dw", "bn2"),
                                                "project": (last, "bn3")}
    else:
        order = {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}
    return order.get(part, ("", ""))[is_norm]
