"""``mmwhitebox measure coding_rate``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['measure', 'coding_rate', *sys.argv[1:]])
