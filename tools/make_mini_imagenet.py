"""``python -m examples.miniature.make_mini_imagenet`` of the checkout, from any folder: a miniature of ImageNet."""
import runpy
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
runpy.run_module('examples.miniature.make_mini_imagenet', run_name='__main__', alter_sys=True)
