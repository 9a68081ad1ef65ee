/** From the place of a pointer on the page to a place in the frame, and back. */

/**
 * The rectangle of the picture inside its element, in CSS pixels from the element's corner.
 * `box` and `size` are {width, height} of the element and of the frame; `fit` is its object-fit.
 */
export function contentRect(box, size, fit = "contain") {
  const across = box.width / size.width;
  const down = box.height / size.height;
  if (fit === "fill") return { x: 0, y: 0, width: box.width, height: box.height };
  const scale = fit === "cover" ? Math.max(across, down) : Math.min(across, down);
  const width = size.width * scale;
  const height = size.height * scale;
  return { x: (box.width - width) / 2, y: (box.height - height) / 2, width, height };
}

/**
 * A page position as a place in the frame, normalised to [0, 1]: the centre of the frame's pixel
 * under it. Outside the picture it is the nearest edge pixel, and `inside` is false.
 * Positions and `box` (left, top, width, height) are CSS pixels, so device pixels never matter.
 */
export function toFrame(clientX, clientY, box, size, { fit = "contain", mirror = false } = {}) {
  const rect = contentRect(box, size, fit);
  const across = (clientX - box.left - rect.x) / rect.width;
  const down = (clientY - box.top - rect.y) / rect.height;
  const inside = across >= 0 && across < 1 && down >= 0 && down < 1;
  const x = pixelCentre(across, size.width);
  return { x: mirror ? 1 - x : x, y: pixelCentre(down, size.height), inside };
}

/** A normalised place in the frame as a position in the element, in CSS pixels from its corner. */
export function toElement(x, y, box, size, { fit = "contain", mirror = false } = {}) {
  const rect = contentRect(box, size, fit);
  return { x: rect.x + (mirror ? 1 - x : x) * rect.width, y: rect.y + y * rect.height };
}

/** A normalised box [x0, y0, x1, y1] with its corners in order, from two corners. */
export function boxBetween(a, b) {
  return [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)];
}

/** Pixels are half-open: pixel i of n covers [i/n, (i+1)/n) and its centre is (i + 0.5)/n. */
function pixelCentre(fraction, pixels) {
  const index = Math.min(pixels - 1, Math.max(0, Math.floor(fraction * pixels)));
  return (index + 0.5) / pixels;
}
