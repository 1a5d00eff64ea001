"""``mmwhitebox convert``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['convert', *sys.argv[1:]])
