"""Procedural scenes labelled with ADE20K classes.

Every scene is a small world in metres (x to the right, y up, z away from the camera) seen through
a pinhole :class:`View`. Surfaces are flat panels warped onto the quads they project to; objects
stand on the ground and are drawn from back to front. Colours are RGB in 0..1 until
:func:`render_scene` quantises them.
"""

import cv2
import numpy as np

from .canvas import (
    ASPHALT,
    BRIGHT,
    CLASSES,
    GREEN,
    OTHER,
    PASTEL,
    STONE,
    WOOD,
    Canvas,
    View,
    blocks,
    lawn,
    noise,
    speckled,
    striped,
    tinted,
    tone,
)
from .objects import (
    draw_box,
    draw_ground,
    draw_mountains,
    draw_objects,
    draw_sky,
    facade,
    hang_curtain,
    hang_painting,
    hang_window,
)


def outdoor_view(rng, size, cam):
    """Return a random outdoor view for an image of size (H, W)."""
    h, w = size
    return View(rng.uniform(0.36, 0.64) * w, rng.uniform(0.36, 0.5) * h, 0.95 * min(h, w), cam)


def draw_street(canvas, rng):
    """Fill the canvas with a street running to the vanishing point."""
    view = outdoor_view(rng, canvas.shape, rng.uniform(3.0, 4.0))
    haze = draw_sky(canvas, rng)
    draw_mountains(canvas, rng, view.hy + 3, rng.uniform(0.08, 0.25) * canvas.shape[0], haze)
    green, stone, asphalt = tone(rng, GREEN), tone(rng, STONE[1:3] + STONE[4:]), tone(rng, ASPHALT)
    kerb, edge = rng.uniform(2.4, 3.2), rng.uniform(5.2, 6.4)
    tile = rng.uniform(0.5, 0.9)
    draw_ground(canvas, view, -400, 400, lambda s, _: lawn(rng, s, green), CLASSES['grass'],
                haze=haze)
    for x0, x1 in ((-edge, -kerb), (kerb, edge)):
        draw_ground(canvas, view, x0, x1, lambda s, k: blocks(rng, s, stone, (tile * k, tile * k)),
                    CLASSES['sidewalk'], haze=haze)
    draw_ground(canvas, view, -kerb, kerb, lambda s, _: speckled(rng, s, asphalt, 0.12),
                CLASSES['road'], haze=haze)
    for z in np.arange(3, 40, 3.5):
        dash = view.project([(-0.1, 0, z + 1.5), (0.1, 0, z + 1.5), (0.1, 0, z), (-0.1, 0, z)])
        canvas.paint(canvas.polygon(dash), (.88, .86, .78))
    sun, places = rng.choice([-1, 1]), []
    open_side = rng.choice([-1, 0, 1])
    for side in (-1, 1):
        cuts = [3.0]
        while cuts[-1] < 55:
            cuts.append(cuts[-1] + rng.uniform(5, 9))
        for z0, z1 in reversed(list(zip(cuts, cuts[1:]))):
            if side == open_side:
                places.append(('tree', side * rng.uniform(edge + 1, edge + 5), z0 + 5))
                continue
            height, colour = rng.uniform(5.5, 11), tone(rng, STONE + PASTEL)
            scale = min(26, 26 * 14 / z1)
            low = (edge, 0, z0) if side > 0 else (-edge - 7, 0, z0)
            high = (edge + 7, height, z1) if side > 0 else (-edge, height, z1)
            draw_box(canvas, view, low, high, facade(rng, 7, height, scale, colour, shop=False),
                     facade(rng, z1 - z0, height, scale, colour), None,
                     (0.75, 1.08 if side == sun else 0.7, 1))
        places += [('tree', side * (kerb + 0.8), z) for z in rng.uniform(9, 30, rng.integers(0, 3))]
        if rng.random() < 0.6:
            x = rng.uniform(-0.5, kerb + 0.7)
            places.append(('person', side * x, rng.uniform(6.5, 9) + max(0, x - 2)))
        if rng.random() < 0.75:
            places.append(('car', side * kerb * 0.52, rng.uniform(7.5, 15)))
    draw_objects(canvas, rng, view, places)


