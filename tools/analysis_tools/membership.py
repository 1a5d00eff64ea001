"""``mmwhitebox measure membership``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['measure', 'membership', *sys.argv[1:]])
