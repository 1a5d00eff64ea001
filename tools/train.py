"""``mmwhitebox train``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['train', *sys.argv[1:]])
