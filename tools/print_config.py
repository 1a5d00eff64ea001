"""``mmwhitebox config``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['config', *sys.argv[1:]])
