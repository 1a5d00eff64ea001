"""What is known of a model: its size and cost, where it comes from, what it scored."""
from torch import nn

from mmwhitebox.interpret.complexity import count_parameters


def model_facts(model: nn.Module, image_size: tuple[int, int]) -> dict:
    """Facts as JSON can say them."""
    filename = getattr(model.cfg, 'filename', None)
    return dict(config=filename, checkpoint=None, parameters=count_parameters(model), flops=None, date=None,
                metrics=None)
