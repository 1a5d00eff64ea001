"""mmseg and mmpretrain, imported without the lines that they print of optional packages that are absent."""
import contextlib
import io
import warnings

with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``')  # mmcv's, not used
    import mmcv.cnn.bricks.transformer  # noqa: F401
    import mmpretrain.datasets  # noqa: F401
    import mmseg.datasets  # noqa: F401
