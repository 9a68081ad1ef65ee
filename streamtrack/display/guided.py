"""The colour guided filter: smooth a mask along the picture's edges, not across them."""

from collections.abc import Sequence

import cv2
import numpy as np

from streamtrack.display.flow import Image, Picture


def guided_filter(
    colours: Picture, mask: Image, step: int = 1, radius: int = 3, eps: float = 1e-4
) -> Image:
    """Return a mask made locally linear in the picture's colours (He et al., ECCV 2010).

    Args:
        colours: (h, w, 3) uint8 RGB.
        mask: (h, w) float32, 0 to 1.
        step: the fits are made on an image smaller by this factor (arXiv:1505.00996).
        radius: of the windows, in pixels.
        eps: variance of colour, each channel in [0, 1], below which an area counts as flat.
    """
    size = mask.shape[1], mask.shape[0]
    red, green, blue = cv2.split(colours.astype(np.float32) * np.float32(1 / 255))
    if step == 1:
        slopes = _guide_fit((red, green, blue, mask), radius, eps)
    else:
        smaller = max(1, size[0] // step), max(1, size[1] // step)
        planes = [
            cv2.resize(one, smaller, interpolation=cv2.INTER_AREA)
            for one in (red, green, blue, mask)
        ]
        fitted = _guide_fit(planes, max(1, radius // step), eps)
        slopes = [cv2.resize(one, size) for one in fitted]
    return slopes[0] * red + slopes[1] * green + slopes[2] * blue + slopes[3]


def _guide_fit(planes: Sequence[Image], radius: int, eps: float) -> list[Image]:
    """Return the mean slope in each colour and the mean rest of the fits around each pixel.

    Args:
        planes: red, green, blue and the mask, each (h, w) float32 in [0, 1].
        radius: of the windows.
        eps: added to the variances.
    """
    red, green, blue, mask = planes
    side = (2 * radius + 1, 2 * radius + 1)

    def mean(image: Image) -> Image:
        return cv2.blur(image, side)

    mr, mg, mb, mp = mean(red), mean(green), mean(blue), mean(mask)
    # Covariances of the colours with the mask, and among themselves.
    cr = mean(red * mask) - mr * mp
    cg = mean(green * mask) - mg * mp
    cb = mean(blue * mask) - mb * mp
    rr, gg, bb = (mean(c * c) - m * m + eps for c, m in ((red, mr), (green, mg), (blue, mb)))
    rg = mean(red * green) - mr * mg
    rb = mean(red * blue) - mr * mb
    gb = mean(green * blue) - mg * mb
    # Invert the symmetric 3 x 3 matrix by its adjugate.
    irr, irg, irb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    igg, igb, ibb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    scale = 1 / (irr * rr + irg * rg + irb * rb)
    ar = (irr * cr + irg * cg + irb * cb) * scale
    ag = (irg * cr + igg * cg + igb * cb) * scale
    ab = (irb * cr + igb * cg + ibb * cb) * scale
    return [mean(one) for one in (ar, ag, ab, mp - ar * mr - ag * mg - ab * mb)]
