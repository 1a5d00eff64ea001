"""The test pipeline in the words of transformers' image processors, where they say exactly the same."""
from collections.abc import Sequence
from typing import Any

RESAMPLE = dict(nearest=0, lanczos=1, bilinear=2, bicubic=3, box=4, hamming=5)  # Pillow's numbers
LOADERS = ('LoadImage', 'LoadImageFromFile')


def preprocessor_of(info: dict[str, Any]) -> dict[str, Any] | None:
    """``preprocessor_config.json`` of a model; None if no image processor prepares images in the same way.

    Exact are 8-bit RGB images that stay as they are, or that Pillow resizes to a fixed size or by their short side. The
    crop of what was resized by its short side is not: the two round its place differently. OpenCV's interpolation is
    another one than Pillow's.

    Args:
        info (dict): What ``config.json`` says.
    """
    steps: Sequence[dict] | None = info.get('test_pipeline')
    if not steps or info.get('channel_order') != 'RGB':
        return None
    names = [step['type'].rpartition('.')[2] for step in steps]
    first, last = steps[0], names[-1]
    plain = {'type', '_scope_'}
    if names[0] not in LOADERS or set(first) - plain or not last.startswith('Pack'):
        return None
    if first['type'] != 'mmwhitebox.LoadImage' and first.get('_scope_') != 'mmwhitebox':
        return None  # mmcv's reader does not turn photographs as they say, or reads other bits
    found: dict[str, Any] = dict(do_resize=False)
    if len(steps) == 3:
        resized = resize_of(steps[1], names[1])
        if resized is None:
            return None
        found = resized
    elif len(steps) != 2:
        return None
    return dict(
        image_processor_type=found.pop('image_processor_type', 'ViTImageProcessor'), **found, do_convert_rgb=True,
        do_rescale=True, rescale_factor=1 / 255, do_normalize=True,
        image_mean=[value / 255 for value in info['mean']], image_std=[value / 255 for value in info['std']])


def resize_of(step: dict, name: str) -> dict[str, Any] | None:
    """A step that resizes with Pillow; None if it is another one."""
    resample = RESAMPLE.get(step.get('interpolation', 'bilinear'))
    if step.get('backend') != 'pillow' or resample is None:
        return None
    scale = step.get('scale')
    if name == 'ResizeEdge' and step.get('edge', 'short') == 'short' and isinstance(scale, int) and \
            set(step) <= {'type', '_scope_', 'scale', 'edge', 'backend', 'interpolation'}:
        return dict(image_processor_type='BitImageProcessor', do_resize=True, size=dict(shortest_edge=scale),
                    resample=resample, do_center_crop=False)
    if name == 'Resize' and set(step) <= {'type', '_scope_', 'scale', 'keep_ratio', 'backend', 'interpolation'} and \
            not step.get('keep_ratio'):
        width, height = (scale, scale) if isinstance(scale, int) else scale or (0, 0)
        return dict(do_resize=True, size=dict(height=height, width=width), resample=resample) if width else None
    return None
