"""Keras' ResNet50 with the dense head in plain PyTorch: the same graph, with the same weights."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import nn
from torch.nn import functional

STAGES = (
    (2, 64, 3, 1),
    (3, 128, 4, 2),
    (4, 256, 6, 2),
    (5, 512, 3, 2),
)  # name, width, blocks, stride
EPSILON = 1.001e-5  # of Keras' BatchNorm in this network
MEANS = (103.939, 116.779, 123.68)  # blue, green, red


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=0.01)


class Block(nn.Module):
    """A bottleneck whose stride lies in its first 1x1 convolution, as in Keras."""

    def __init__(self, entering: int, width: int, stride: int, projected: bool):
        super().__init__()
        if projected:
            self.conv0, self.bn0 = nn.Conv2d(entering, 4 * width, 1, stride), _norm(4 * width)
        self.projected = projected
        self.conv1, self.bn1 = nn.Conv2d(entering, width, 1, stride), _norm(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), _norm(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1), _norm(4 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, entering, h, w] to [B, 4 * width, h / stride, w / stride]."""
        shortcut = self.bn0(self.conv0(x)) if self.projected else x
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        return functional.relu(shortcut + self.bn3(self.conv3(x)))


class ResNet50(nn.Module):
    """Photos [B, 3, S, S], RGB, 0-255, to logits [B, classes]."""

    def __init__(self, classes: int, head: tuple[int, ...] = (256, 128, 64), dropout: float = 0.2):
        super().__init__()
        self.register_buffer("means", torch.tensor(MEANS).view(1, 3, 1, 1))
        self.conv, self.bn = nn.Conv2d(3, 64, 7, 2, padding=3), _norm(64)
        blocks, entering = {}, 64
        for stage, width, count, stride in STAGES:
            for number in range(1, count + 1):
                first = number == 1
                name = f"conv{stage}_block{number}"
                blocks[name] = Block(entering, width, stride if first else 1, first)
                entering = 4 * width
        self.blocks = nn.ModuleDict(blocks)
        sizes = (entering, *head, classes)
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.dropout = dropout

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = photos.flip(1) - self.means
        x = functional.relu(self.bn(self.conv(x)))
        x = functional.max_pool2d(x, 3, 2, padding=1)  # after a ReLU zeros pad as well as minus inf
        for block in self.blocks.values():
            x = block(x)
        x = x.mean((2, 3))
        for layer in self.dense[:-1]:
            x = functional.dropout(functional.relu(layer(x)), self.dropout, self.training)
        return self.dense[-1](x)

    def hold_statistics(self) -> ResNet50:
        """Trains all but BatchNorm, which stays as it is."""
        self.train()
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval().requires_grad_(False)
        return self


def load(weights: dict[str, np.ndarray], classes: int) -> ResNet50:
    """The network with the weights of a Keras classifier: "<layer>/<number>" -> array."""
    model = ResNet50(classes)
    norms = [("conv1_bn", model.bn)]
    convolutions = [("conv1_conv", model.conv)]
    for name, block in model.blocks.items():
        for part in range(0 if block.projected else 1, 4):
            convolutions.append((f"{name}_{part}_conv", getattr(block, f"conv{part}")))
            norms.append((f"{name}_{part}_bn", getattr(block, f"bn{part}")))
    with torch.no_grad():
        for name, layer in convolutions:
            kernel, bias = weights[f"{name}/0"], weights[f"{name}/1"]
            layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))))
            layer.bias.copy_(torch.from_numpy(bias))
        for name, layer in norms:
            parts = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
            for number, part in enumerate(parts):
                part.copy_(torch.from_numpy(weights[f"{name}/{number}"]))
        names = [f"dense_{number}" for number in range(1, len(model.dense))] + ["probabilities"]
        for name, layer in zip(names, model.dense, strict=True):
            layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(weights[f"{name}/0"].T)))
            layer.bias.copy_(torch.from_numpy(weights[f"{name}/1"]))
    return model
