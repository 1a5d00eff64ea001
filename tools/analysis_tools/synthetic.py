"""``mmwhitebox measure synthetic``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['measure', 'synthetic', *sys.argv[1:]])
