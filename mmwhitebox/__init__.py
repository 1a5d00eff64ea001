"""White-box transformers on the OpenMMLab stack. Importing the package registers everything."""
import contextlib
import io
import warnings

from . import config_bases  # noqa: F401

__version__ = '0.1.0'

try:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # mmseg and mmpretrain print that an optional package is absent, mmcv warns of an operator that is not used.
        warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``')
        import mmcv.cnn.bricks.transformer  # noqa: F401
        import mmpretrain.datasets  # noqa: F401
        import mmseg.datasets  # noqa: F401
    from . import apis, datasets, engine, models  # noqa: F401
except Exception as error:
    # mmengine swallows an ImportError raised while it imports ``mmwhitebox.registry`` and then reports
    # "not in the registry". Without this guard the true error would be lost. With it, the package
    # imports, ``python -m mmwhitebox.doctor`` works, and the first lookup raises the error itself.
    warnings.warn(
        f'mmwhitebox could not register its modules ({type(error).__name__}: {error}). '
        'Run `python -m mmwhitebox.doctor`.',
        stacklevel=2)
