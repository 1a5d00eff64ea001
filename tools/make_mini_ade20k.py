"""``python -m examples.miniature.make_mini_ade20k`` of the checkout, from any folder: a miniature of ADE20K."""
import runpy
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
runpy.run_module('examples.miniature.make_mini_ade20k', run_name='__main__', alter_sys=True)
