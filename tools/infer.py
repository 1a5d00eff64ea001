"""``mmwhitebox infer``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['infer', *sys.argv[1:]])
