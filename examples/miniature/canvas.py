"""The canvas, the camera, the colours and the textures of the procedural scenes."""

from dataclasses import dataclass

import cv2
import numpy as np

CLASSES = {
    'wall': 1, 'building': 2, 'sky': 3, 'floor': 4, 'tree': 5, 'ceiling': 6, 'road': 7, 'bed': 8,
    'windowpane': 9, 'grass': 10, 'sidewalk': 12, 'person': 13, 'table': 16, 'mountain': 17,
    'curtain': 19, 'car': 21, 'water': 22, 'painting': 23,
}
OTHER = 0  # the label of everything that belongs to none of the classes

STONE = [(.55, .53, .50), (.68, .61, .50), (.60, .42, .34), (.46, .46, .48), (.74, .71, .66)]
ASPHALT = [(.42, .41, .40), (.36, .36, .38)]
PASTEL = [(.78, .74, .64), (.62, .70, .72), (.72, .62, .58), (.62, .70, .58), (.58, .58, .66)]
WOOD = [(.58, .42, .27), (.44, .30, .20), (.70, .55, .38), (.50, .42, .36)]
GREEN = [(.40, .56, .22), (.48, .58, .25), (.36, .52, .24)]
LEAF = [(.22, .38, .16), (.30, .42, .15), (.18, .34, .20), (.45, .36, .14)]
BRIGHT = [(.75, .22, .20), (.20, .38, .65), (.85, .66, .22), (.82, .82, .80), (.28, .30, .34),
          (.30, .52, .42), (.55, .30, .48), (.62, .50, .40)]
SKIN = [(.93, .76, .64), (.78, .57, .43), (.50, .34, .25)]
SKIES = [((.28, .50, .82), (.74, .85, .94)), ((.58, .62, .68), (.80, .81, .82)),
         ((.36, .40, .62), (.96, .72, .52)), ((.45, .62, .80), (.90, .88, .80))]


@dataclass
class View:
    """A pinhole camera looking along +z, `cam` metres above the ground.

    (vx, hy) is the vanishing point in pixels, `f` the focal length in pixels.
    """

    vx: float
    hy: float
    f: float
    cam: float

    def project(self, points):
        """Map points (N, 3) in metres to pixels (N, 2)."""
        x, y, z = np.asarray(points, np.float32).T
        return np.stack([self.vx + self.f * x / z, self.hy + self.f * (self.cam - y) / z], 1)

    def foot(self, x, z):
        """Return the pixel (x, y) of a ground point and the pixels per metre at that depth."""
        px, py = self.project([(x, 0, z)])[0]
        return float(px), float(py), self.f / z


class Canvas:
    """An RGB image, float32 (H, W, 3) in 0..1, with its label map, uint8 (H, W)."""

    def __init__(self, image, label=OTHER):
        self.image = np.ascontiguousarray(image, np.float32)
        self.label = np.full(image.shape[:2], label, np.uint8)

    @property
    def shape(self):
        """Height and width in pixels."""
        return self.label.shape

    def polygon(self, points):
        """Return the antialiased mask, uint8 (H, W), of a polygon of (N, 2) pixels."""
        mask = np.zeros(self.shape, np.uint8)
        points = np.clip(np.asarray(points, np.float64), -8000, 8000)
        return cv2.fillPoly(mask, [np.int32(np.round(points * 16))], 255, cv2.LINE_AA, 4)

    def rectangle(self, x0, y0, x1, y1):
        """Return the mask of an axis-aligned rectangle."""
        return self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])

    def ellipse(self, x, y, rx, ry, start=0, end=360):
        """Return the mask of an ellipse, or of its sector from `start` to `end` degrees."""
        turn = np.radians(np.linspace(start, end, 33))
        return self.polygon(np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], 1))

    def stroke(self, points, width):
        """Return the mask of a round-ended line through the points, `width` pixels wide."""
        mask = np.zeros(self.shape, np.uint8)
        points = np.int32(np.round(np.asarray(points) * 16))
        return cv2.polylines(mask, [points], False, 255, max(1, round(width)), cv2.LINE_AA, 4)

    def paint(self, mask, texture, label=None):
        """Blend a texture in where the mask is set.

        The texture is a colour (3,) or an image (H, W, 3); the label is an int, a map (H, W), or
        None to keep the labels that are there.
        """
        x, y, w, h = cv2.boundingRect(mask)
        box = np.s_[y : y + h, x : x + w]
        alpha = mask[box][..., None] / np.float32(255)
        texture = np.asarray(texture, np.float32)
        texture = texture[box] if texture.ndim == 3 else texture
        self.image[box] += alpha * (texture - self.image[box])
        if label is not None:
            inside = mask[box] > 127
            self.label[box][inside] = label[box][inside] if np.ndim(label) else label

    def shade(self, mask, gain):
        """Multiply the image by `gain` (a number or (H, W)) where the mask is set."""
        self.paint(mask, self.image * np.atleast_3d(np.float32(gain)))

    def warp(self, panel, quad, gain=1.0, mist=0.0, mist_colour=(.8, .8, .8)):
        """Paint another canvas onto a quad of pixels (4, 2), clockwise from its upper left."""
        h, w = panel.shape
        corners = np.float32([(0, 0), (w, 0), (w, h), (0, h)])
        matrix = cv2.getPerspectiveTransform(corners, np.float32(quad))
        size = self.shape[::-1]
        image, label = (
            cv2.warpPerspective(x, matrix, size, flags=flag, borderMode=cv2.BORDER_REPLICATE)
            for x, flag in ((panel.image, cv2.INTER_LINEAR), (panel.label, cv2.INTER_NEAREST))
        )
        image = image * gain * (1 - mist) + np.float32(mist_colour) * mist
        self.paint(self.polygon(quad), image, label)


