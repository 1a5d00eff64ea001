"""Surfaces, objects and wall items of the procedural scenes."""

import cv2
import numpy as np

from .canvas import (
    BRIGHT,
    CLASSES,
    GREEN,
    LEAF,
    OTHER,
    PASTEL,
    SKIES,
    SKIN,
    STONE,
    WOOD,
    Canvas,
    blocks,
    leaves,
    noise,
    speckled,
    striped,
    tinted,
    tone,
)


def draw_sky(canvas, rng):
    """Fill the canvas with a sky and clouds; return the haze colour at the horizon."""
    top, horizon = (tone(rng, [c], 0.03) for c in SKIES[rng.integers(len(SKIES))])
    h, w = canvas.shape
    fall = np.clip(np.linspace(0, 1.7, h), 0, 1)[:, None, None]
    image = (top * (1 - fall) + horizon * fall) * np.ones((1, w, 1))
    cover = noise(rng, (h, w), (h / 7, w / 3), 4) + rng.uniform(-0.6, 0.35)
    cover = np.clip(cover * 1.6, 0, 0.9)[..., None]
    light = 0.97 - 0.12 * np.clip(noise(rng, (h, w), (h / 9, w / 4), 3), -1, 1)[..., None]
    canvas.image[:] = image * (1 - cover) + (0.35 * horizon + 0.65) * light * cover
    canvas.label[:] = CLASSES['sky']
    return horizon


def draw_mountains(canvas, rng, horizon, height, haze):
    """Draw one ridge whose foot is at row `horizon` and whose peaks rise about `height` pixels."""
    h, w = canvas.shape
    x = np.arange(w)
    peaks = sum(
        np.maximum(0, rng.uniform(0.5, 1) - abs(x - c) / (rng.uniform(0.25, 0.5) * w))
        for c in w * (np.arange(3) * 0.5 + rng.uniform(-0.2, 0.2, 3))
    )
    ridge = horizon - height * (0.25 + 0.75 * peaks / peaks.max())
    ridge -= 4 * noise(rng, (2, w), 14, 3)[0]
    relief = noise(rng, (h, w), (40, 24), 3)
    slope = np.clip(cv2.Sobel(relief, cv2.CV_32F, 1, 0) * 0.9 + relief * 0.15, -0.4, 0.4)
    colour = tone(rng, [(.42, .46, .54), (.50, .46, .42), (.36, .44, .38), (.48, .55, .66)])
    image = tinted(colour, slope)
    y = np.arange(h)[:, None]
    if rng.random() < 0.6:
        snow = (y < horizon - 0.55 * height + 12 * relief)[..., None]
        image = np.where(snow, np.clip(0.88 + 0.5 * slope[..., None], 0, 1), image)
    mist = np.clip(1 - (horizon - y) / height, 0.1, 0.75)[..., None] * 0.8
    base = [(w, ridge[-1]), (w, horizon), (0, horizon)]
    outline = np.concatenate([np.stack([x, ridge], 1), base])
    canvas.paint(canvas.polygon(outline), image * (1 - mist) + haze * mist, CLASSES['mountain'])


def draw_ground(canvas, view, x0, x1, texture, label, z=(1.5, 400.0), haze=(.8, .8, .8)):
    """Cover a strip of the ground; `texture(shape, scale)` has `scale` pixels a metre."""
    edges = [z[0], *(e for e in (5.0, 12.0, 30.0, 90.0) if z[0] < e < z[1]), z[1]]
    wide = (x0, x1)
    for near, far in reversed(list(zip(edges, edges[1:]))):
        x0, x1 = np.clip(wide, -far, far)
        scale = min(90 * 3 / near, 220 / (far - near), 400 / (x1 - x0))
        shape = (max(4, int((far - near) * scale)), max(4, int((x1 - x0) * scale)))
        corners = [(x0, 0, far), (x1, 0, far), (x1, 0, near), (x0, 0, near)]
        canvas.warp(Canvas(texture(shape, scale), label), view.project(corners),
                    mist=0.45 * (1 - np.exp(-near / 25)), mist_colour=haze)


