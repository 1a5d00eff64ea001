"""Starts of single parts: of a patch embedding, and of a linear head by timm's trained classification layer."""
import timm
from torch import nn

from mmwhitebox.registry import WEIGHT_INITIALIZERS

from .backbones.timm_weights import source_args


@WEIGHT_INITIALIZERS.register_module()
class PatchXavier:
    """Xavier-uniform weights of every convolution, seen as a map from whole patches to tokens (MAE).

    bound = sqrt(6 / (C P^2 + D)); mmengine's Xavier would count D P^2 outputs. Biases stay as they are.
    """

    def __call__(self, module: nn.Module) -> None:
        for conv in (child for child in module.modules() if isinstance(child, nn.Conv2d)):
            nn.init.xavier_uniform_(conv.weight.data.flatten(1))  # a view


@WEIGHT_INITIALIZERS.register_module()
class TimmClassifier:
    """Initialise a head with one Linear, such as mmpretrain's ``LinearClsHead``, by the classifier of a timm model.

    ``head=dict(..., init_cfg=dict(type='mmwhitebox.TimmClassifier', model_name='vit_small_patch16_224'))`` goes on
    from the classes that the pretrained model knows, where a new head would begin at random.

    Args:
        model_name (str): A name of ``timm.list_models()``, that of the encoder.
        pretrained (bool | str): True fetches timm's weights, a path takes a file, as in
            :class:`mmwhitebox.models.backbones.TimmViT`. Defaults to True.

    Raises:
        ValueError: The head has other classes or channels than the model.
    """

    def __init__(self, model_name: str, pretrained: bool | str = True) -> None:
        self.model_name = model_name
        self.pretrained = pretrained

    def __call__(self, module: nn.Module) -> None:
        classifier = timm.create_model(
            self.model_name, **source_args('TimmClassifier', self.pretrained)).get_classifier()
        linear = next(child for child in module.modules() if isinstance(child, nn.Linear))
        if linear.weight.shape != classifier.weight.shape:
            raise ValueError(f'TimmClassifier: the head maps {linear.in_features} channels to {linear.out_features} '
                             f'classes, {self.model_name} {classifier.in_features} to {classifier.out_features}. Set '
                             'head.in_channels and head.num_classes, or leave head.init_cfg out to start anew.')
        linear.load_state_dict(classifier.state_dict())
