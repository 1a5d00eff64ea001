"""``python -m benchmarks`` of the checkout, from any folder: the speed contests."""
import runpy
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
runpy.run_module('benchmarks', run_name='__main__', alter_sys=True)
