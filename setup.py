from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = next(line.split("'")[1] for line in (ROOT / 'mmwhitebox' / '__init__.py').read_text().splitlines()
               if line.startswith('__version__'))
EXPORT = [
    'onnx>=1.17',  # saves writing the serialised format of ONNX graphs ourselves
    'onnxscript>=0.5',  # saves translating every operator of torch to ONNX: torch's exporter is built on it
    'onnxruntime>=1.20',  # saves trusting a graph unseen: runs it, to compare it with the model
]

DEV = [
    'pytest>=8',
    'hypothesis>=6.150',  # saves inventing hostile input by hand: makes it, shrinks what fails, repeats it
    'pytest-xdist>=3.6',  # saves waiting: runs the test files on all cores
    'ruff>=0.9',
]

setup(
    name='mmwhitebox',
    version=VERSION,
    description='White-box transformers for segmentation and classification on the OpenMMLab stack',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=[*find_packages(include=['mmwhitebox', 'mmwhitebox.*']), 'mmwhitebox.configs'],
    package_dir={'mmwhitebox.configs': 'configs'},
    package_data={'mmwhitebox.configs': ['**/*.py', 'metafiles/*.yml']},
    install_requires=[
        'torch>=2.6',
        'torchvision>=0.21',
        'timm>=1.0.20',
        'onedl-mmengine>=0.10.12',
        'onedl-mmcv>=2.3.6',
        'onedl-mmsegmentation>=1.4.2',
        'onedl-mmpretrain>=1.3.6',
        'safetensors>=0.5',
        'matplotlib>=3.8',
        'numpy>=2',
        'pillow>=10.4',
        'scipy>=1.11',  # principal angles; torchvision's SVHN files
        'rich>=13',  # progress and tables of the data check; mmengine has it already
    ],
    extras_require={'export': EXPORT, 'dev': [*DEV, *EXPORT]},
)
