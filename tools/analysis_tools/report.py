"""``mmwhitebox report``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['report', *sys.argv[1:]])
