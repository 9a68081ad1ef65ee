"""The embedded model's trunk: MobileNetV2, batch norms already folded into its convolutions.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018. Its weights come
from a detector trained on Open Images (training/pretrained.py), so the features know the look
of many more things than the clips of training/ show.
"""

import torch
from torch import Tensor, nn

STAGES = (
    # channels, blocks, stride of the first, widening inside
    (16, 1, 1, 1),
    (24, 2, 2, 6),
    (32, 3, 2, 6),
    (64, 4, 2, 6),
    (96, 3, 1, 6),
    (160, 3, 2, 6),
    (320, 1, 1, 6),
)
_ENDS = (0, 2, 5, 12, 16)  # the last blocks at strides 2, 4, 8, 16 and 32
FINE_CHANNELS = STAGES[0][0]
"""Channels at stride 2."""


class InvertedResidual(nn.Module):
    """Widens, filters each channel by itself, narrows; adds its input where shapes allow."""

    def __init__(self, before: int, after: int, stride: int, widening: int) -> None:
        super().__init__()
        wide = before * widening
        layers: list[nn.Module] = []
        if widening > 1:
            layers += [nn.Conv2d(before, wide, 1), nn.ReLU6(inplace=True)]
        layers += [
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide),
            nn.ReLU6(inplace=True),
            nn.Conv2d(wide, after, 1),
        ]
        self.body = nn.Sequential(*layers)
        self.adds = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        """Return the (B, after, h, w) features of (B, before, h, w) ones."""
        y: Tensor = self.body(x)
        return x + y if self.adds else y


class MobileTrunk(nn.Module):
    """Features at strides 2, 4, 8, 16 and 32 of images normalised as SAM 2 does."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU6(inplace=True))
        self.blocks = nn.ModuleList()
        self.channel_list = [320, 96, 32, 24]  # at strides 32, 16, 8 and 4
        before = 32
        for channels, count, stride, widening in STAGES:
            for i in range(count):
                block = InvertedResidual(before, channels, stride if i == 0 else 1, widening)
                self.blocks.append(block)
                before = channels

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of (B, 3, S, S) images, finest first."""
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        outputs = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in _ENDS:
                outputs.append(x)
        return outputs
