"""Steps of pipelines that are for photographs: three channels, or values of 8 bits."""
from mmwhitebox.config_parts import Part

THREE_CHANNELS = {
    'AutoAugment', 'AutoContrast', 'ColorJitter', 'ColorTransform', 'Contrast', 'Equalize', 'Lighting',
    'PhotoMetricDistortion', 'RandAugment', 'RGB2Gray', 'RandomCutOut', 'RandomErasing', 'RandomGrayscale'}
EIGHT_BITS = {
    'AdjustGamma', 'AutoAugment', 'AutoContrast', 'CLAHE', 'ColorJitter', 'Equalize', 'GaussianBlur',
    'PhotoMetricDistortion', 'Posterize', 'RandAugment', 'RandomGrayscale'}


def unfit(step: Part, channels: int, wide: bool) -> str | None:
    """Why a step of the stack cannot work on images, in words; None if it can, or is not known.

    Args:
        step (Part): A step of a pipeline.
        channels (int): Of the images.
        wide (bool): Whether they are float32, of more than 8 bits.
    """
    if not step.known:
        return None
    name = step.cls.__name__
    if channels != 3 and name in THREE_CHANNELS:
        return f'is for images of 3 channels, these have {channels}'
    return 'is for images of 8 bits, these have a value_range' if wide and name in EIGHT_BITS else None