def draw_box(canvas, view, low, high, front, side, top, gains=(1.0, 0.75, 1.1)):
    """Draw the visible faces of a box from corner `low` to `high` (x, y, z) as panels."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    if y1 < view.cam:
        quad = [(x0, y1, z1), (x1, y1, z1), (x1, y1, z0), (x0, y1, z0)]
        canvas.warp(top, view.project(quad), gains[2])
    if x0 > 0 or x1 < 0:
        x = x0 if x0 > 0 else x1
        quad = [(x, y1, z1), (x, y1, z0), (x, y0, z0), (x, y0, z1)]
        canvas.warp(side, view.project(quad), gains[1])
    quad = [(x0, y1, z0), (x1, y1, z0), (x1, y0, z0), (x0, y0, z0)]
    canvas.warp(front, view.project(quad), gains[0])


def draw_shadow(canvas, x, y, rx, ry):
    """Darken a soft ellipse on the ground."""
    mask = cv2.GaussianBlur(canvas.ellipse(x, y, rx, ry), (0, 0), max(1.0, ry / 2))
    canvas.shade(mask, 0.55)


def facade(rng, width, height, scale, colour, shop=True):
    """Return the panel of a house front with rows of windows; sizes in metres, `scale` px/m."""
    shape = (max(8, int(height * scale)), max(8, int(width * scale)))
    style = rng.integers(3)
    if style == 0:
        wall = blocks(rng, shape, colour, (0.35 * scale, 0.9 * scale))
    elif style == 1:
        wall = speckled(rng, shape, colour, 0.1)
    else:
        wall = blocks(rng, shape, colour, (0.9 * scale, 1.8 * scale), 0.05)
    panel = Canvas(wall, CLASSES['building'])
    frame = np.clip(colour * rng.choice([0.5, 1.45]), 0, 1)
    glass = tone(rng, [(.24, .30, .38), (.36, .46, .56), (.20, .22, .25)])
    bays, floors = max(1, round(width / 2.4)), max(1, round(height / 3))
    for row, column in np.ndindex(floors, bays):
        ground = row == floors - 1
        bay, storey = shape[1] / bays, shape[0] / floors
        half = bay * (0.38 if ground and shop else 0.27)
        x, y = (column + 0.5) * bay, (row + 0.22) * storey
        y1 = y + storey * (0.72 if ground and shop else 0.55)
        rim = 0.14 * scale
        panel.paint(panel.rectangle(x - half - rim, y - rim, x + half + rim, y1 + rim), frame)
        lit = np.float32((.95, .85, .55)) if rng.random() < 0.15 else glass * rng.uniform(0.7, 1.4)
        panel.paint(panel.rectangle(x - half, y, x + half, y1), np.clip(lit, 0, 1))
        panel.shade(panel.polygon([(x - half, y), (x + half, y), (x - half, y1)]), 1.25)
        panel.paint(panel.rectangle(x - rim / 3, y, x + rim / 3, y1), frame)
    if shop:
        y = shape[0] * (1 - 0.86 / floors)
        awning = striped(rng, shape, tone(rng, BRIGHT), 0.8 * scale, 0.3)
        panel.paint(panel.rectangle(0, y, shape[1], y + 0.5 * scale), awning)
    panel.paint(panel.rectangle(0, 0, shape[1], 0.4 * scale), frame)
    return panel


def draw_house(canvas, rng, view, x, z):
    """Draw a cottage (building) whose middle stands at (x, z) metres."""
    w, h, d = rng.uniform(4.5, 7), rng.uniform(2.8, 4.2), rng.uniform(3, 5)
    colour = tone(rng, STONE)
    front = facade(rng, w, h, 28, colour, shop=False)
    side = facade(rng, d, h, 28, colour, shop=False)
    low, high = (x - w / 2, 0, z), (x + w / 2, h, z + d)
    draw_box(canvas, view, low, high, front, side, side)
    (a, b, c), rise = (low[0] - 0.4, high[0] + 0.4, h - 0.1), rng.uniform(1.6, 2.4)
    roof = Canvas(blocks(rng, (70, 150), tone(rng, STONE + WOOD[:2]), (9, 12)), CLASSES['building'])
    ridge = [(a + 0.9, c + rise, z + d / 2), (b - 0.9, c + rise, z + d / 2)]
    canvas.warp(roof, view.project([*ridge, (b, c, z - 0.4), (a, c, z - 0.4)]), 0.85)


def draw_tree(canvas, rng, view, x, z):
    """Draw a broadleaf tree or a conifer (tree) rooted at (x, z) metres."""
    px, py, unit = view.foot(x, z)
    height = rng.uniform(4.5, 7) * unit
    draw_shadow(canvas, px, py, 0.3 * height, 0.05 * height)
    trunk, label = 0.045 * height, CLASSES['tree']
    mask = canvas.polygon([(px - trunk, py), (px - 0.6 * trunk, py - 0.5 * height),
                           (px + 0.6 * trunk, py - 0.5 * height), (px + trunk, py)])
    canvas.paint(mask, leaves(rng, canvas.shape, tone(rng, [(.36, .27, .20)])), label)
    texture = leaves(rng, canvas.shape, tone(rng, LEAF))
    if rng.random() < 0.4:
        for level in range(5):
            y, half = py - (0.14 + 0.16 * level) * height, (0.27 - 0.045 * level) * height
            tip = y - 0.3 * height
            zigzag = [(px + half * t, y + 0.03 * height * (-1) ** i)
                      for i, t in enumerate(np.linspace(1, -1, 9))]
            canvas.paint(canvas.polygon([(px, tip), *zigzag]), texture * (0.7 + 0.1 * level), label)
        return
    for i in range(16):
        turn, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1)
        up = 1 - 2 * i / 15 if i < 15 else 0
        cx = px + 0.2 * height * reach * np.cos(turn)
        cy = py - 0.64 * height + 0.2 * height * up
        r = height * rng.uniform(0.12, 0.17)
        canvas.paint(canvas.ellipse(cx, cy, r, r), texture * (0.9 - 0.3 * up), label)


def draw_person(canvas, rng, view, x, z):
    """Draw a standing person (person) with clothes at (x, z) metres."""
    px, py, unit = view.foot(x, z)
    size, label = rng.uniform(2.5, 2.9) * unit, CLASSES['person']
    draw_shadow(canvas, px, py, 0.2 * size, 0.04 * size)
    shirt, trousers, skin = tone(rng, BRIGHT), tone(rng, BRIGHT) * 0.7, tone(rng, SKIN, 0.02)
    hair = tone(rng, [(.18, .12, .08), (.45, .30, .15), (.75, .62, .35), (.5, .5, .5)], 0.02)

    def at(dx, up):
        return px + 1.25 * dx * size, py - up * size

    for s in (-1, 1):
        canvas.paint(canvas.stroke([at(0.06 * s, 0.5), at(0.085 * s, 0.05)], 0.145 * size),
                     trousers * (1 + 0.1 * s), label)
        shoe = canvas.ellipse(*at(0.1 * s, 0.02), 0.065 * size, 0.03 * size)
        canvas.paint(shoe, (.15, .15, .16), label)
        swing = rng.uniform(0.16, 0.26)
        arm = [at(0.12 * s, 0.74), at(swing * s, 0.6), at(swing * s, 0.48)]
        canvas.paint(canvas.stroke(arm, 0.105 * size), shirt * 0.85, label)
        canvas.paint(canvas.ellipse(*at(swing * s, 0.455), 0.04 * size, 0.045 * size), skin, label)
    torso = canvas.polygon([at(-0.15, 0.76), at(-0.1, 0.81), at(0.1, 0.81), at(0.15, 0.76),
                            at(0.125, 0.44), at(-0.125, 0.44)])
    canvas.paint(torso, shirt, label)
    canvas.shade(canvas.rectangle(*at(-0.13, 0.48), *at(0.13, 0.45)), 0.6)
    canvas.paint(canvas.ellipse(*at(0, 0.92), 0.115 * size, 0.115 * size), hair, label)
    canvas.paint(canvas.ellipse(*at(0, 0.895), 0.095 * size, 0.095 * size), skin, label)


def draw_car(canvas, rng, view, x, z, side=False):
    """Draw a car (car) seen from behind, or from its side, at (x, z) metres."""
    px, py, unit = view.foot(x, z)
    colour, label = tone(rng, BRIGHT), CLASSES['car']
    glass, dark = np.float32((.28, .36, .44)) * rng.uniform(0.7, 1.3), (.10, .10, .11)
    length, flip = (4.6, rng.choice([-1, 1])) if side else (2.4, 1)

    def at(points):
        return [(px + flip * length * u * unit, py - 1.9 * v * unit) for u, v in points]

    def spot(u, v, rx, ry, paint):
        canvas.paint(canvas.ellipse(*at([(u, v)])[0], rx * unit, ry * unit), paint, label)

    draw_shadow(canvas, px, py, 0.55 * length * unit, 0.22 * unit)
    if side:
        body = [(-.5, .2), (-.5, .5), (-.42, .58), (-.3, .62), (-.2, .96), (.14, .97), (.27, .64),
                (.46, .56), (.5, .4), (.5, .2)]
        windows = [[(-.25, .63), (-.17, .9), (-.03, .9), (-.03, .63)],
                   [(0, .63), (0, .9), (.12, .9), (.21, .63)]]
    else:
        for s in (-1, 1):
            wheel = [(s * .25, .2), (s * .43, .2), (s * .43, 0), (s * .25, 0)]
            canvas.paint(canvas.polygon(at(wheel)), dark, label)
        body = [(-.5, .14), (-.5, .5), (-.44, .6), (-.34, .96), (-.28, 1), (.28, 1), (.34, .96),
                (.44, .6), (.5, .5), (.5, .14)]
        windows = [[(-.37, .62), (-.29, .92), (.29, .92), (.37, .62)]]
    canvas.paint(canvas.polygon(at(body)), colour, label)
    canvas.shade(canvas.polygon(at([(-.5, .14), (-.5, .36), (.5, .36), (.5, .14)])), 0.7)
    for window in windows:
        canvas.paint(canvas.polygon(at(window)), glass, label)
        canvas.shade(canvas.polygon(at([window[0], window[1], window[2]])), 1.35)
    if side:
        for u in (-.3, .3):
            spot(u, .19, 0.42, 0.42, dark)
            spot(u, .19, 0.2, 0.2, (.65, .65, .67))
        spot(.47, .46, 0.13, 0.1, (.95, .92, .75))
        spot(-.48, .46, 0.08, 0.12, (.75, .12, .10))
        return
    for u in (-.42, .42):
        spot(u, .46, 0.15, 0.12, (.80, .14, .10))
    plate = [(-.13, .3), (-.13, .42), (.13, .42), (.13, .3)]
    canvas.paint(canvas.polygon(at(plate)), (.9, .9, .85))


def draw_bed(canvas, rng, view, x, z):
    """Draw a bed (bed) with headboard, blanket and pillows; its foot end is at (x, z) metres."""
    w, d, h = rng.uniform(1.5, 1.9), rng.uniform(1.7, 2.1), rng.uniform(0.5, 0.65)
    label, cloth = CLASSES['bed'], tone(rng, BRIGHT[:4] + BRIGHT[5:])
    board = Canvas(blocks(rng, (60, 100), tone(rng, WOOD), (60, 25), 0.05), label)
    low, high = np.float32((x - w / 2, 0, z)), np.float32((x + w / 2, h, z + d))
    px, py, unit = view.foot(x, z)
    draw_shadow(canvas, px, py, 0.6 * w * unit, 0.1 * unit)
    draw_box(canvas, view, low + (0, 0, d), high + (0, 0.5, 0.1), board, board, board)
    front = Canvas(blocks(rng, (40, 120), cloth, (13, 20), 0.14, offset=0), label)
    top = Canvas(blocks(rng, (120, 100), cloth, (16, 20), 0.14, offset=0), label)
    top.shade(top.rectangle(0, 44, 100, 48), 0.7)
    for left in (6, 53):
        top.paint(top.rectangle(left, 6, left + 41, 34), (.90, .89, .86))
        top.shade(top.rectangle(left, 30, left + 41, 36), 0.85)
    draw_box(canvas, view, low, high, front, front, top)


def draw_table(canvas, rng, view, x, z):
    """Draw a wooden table (table) with a vase on it; its front edge is at (x, z) metres."""
    w, d, h, label = rng.uniform(1.4, 1.8), 0.9, 0.8, CLASSES['table']
    wood = Canvas(blocks(rng, (60, 100), tone(rng, WOOD), (15, 300), 0.06, 8), label)
    px, py, unit = view.foot(x, z + d / 2)
    draw_shadow(canvas, px, py, 0.7 * w * unit, 0.3 * unit)
    for depth in (z + d - 0.22, z):
        for left in (x - w / 2, x + w / 2 - 0.22):
            low, high = (left, 0, depth), (left + 0.22, h, depth + 0.22)
            draw_box(canvas, view, low, high, wood, wood, wood, (0.7, 0.5, 1))
    low, high = (x - w / 2, h - 0.2, z), (x + w / 2, h, z + d)
    draw_box(canvas, view, low, high, wood, wood, wood, (0.85, 0.65, 1.15))
    py -= h * unit
    for i in range(5):
        blossom = canvas.ellipse(px + (i - 2) * 0.06 * unit, py - (0.4 - 0.05 * abs(i - 2)) * unit,
                                 0.06 * unit, 0.06 * unit)
        canvas.paint(blossom, tone(rng, BRIGHT + GREEN), OTHER)
    vase = canvas.ellipse(px, py - 0.13 * unit, 0.1 * unit, 0.15 * unit)
    canvas.paint(vase, tone(rng, BRIGHT), OTHER)


def hang_painting(panel, rng, x, y, w, h):
    """Hang a framed picture (painting) on a wall panel; the rectangle is in pixels."""
    panel.shade(panel.rectangle(x + 2, y + 3, x + w + 3, y + h + 4), 0.7)
    frame = tone(rng, [(.80, .62, .25), (.66, .50, .22)])
    panel.paint(panel.rectangle(x, y, x + w, y + h), frame, CLASSES['painting'])
    rim = 0.12 * min(w, h)
    inner = panel.rectangle(x + rim, y + rim, x + w - rim, y + h - rim)
    panel.paint(inner, tone(rng, BRIGHT + PASTEL))
    for _ in range(7):
        cx, cy, r = x + w * rng.random(), y + h * rng.random(), rng.uniform(0.12, 0.4) * min(w, h)
        blob = panel.ellipse(cx, cy, r, r * rng.uniform(0.4, 1.2))
        panel.paint(cv2.min(blob, inner), tone(rng, BRIGHT + SKIN))


def hang_window(panel, rng, x, y, w, h):
    """Set a window (windowpane) with a view in a wall panel; the rectangle is in pixels."""
    label, frame = CLASSES['windowpane'], tone(rng, [(.90, .89, .86)])
    panel.paint(panel.rectangle(x - 3, y - 3, x + w + 3, y + h + 3), frame, label)
    glass = panel.rectangle(x, y, x + w, y + h)
    top, low = np.float32(SKIES[rng.integers(len(SKIES))])
    fall = np.clip((np.arange(panel.shape[0]) - y) / h, 0, 1)[:, None, None]
    fall = np.broadcast_to(fall, panel.image.shape)
    panel.paint(glass, top * (1 - fall) + low * fall)
    for _ in range(4):
        bush = panel.ellipse(x + w * rng.random(), y + h, 0.3 * w, rng.uniform(0.2, 0.5) * h)
        panel.paint(cv2.min(bush, glass), leaves(rng, panel.shape, tone(rng, GREEN)))
    panel.paint(panel.rectangle(x + w / 2 - 2, y, x + w / 2 + 2, y + h), frame)
    panel.paint(panel.rectangle(x, y + h / 2 - 2, x + w, y + h / 2 + 2), frame)


def hang_curtain(panel, rng, x, y, w, h):
    """Hang one length of folded cloth (curtain) on a wall panel; the rectangle is in pixels."""
    columns = np.arange(panel.shape[1]) - x
    folds = 0.28 * np.sin(columns / w * 2 * np.pi * rng.integers(3, 5) + rng.normal(0, 0.3))
    cloth = tinted(tone(rng, BRIGHT[:3] + BRIGHT[5:7]), folds * np.ones((panel.shape[0], 1)))
    hem = [(x + t * w, y + h + 2 * np.sin(9 * t)) for t in np.linspace(1, 0, 12)]
    panel.paint(panel.polygon([(x, y), (x + w, y), *hem]), cloth, CLASSES['curtain'])


OBJECTS = {
    'tree': draw_tree, 'person': draw_person, 'car': draw_car, 'building': draw_house,
    'bed': draw_bed, 'table': draw_table,
}


def draw_objects(canvas, rng, view, places):
    """Draw (name, x, z[, options]) of `OBJECTS` from back to front."""
    for name, x, z, *options in sorted(places, key=lambda place: -place[2]):
        OBJECTS[name](canvas, rng, view, x, z, *options)
