"""``mmwhitebox measure subspaces``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['measure', 'subspaces', *sys.argv[1:]])
