"""``mmwhitebox measure perturbation``."""
import sys

from mmwhitebox.cli.main import main

if __name__ == '__main__':
    main(['measure', 'perturbation', *sys.argv[1:]])
