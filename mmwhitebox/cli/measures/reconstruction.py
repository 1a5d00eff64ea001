"""What ``mmwhitebox measure reconstruction`` does; definitions: :mod:`mmwhitebox.interpret.reconstruction`."""
import argparse

import numpy as np
import torch

from mmwhitebox.cli.measures.inputs import iter_inputs, open_model
from mmwhitebox.cli.measures.outputs import save_figure, save_numbers
from mmwhitebox.errors import NotApplicableError
from mmwhitebox.interpret.reconstruction import draw_reconstructions, reconstruction
from mmwhitebox.models.selfsup import CRATEMAE


@torch.inference_mode()
def main(args: argparse.Namespace) -> None:
    model = open_model(args)
    if not isinstance(model, CRATEMAE):
        raise NotApplicableError(f'measure reconstruction: {args.config} is a {type(model).__name__}, which paints '
                                 'nothing in: give a masked autoencoder (CRATEMAE) with its checkpoint.')
    generator = torch.Generator().manual_seed(args.seed)
    rows = []
    for item in iter_inputs(model, args):
        height, width = model.grid_size(item.tensor)
        mask = model.random_mask(torch.rand(1, height * width, generator=generator)).to(item.tensor.device)
        found = reconstruction(model, item.tensor, mask, model.predict_pixels(item.tensor, mask))
        removed = int(mask.sum())
        rows.append(dict(name=item.name, removed=removed, patches=height * width, error=found.error))
        figure = draw_reconstructions([found], title=f'{item.name}: {removed} of {height * width} patches removed')
        save_figure(figure, args.out, item.name)
    save_numbers(rows, args.out, 'reconstruction')
    print(f'Mean error over {len(rows)} images: {np.mean([row["error"] for row in rows]):.4f} (of '
          f'{"standardised patches" if model.head.norm_pix else "normalised pixels"})')
    print(f'{args.out}: reconstruction.json, reconstruction.csv and a figure for each image')