def draw_landscape(canvas, rng):
    """Fill the canvas with a meadow, mountains and, by chance, a lake, a road, a house, people."""
    view = outdoor_view(rng, canvas.shape, rng.uniform(2.6, 3.4))
    haze = draw_sky(canvas, rng)
    h, w = canvas.shape
    for height in rng.uniform((0.22, 0.1), (0.36, 0.2)) * h:
        draw_mountains(canvas, rng, view.hy + 3, height, haze)
    green = tone(rng, GREEN)
    draw_ground(canvas, view, -400, 400, lambda s, _: lawn(rng, s, green), CLASSES['grass'],
                haze=haze)
    places = [('tree', x, z) for x, z in zip(rng.uniform(-9, 9, 4), rng.uniform(9, 26, 4))]
    if rng.random() < 0.75:
        shore = rng.uniform(9, 12)
        draw_water(canvas, rng, view, (shore, rng.choice([40, 200])), haze)
        places = [('tree', x, rng.uniform(7.5, shore - 0.5)) for _, x, _ in places[:2]]
    elif rng.random() < 0.8:
        places.append(('building', rng.uniform(-5, 5), rng.uniform(13, 18)))
    if rng.random() < 0.45:
        asphalt = tone(rng, ASPHALT)
        draw_ground(canvas, view, -9, 9, lambda s, _: speckled(rng, s, asphalt, 0.12),
                    CLASSES['road'], (5.2, 7.6), haze)
        places.append(('car', rng.uniform(-2, 2), 6.6, True))
    elif rng.random() < 0.8:
        places.append(('person', rng.uniform(-2, 2), rng.uniform(5, 7)))
    draw_objects(canvas, rng, view, places)


def draw_water(canvas, rng, view, z, haze):
    """Draw a lake (water) from depth z[0] to z[1] metres that mirrors what stands behind it."""
    near, far = (view.foot(0, depth)[1] for depth in z)
    x = np.arange(canvas.shape[1])
    shore = near + 5 * noise(rng, (2, len(x)), 50, 2)[0]
    outline = np.concatenate([[(len(x), far), (0, far)], np.stack([x, shore], 1)])
    rows = np.clip(np.int64(2 * far - np.arange(canvas.shape[0])), 0, canvas.shape[0] - 1)
    mirror = cv2.blur(canvas.image[rows], (3, 9))
    colour = tone(rng, [(.30, .45, .58), (.34, .50, .50), (.42, .50, .56)])
    ripples = 0.16 * noise(rng, canvas.shape, (2, 24)) + 0.1 * noise(rng, canvas.shape, (4, 60), 2)
    water = tinted(colour, ripples) * 0.6 + 0.4 * mirror
    canvas.paint(canvas.polygon(outline), water, CLASSES['water'])


