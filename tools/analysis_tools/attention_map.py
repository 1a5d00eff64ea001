"""``mmwhitebox measure attention_map``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['measure', 'attention_map', *sys.argv[1:]])
