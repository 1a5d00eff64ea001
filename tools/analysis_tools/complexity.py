"""``mmwhitebox measure complexity``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['measure', 'complexity', *sys.argv[1:]])
