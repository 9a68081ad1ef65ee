"""Parts of the embedded model: prompt encoder, memory encoder, affinity readout, fine head.

Each has the calling convention of the SAM 2 part whose place it takes. What they have in
common is that they learn quickly from scratch: correspondence between two frames is the
distance between their features, so it works before anything has been trained to use it.
"""

import torch
from sam2.modeling.sam.prompt_encoder import PromptEncoder
from sam2.modeling.sam2_utils import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

KEY_CHANNELS = 32
"""The first channels of the stride-16 features double as matching keys."""

EVIDENCE = 3
"""Maps of what the frames before say: carried mask, trust in it, likelihood of the colours."""

POINT_SIGMA_PX = 6.0
"""Radius with which a click is drawn into the prompt maps (guess)."""


class NoPosition(nn.Module):
    """The position code of a model that reads none: zeros of the features' shape."""

    def forward(self, features: Tensor) -> Tensor:
        return features.new_zeros(1, 1, 1, 1).expand_as(features)


class FeaturePromptEncoder(PromptEncoder):
    """SAM's prompt encoder, which also sees the prompts drawn and the features under them.

    Points, boxes and masks are drawn as four maps at stride 4 (positive, negative, box
    interior, mask), and the evidence of the frames before as three more (motion_prior.py,
    colour_prior.py). Convolved down they are the dense embedding; every click's token carries
    a linear map of the features under the click.
    """

    def __init__(self, dim: int, grid: int, image_size: int) -> None:
        super().__init__(dim, (grid, grid), (image_size, image_size), mask_in_chans=16)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(4 + EVIDENCE, 16, 3, 2, 1),
            nn.GELU(),
            nn.Conv2d(16, 48, 3, 2, 1),
            nn.GELU(),
            nn.Conv2d(48, dim, 3, 1, 1),
        )
        self.under_point = nn.Linear(dim + dim // 4 + dim // 8, dim)

    def encode(
        self,
        points: tuple[Tensor, Tensor] | None,
        mask_logits: Tensor | None,
        features: list[Tensor],
        prior: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Embed prompts on an image.

        Args:
            points: (B, P, 2) float (x, y) in image pixels, and (B, P) int labels: 1 foreground,
                0 background, 2 and 3 box corners, -1 padding.
            mask_logits: (B, 1, S / 4, S / 4) float.
            features: (B, C, h, w) at strides 16, 8 and 4.
            prior: (B, EVIDENCE, S / 4, S / 4), the first multiplied by the second; None for none.

        Returns:
            (B, P + 1, C) sparse and (B, C, S / 16, S / 16) dense embeddings.
        """
        batch = features[0].shape[0]
        if points is None:
            coords = features[0].new_zeros(batch, 1, 2, dtype=torch.float32)
            labels = torch.full((batch, 1), -1, dtype=torch.int32, device=coords.device)
        else:
            coords, labels = points
        sparse = self._embed_points(coords, labels, pad=True)  # (B, P + 1, C)
        if points is not None:
            carried = self.under_point(self._sample(coords, features))
            carried = carried * ((labels == 0) | (labels == 1))[..., None]
            sparse = sparse + F.pad(carried, (0, 0, 0, 1))
        dense = self.mask_downscaling(self._draw(coords, labels, mask_logits, prior))
        if mask_logits is None:
            dense = dense + self.no_mask_embed.weight[..., None, None]
        return sparse, dense

    def _sample(self, coords: Tensor, features: list[Tensor]) -> Tensor:
        """Return the (B, P, sum of C) features under (B, P, 2) points, bilinearly."""
        grid = (coords + 0.5) / self.input_image_size[0] * 2 - 1
        samples = [
            F.grid_sample(f.float(), grid[:, :, None], align_corners=False, padding_mode="border")
            for f in features
        ]
        return torch.cat(samples, 1)[..., 0].transpose(1, 2)

    def _draw(
        self, coords: Tensor, labels: Tensor, mask_logits: Tensor | None, prior: Tensor | None
    ) -> Tensor:
        """Return the (B, 4 + EVIDENCE, S / 4, S / 4) maps of the prompts and the prior."""
        height, width = self.mask_input_size
        y = (torch.arange(height, device=coords.device) * 4 + 1.5)[:, None]
        x = (torch.arange(width, device=coords.device) * 4 + 1.5)[None]
        px, py = coords[..., 0, None, None], coords[..., 1, None, None]  # (B, P, 1, 1)
        blobs = torch.exp(((x - px) ** 2 + (y - py) ** 2) / (-2 * POINT_SIGMA_PX**2))
        positive = (blobs * (labels == 1)[..., None, None]).amax(1)
        negative = (blobs * (labels == 0)[..., None, None]).amax(1)
        first, last = ((labels == corner)[..., None, None] for corner in (2, 3))
        after = ((x >= px) & (y >= py) & first).any(1)
        before = ((x <= px) & (y <= py) & last).any(1)
        maps = [positive, negative, (after & before).to(positive.dtype)]
        if mask_logits is None:
            maps.append(torch.zeros_like(positive))
        else:
            maps.append(torch.tanh(mask_logits[:, 0].float() / 4))
        drawn = torch.stack(maps, 1)
        if prior is None:
            return F.pad(drawn, (0, 0, 0, 0, 0, EVIDENCE))
        return torch.cat([drawn, prior.to(drawn)], 1)


class KeyValueMemoryEncoder(nn.Module):
    """Encodes a frame and a mask as [matching key, value] per stride-16 cell.

    The key is the frame's alone (the first channels of its features), so that memories of
    different objects on one frame match alike; the value holds the mask, folded into
    channels, seen together with the features.
    """

    def __init__(self, dim: int, folded: int = 48) -> None:
        super().__init__()
        self.fold = nn.Conv2d(257, folded, 1)
        self.look = nn.Conv2d(dim, folded, 1)
        self.value = nn.Sequential(
            nn.GELU(),
            nn.Conv2d(2 * folded, 64, 3, 1, 1),
            nn.GELU(),
            nn.Conv2d(64, dim - KEY_CHANNELS, 3, 1, 1),
        )

    def forward(
        self, features: Tensor, masks: Tensor, skip_mask_sigmoid: bool = False
    ) -> dict[str, Tensor | list[Tensor]]:
        """Return the memory of (B, C, h, w) features with (B, 1, 16 h, 16 w) masks."""
        if not skip_mask_sigmoid:
            masks = torch.sigmoid(masks)
        cells = F.pixel_unshuffle(masks.to(features.dtype), 16)
        cells = torch.cat([cells, cells.mean(1, keepdim=True)], 1)  # (B, 257, h, w)
        value = self.value(torch.cat([self.fold(cells), self.look(features)], 1))
        memory = torch.cat([features[:, :KEY_CHANNELS], value.to(features.dtype)], 1)
        return {"vision_features": memory, "vision_pos_enc": [torch.zeros_like(memory)]}


class AffinityReadout(nn.Module):
    """Reads memories by the affinity of keys and blends what it read into the features.

    Two heads share the keys: one starts out matching anywhere, the other near the same
    place; each learns its temperature, and how much older memories and distance count.
    How badly the best match fits is read out as well: it tells a lost object.
    """

    def __init__(self, dim: int, heads: int = 2, blocks: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.log_scale = nn.Parameter(torch.full((heads,), -0.7))
        self.log_reach = nn.Parameter(torch.tensor([-1.0, 2.5][:heads]))
        self.time = nn.Linear(dim, 2 * heads)
        nn.init.zeros_(self.time.bias)
        self.join = nn.Conv2d(dim + heads * (dim - KEY_CHANNELS + 1), dim, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                LayerNorm2d(dim),
                nn.Conv2d(dim, dim, 3, 1, 1),
                nn.GELU(),
                nn.Conv2d(dim, dim, 3, 1, 1),
            )
            for _ in range(blocks)
        )

    def forward(
        self,
        curr: Tensor | list[Tensor],
        memory: Tensor,
        curr_pos: Tensor | list[Tensor] | None = None,
        memory_pos: Tensor | None = None,
        num_obj_ptr_tokens: int = 0,
    ) -> Tensor:
        """Return the (HW, B, C) features conditioned on memories.

        Args:
            curr: (HW, B, C) features of the frame.
            memory: (M HW, B, C) memories, one after another.
            curr_pos: not read; a token's place follows from its number.
            memory_pos: (M HW, B, C) temporal codes.
            num_obj_ptr_tokens: must be 0: this model has no object pointers.
        """
        assert num_obj_ptr_tokens == 0 and memory_pos is not None
        tokens = curr[0] if isinstance(curr, list) else curr
        side = round(tokens.shape[0] ** 0.5)
        with torch.autocast(tokens.device.type, enabled=False):
            read = self._read(tokens.float(), memory.float(), memory_pos.float())
        both = torch.cat([tokens.permute(1, 2, 0), read.to(tokens.dtype)], 1)
        x: Tensor = self.join(both.unflatten(2, (side, side)))
        for block in self.blocks:
            x = x + block(x)
        return x.flatten(2).permute(2, 0, 1)

    def modules_in_float32(self) -> list[nn.Module]:
        """Return what calculates in float32 whatever autocast says."""
        return [self.time]

    def _read(self, tokens: Tensor, memory: Tensor, codes: Tensor) -> Tensor:
        """Return (B, heads (value channels + 1), HW) read from the memories."""
        cells, batch, _ = tokens.shape
        value = memory[..., KEY_CHANNELS:].permute(1, 2, 0)  # (B, V, N)
        if _alike(tokens[..., :KEY_CHANNELS], memory[..., :KEY_CHANNELS], codes):
            tokens, memory, codes = tokens[:, :1], memory[:, :1], codes[:, :1]
        matched = tokens.shape[1]  # B, or 1 for all
        query = tokens[..., :KEY_CHANNELS].transpose(0, 1)  # (B or 1, HW, K)
        key = memory[..., :KEY_CHANNELS].transpose(0, 1)  # (B or 1, N, K)
        bias, reach = self.time(codes).permute(1, 2, 0).chunk(2, 1)  # (B or 1, heads, N)
        reach = torch.exp(self.log_reach[:, None] + reach)
        place = self._places(cells, tokens)  # (HW, 2)
        key_place = place.repeat(memory.shape[0] // cells, 1)  # (N, 2)
        reads, fits = [], []
        for head in range(self.heads):
            # -scale |q - k|^2 - reach |place - place|^2 + bias as one product
            scale, near = self.log_scale[head].exp(), reach[:, head, :, None]
            constant = bias[:, head] - scale * key.square().sum(-1)
            constant = constant - near[..., 0] * key_place.square().sum(-1)
            right = torch.cat(
                [2 * scale * key, constant[..., None], 2 * near * key_place, -near], -1
            )
            left = [torch.ones_like(place[:, :1]), place, place.square().sum(-1, keepdim=True)]
            left_place = torch.cat(left, -1).expand(matched, -1, -1)
            affinity = torch.cat([query, left_place], -1) @ right.transpose(1, 2)
            weights = affinity.softmax(-1)  # (B or 1, HW, N)
            if matched == batch:
                reads.append(value @ weights.transpose(1, 2))
            else:
                reads.append((value.flatten(0, 1) @ weights[0].T).unflatten(0, (batch, -1)))
            # the logarithm of what softmax divided by, without taking all exponentials again
            total = affinity.amax(-1) - weights.amax(-1).log()
            fits.append(total - scale * query.square().sum(-1))
        fit = (torch.stack(fits, 1) / 4).clamp(-4, 4)
        return torch.cat([*reads, fit.expand(batch, -1, -1)], 1)

    @staticmethod
    def _places(cells: int, like: Tensor) -> Tensor:
        """Return the (HW, 2) places of the cells, in [-0.5, 0.5]."""
        side = round(cells**0.5)
        line = (torch.arange(side, device=like.device, dtype=like.dtype) + 0.5) / side - 0.5
        return torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).flatten(0, 1)


def _alike(*keys: Tensor) -> bool:
    """Tell whether (N, B, K) keys are the same for all objects, so that one match serves them.

    Objects followed through the same frames share the keys. A GPU is not asked: it would have to
    be waited for.
    """
    if torch.is_grad_enabled() or keys[0].shape[1] == 1 or keys[0].device.type != "cpu":
        return False
    return all(torch.equal(one[:, 1:], one[:, :1].expand_as(one[:, 1:])) for one in keys)


class FineHead(nn.Module):
    """Draws mask logits at stride 2 from those at stride 4, by the picture's fine features.

    Starts out as bilinear interpolation, the carried mask's logits added.

    Args:
        channels: of the fine features.
        inner: channels inside.
    """

    def __init__(self, channels: int, inner: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1 + channels + EVIDENCE, inner, 3, 1, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, 3, 1, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, 1, 3, 1, 1),
        )
        for parameter in self.body[-1].parameters():
            nn.init.zeros_(parameter)
        # Logits of a mask that flow carries and trusts; the decoder adds what it knows better.
        self.prior_gain = nn.Parameter(torch.tensor(4.0))

    def forward(self, masks: Tensor, fine: Tensor, prior: Tensor | None) -> Tensor:
        """Return (B, M, 2 h, 2 w) logits.

        Args:
            masks: (B, M, h, w) logits.
            fine: (B, channels, 2 h, 2 w).
            prior: (B, EVIDENCE, 2 h, 2 w), the first multiplied by the second; None for none.
        """
        batch, count = masks.shape[:2]
        size = (fine.shape[-2], fine.shape[-1])
        masks = F.interpolate(masks, size, mode="bilinear", align_corners=False)
        if prior is None:
            prior = fine.new_zeros(batch, EVIDENCE, *size)
        else:
            masks = masks + self.prior_gain * prior[:, :1]
        around = torch.cat([fine, prior.to(fine)], 1).repeat_interleave(count, 0)
        seen = torch.cat([torch.tanh(masks / 4).flatten(0, 1)[:, None].to(fine), around], 1)
        finer: Tensor = masks + self.body(seen).unflatten(0, (batch, count))[:, :, 0]
        return finer
