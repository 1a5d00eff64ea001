"""Pictures of one object each, for classification: an object of a class before a wall or a hedge.

Place, size, ground, backdrop, clutter and light are drawn without regard to the class, so that single
pixels say little about it; the shape says it.
"""

import numpy as np

from .canvas import (
    ASPHALT,
    BRIGHT,
    GREEN,
    LEAF,
    OTHER,
    PASTEL,
    STONE,
    WOOD,
    Canvas,
    View,
    blocks,
    lawn,
    leaves,
    noise,
    speckled,
    striped,
    tinted,
    tone,
)
from .objects import (
    draw_bed,
    draw_box,
    draw_car,
    draw_house,
    draw_person,
    draw_shadow,
    draw_table,
    draw_tree,
    facade,
    hang_curtain,
    hang_painting,
    hang_window,
)
from .scenes import light


def draw_tower(canvas, rng, view, x, z):
    """Draw a block of flats whose middle stands at (x, z) metres."""
    w, h = rng.uniform(5.5, 8), rng.uniform(14, 18)
    colour = tone(rng, STONE + PASTEL)
    front, side = (facade(rng, width, h, 10, colour, shop=False) for width in (w, w / 2))
    draw_box(canvas, view, (x - w / 2, 0, z), (x + w / 2, h, z + w / 2), front, side, side)


def draw_lamp(canvas, rng, view, x, z):
    """Draw a street lamp with one arm or two at (x, z) metres."""
    px, py, unit = view.foot(x, z)
    size = rng.uniform(4.5, 5.5) * unit
    metal, glow = tone(rng, [(.25, .27, .3), (.45, .46, .48), (.3, .42, .36)]), tone(rng, [(.97, .92, .7)])
    draw_shadow(canvas, px, py, 0.15 * size, 0.03 * size)
    canvas.paint(canvas.stroke([(px, py), (px, py - 0.8 * size)], 0.04 * size), metal)
    canvas.paint(canvas.polygon([(px - 0.06 * size, py), (px - 0.03 * size, py - 0.12 * size),
                                 (px + 0.03 * size, py - 0.12 * size), (px + 0.06 * size, py)]), metal)
    for side in ((-1, 1), (1,), (-1,))[rng.integers(3)]:
        arm = [(px + side * t * 0.26 * size, py - (0.8 + 0.18 * np.sin(t * 2)) * size)
               for t in np.linspace(0, 1, 9)]
        canvas.paint(canvas.stroke(arm, 0.03 * size), metal)
        (hx, hy) = arm[-1]
        canvas.paint(canvas.ellipse(hx, hy + 0.03 * size, 0.06 * size, 0.06 * size), glow)
        canvas.paint(canvas.ellipse(hx, hy, 0.1 * size, 0.055 * size, 180, 360), metal)


def draw_tent(canvas, rng, view, x, z):
    """Draw a ridge tent with an open front at (x, z) metres."""
    px, py, unit = view.foot(x, z)
    w, h, lean = rng.uniform(2.6, 3.4) * unit, rng.uniform(1.7, 2.2) * unit, rng.choice([-1, 1])
    cloth = tone(rng, BRIGHT)
    back = lean * rng.uniform(0.35, 0.6) * w
    draw_shadow(canvas, px, py, 0.65 * w, 0.08 * h)
    side = [(px, py - h), (px + back, py - 0.93 * h), (px + back + lean * 0.45 * w, py - 0.12 * h),
            (px + lean * 0.5 * w, py)]
    canvas.paint(canvas.polygon(side), cloth * 0.72)
    canvas.paint(canvas.polygon([(px, py - h), (px - 0.5 * w, py), (px + 0.5 * w, py)]), cloth)
    gap = rng.uniform(0.12, 0.22) * w
    canvas.paint(canvas.polygon([(px, py - 0.85 * h), (px - gap, py), (px + gap, py)]), cloth * 0.25)
    canvas.paint(canvas.stroke([(px, py - h), (px, py - 0.85 * h)], 0.02 * h), (.9, .9, .88))