def tone(rng, palette, jitter=0.03):
    """Draw a colour near one of a palette, (3,) float32."""
    colour = np.float32(palette[rng.integers(len(palette))])
    colour = colour * rng.uniform(0.88, 1.1) + rng.normal(0, jitter, 3)
    return np.clip(colour, 0.05, 0.97).astype(np.float32)


def noise(rng, shape, cell, octaves=1):
    """Draw smooth noise of about -1..1 with features `cell` pixels (a number or (y, x)) large."""
    cell = np.broadcast_to(np.float64(cell), 2)
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        step = np.maximum(cell / 2**octave, 1)
        grid = rng.uniform(-1, 1, np.int64(np.ceil(shape / step)) + 1).astype(np.float32)
        total += cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC) * 0.6**octave
    return total


def tinted(colour, *variations):
    """Return an image (H, W, 3): a colour brightened by the sum of (H, W) variations."""
    return np.clip(np.float32(colour) * (1 + sum(variations))[..., None], 0, 1)


def speckled(rng, shape, colour, amount=0.08):
    """Asphalt or plaster: fine grain over broad stains."""
    return tinted(colour, amount * noise(rng, shape, 2), 0.5 * amount * noise(rng, shape, 40, 2))


def blocks(rng, shape, colour, cell, contrast=0.08, grain=1, offset=0.5):
    """Bricks, tiles or boards of `cell` = (height, width) pixels between darker joints."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    row = y / cell[0]
    column = x / cell[1] + offset * (row.astype(int) % 2)
    tint = rng.normal(0, contrast, (int(row.max()) + 1, int(column.max()) + 1))
    image = tinted(colour, tint[row.astype(int), column.astype(int)].astype(np.float32),
                   0.09 * noise(rng, shape, (2, 2 * grain)))
    image[(row % 1 < 1.3 / cell[0]) | (column % 1 < 1.3 / cell[1])] *= 0.68
    return image


def striped(rng, shape, colour, period, amount=0.05):
    """Wallpaper stripes `period` pixels apart."""
    wave = np.sign(np.sin(np.arange(shape[1]) * 2 * np.pi / period)).astype(np.float32)
    return tinted(colour, amount * wave[None] * np.ones(shape, np.float32),
                  0.03 * noise(rng, shape, 2))


def lawn(rng, shape, colour):
    """Grass: upright blades over broad patches, coarser towards the bottom."""
    blades = 0.22 * noise(rng, shape, (5, 1.6)) + 0.12 * noise(rng, shape, (9, 3))
    depth = np.linspace(0.35, 1, shape[0], dtype=np.float32)[:, None]
    return tinted(colour, blades * depth, 0.16 * noise(rng, shape, (12, 40), 2))


def leaves(rng, shape, colour):
    """Foliage: round dark and light clumps."""
    return tinted(colour, 0.35 * noise(rng, shape, 9, 2), 0.16 * noise(rng, shape, 3))
