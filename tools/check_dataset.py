"""``mmwhitebox check-data``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['check-data', *sys.argv[1:]])