# Class -> how to draw it and the metres that the side of its picture spans.
STANDING = {
    'bed': (draw_bed, 2.4), 'car': (draw_car, 3.6), 'house': (draw_house, 7.5), 'lamp': (draw_lamp, 5.5),
    'person': (draw_person, 3.0), 'table': (draw_table, 2.3), 'tent': (draw_tent, 3.6),
    'tower': (draw_tower, 17.0), 'tree': (draw_tree, 6.2),
}
# Class -> how to hang it and its width over its height.
HANGING = {'curtain': (hang_curtain, (0.5, 0.9)), 'painting': (hang_painting, (0.7, 1.5)),
           'window': (hang_window, (0.6, 1.1))}
OBJECT_CLASSES = tuple(sorted({**STANDING, **HANGING}))


def surface(rng, shape):
    """Return a wall, a floor, a lawn or a hedge, (H, W, 3), of any colour."""
    colour = tone(rng, STONE + ASPHALT + PASTEL + WOOD + GREEN + BRIGHT, 0.06)
    cell = rng.uniform(0.05, 0.2, 2) * min(shape)
    kinds = (
        lambda: speckled(rng, shape, colour, 0.12),
        lambda: blocks(rng, shape, colour, cell),
        lambda: striped(rng, shape, colour, cell[0]),
        lambda: lawn(rng, shape, tone(rng, GREEN)),
        lambda: leaves(rng, shape, tone(rng, LEAF)),
        lambda: tinted(colour, 0.2 * noise(rng, shape, cell, 3)),
    )
    return kinds[rng.integers(len(kinds))]()


def clutter(canvas, rng):
    """Scatter flat patches of any colour, smaller than the object will be."""
    h, w = canvas.shape
    for _ in range(rng.integers(0, 6)):
        x, y, rx, ry = rng.uniform(0, w), rng.uniform(0, h), *rng.uniform(0.03, 0.11, 2) * min(h, w)
        box = (x - rx, y - ry, x + rx, y + ry)
        mask = canvas.ellipse(x, y, rx, ry) if rng.random() < 0.5 else canvas.rectangle(*box)
        canvas.paint(mask, tone(rng, BRIGHT + STONE + WOOD, 0.06))


def render_object(rng, name, size=(128, 128)):
    """Render one picture of an object.

    Args:
        rng: numpy Generator; the picture is a pure function of its state and the name.
        name: one of `OBJECT_CLASSES`.
        size: (height, width) in pixels, at least 64 each; (128, 128) by default.

    Returns:
        The image, uint8 RGB (H, W, 3).
    """
    h, w = size
    canvas = Canvas(surface(rng, size))
    edge = rng.uniform(0.3, 0.75) * h
    canvas.paint(canvas.rectangle(0, edge, w, h), surface(rng, size), OTHER)
    clutter(canvas, rng)
    own = np.random.default_rng(rng.integers(2**63))  # the object's: the rest is the same for every class
    share = rng.uniform(0.4, 0.85)
    x, y = rng.uniform(0.28, 0.72, 2) * (w, h)
    if name in HANGING:
        hang, ratios = HANGING[name]
        ratio = own.uniform(*ratios)
        tall = 0.75 * share * min(h, w) / max(ratio, 1)
        hang(canvas, own, x - tall * ratio / 2, y - tall / 2, tall * ratio, tall)
    else:
        draw, metres = STANDING[name]
        unit = share * min(h, w) / metres
        foot = min(y + 0.45 * share * h, 0.98 * h)
        view = View(own.uniform(0.3, 0.7) * w, own.uniform(0.1, 0.6) * foot, 0.95 * min(h, w), 1.0)
        z = view.f / unit
        view.cam = (foot - view.hy) / unit
        options = (bool(own.random() < 0.5),) if name == 'car' else ()
        draw(canvas, own, view, (x - view.vx) / unit, z, *options)
    tint = rng.uniform(0.7, 1.25) * rng.uniform(0.85, 1.15, 3)
    image = light(canvas.image * np.float32(tint), rng)
    return np.uint8(np.clip(image, 0, 1) * 255 + 0.5)
