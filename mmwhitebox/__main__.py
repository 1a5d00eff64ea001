"""``python -m mmwhitebox``, for launchers: ``torchrun -m mmwhitebox train CONFIG --launcher pytorch``."""
from mmwhitebox.cli.main import main

main()
