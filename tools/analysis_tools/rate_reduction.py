"""``mmwhitebox measure rate_reduction``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['measure', 'rate_reduction', *sys.argv[1:]])
