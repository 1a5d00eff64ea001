"""``mmwhitebox measure zero_shot_segmentation``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['measure', 'zero_shot_segmentation', *sys.argv[1:]])
