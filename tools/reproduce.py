"""``python -m projects.small_data`` of the checkout, from any folder: the trainings on small data."""
import runpy
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
runpy.run_module('projects.small_data', run_name='__main__', alter_sys=True)
