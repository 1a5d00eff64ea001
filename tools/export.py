"""``mmwhitebox export``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['export', *sys.argv[1:]])
