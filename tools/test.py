"""``mmwhitebox test``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['test', *sys.argv[1:]])