def draw_room(canvas, rng):
    """Fill the canvas with a furnished room seen from one end."""
    (h, w), ppm = canvas.shape, 60
    unit = min(h, w)
    centre = rng.uniform(0.42, 0.58) * w, rng.uniform(0.42, 0.52) * h
    view = View(*centre, 0.8 * unit, rng.uniform(1.5, 1.8))
    left, right = -rng.uniform(1.9, 2.6), rng.uniform(1.9, 2.6)
    height, depth = rng.uniform(2.6, 3.0), rng.uniform(3.9, 4.8)
    paper, stripes = tone(rng, PASTEL), rng.random() < 0.5

    def wall(length):
        shape = (int(height * ppm), int(length * ppm))
        image = striped(rng, shape, paper, 24) if stripes else speckled(rng, shape, paper, 0.05)
        panel = Canvas(image, CLASSES['wall'])
        panel.paint(panel.rectangle(0, shape[0] - 8, shape[1], shape[0]), (.85, .83, .80))
        return panel

    def furnish(panel, x, width, with_window):
        x, width, y = x * ppm, width * ppm, 0.6 * ppm
        if not with_window:
            hang_painting(panel, rng, x + 0.1 * width, y, 0.8 * width, rng.uniform(0.9, 1.3) * ppm)
            return
        hang_window(panel, rng, x + 0.2 * width, y, 0.6 * width, 1.4 * ppm)
        if rng.random() < 0.75:
            state = rng.bit_generator.state
            for start in (x - 0.08 * width, x + 0.7 * width):
                rng.bit_generator.state = state
                hang_curtain(panel, rng, start, 0.35 * ppm, 0.38 * width, 2.0 * ppm)

    boards, lid = tone(rng, WOOD[:3]), tone(rng, [(.86, .85, .82), (.80, .80, .80)])
    cell = (0.25, 2.0) if rng.random() < 0.6 else (0.6, 0.6)
    floor = blocks(rng, (int((depth - 1) * ppm), int((right - left) * ppm)), boards,
                   (cell[0] * ppm, cell[1] * ppm), 0.08, 6)
    ceiling = speckled(rng, (120, 120), lid, 0.03)
    back, sides = wall(right - left), [wall(depth - 1), wall(depth - 1)]
    order = rng.random(2) < 0.6
    half = (right - left) / 2
    furnish(back, 0.1, half - 0.2, order[0])
    furnish(back, half + 0.1, half - 0.2, not order[0])
    furnish(sides[0], 1.2, 1.8, order[1])
    furnish(sides[1], depth - 4, 1.8, not order[1])
    n, f = 1.0, depth
    gains = rng.uniform(0.85, 1.05, 3)
    canvas.warp(Canvas(ceiling, CLASSES['ceiling']), view.project(
        [(left, height, n), (right, height, n), (right, height, f), (left, height, f)]), 1.05)
    canvas.warp(Canvas(floor, CLASSES['floor']), view.project(
        [(left, 0, f), (right, 0, f), (right, 0, n), (left, 0, n)]))
    canvas.warp(sides[0], view.project(
        [(left, height, n), (left, height, f), (left, 0, f), (left, 0, n)]), gains[0])
    canvas.warp(sides[1], view.project(
        [(right, height, f), (right, height, n), (right, 0, n), (right, 0, f)]), gains[1])
    canvas.warp(back, view.project(
        [(left, height, f), (right, height, f), (right, 0, f), (left, 0, f)]), gains[2])
    lamp = view.project([(0, height, depth * 0.7)])[0]
    canvas.paint(canvas.ellipse(*lamp, 0.10 * unit, 0.025 * unit), (1.0, .95, .8), OTHER)
    rug = Canvas(striped(rng, (60, 90), tone(rng, BRIGHT), 12, 0.2), OTHER)
    canvas.warp(rug, view.project([(-.6, 0, f - 1), (.6, 0, f - 1), (.6, 0, 2.3), (-.6, 0, 2.3)]))
    side = rng.choice([-1, 1])
    places = []
    kinds = rng.random()
    if kinds < 0.75:
        places.append(('bed', side * rng.uniform(0.8, 1.0), depth - 2.25))
    if kinds > 0.2:
        places.append(('table', -side * rng.uniform(0.9, 1.1), rng.uniform(2.0, depth - 1.3)))
    draw_objects(canvas, rng, view, places)


SCENES = {'room': draw_room, 'street': draw_street, 'landscape': draw_landscape}


def light(image, rng):
    """Apply random exposure, colour temperature, a gradient, vignetting and sensor noise."""
    h, w = image.shape[:2]
    warmth = rng.uniform(-0.06, 0.06)
    gain = rng.uniform(0.82, 1.12) * np.float32((1 + warmth, 1, 1 - warmth))
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j].astype(np.float32)
    slope = rng.uniform(-0.12, 0.12, 2)
    fall = 1 + slope[0] * x + slope[1] * y - 0.1 * (x**2 + y**2)
    return image * gain * fall[..., None] + rng.normal(0, rng.uniform(0.008, 0.025), image.shape)


def render_scene(rng, size=(256, 256), kind=None):
    """Render one scene.

    Args:
        rng: numpy Generator; the scene is a pure function of its state.
        size: (height, width) in pixels, at least 64 each; (256, 256) by default.
        kind: a key of `SCENES`, or None (default) to draw one at random.

    Returns:
        The image, uint8 RGB (H, W, 3), and its labels, uint8 (H, W): 0 or a value of `CLASSES`.
    """
    kind = kind or list(SCENES)[rng.integers(len(SCENES))]
    canvas = Canvas(np.zeros((*size, 3), np.float32))
    SCENES[kind](canvas, rng)
    return np.uint8(np.clip(light(canvas.image, rng), 0, 1) * 255 + 0.5), canvas.label
