"""The inference functions of mmseg and mmpretrain take our configs and names, in a fresh process, from any folder."""
import json
import subprocess
import sys

import cv2
import numpy as np
import torch

from mmwhitebox.apis import inference_model, init_model
from tests.configs import ROOT
from tests.test_interpret.small import save_images, save_model

CODE = """
import json, sys, cv2
config, checkpoint, image = sys.argv[1:]
import mmwhitebox.apis, mmpretrain, torch
torch.manual_seed(0)
torch.save(dict(state_dict=mmpretrain.get_model('cbt_tiny_imagenet').state_dict()), 'cls.pth')
scores = mmpretrain.inference_model('cbt_tiny_imagenet', image, pretrained='cls.pth', device='cpu')['pred_scores']
import mmseg.apis  # afterwards: it leaves its scope behind, in which mmpretrain's own transforms are not found
model = mmseg.apis.init_model(config, checkpoint, device='cpu')
array = cv2.imread(image)
inferencer = mmseg.apis.MMSegInferencer(config, checkpoint, device='cpu', show_progress=False)
masks = [mmseg.apis.inference_model(model, image).pred_sem_seg.data[0], inferencer(image)['predictions'],
         mmseg.apis.inference_model(model, array).pred_sem_seg.data[0], inferencer(array)['predictions']]
masks = [mask.tolist() for mask in masks]
print('RESULT', json.dumps([masks, scores.tolist(), mmpretrain.list_models('cbt_tiny', task='Image Classification')]))
"""


def test_mmseg_and_mmpretrain(tmp_path):
    config, checkpoint = save_model(tmp_path, 'cbt_decoder/cbt_decoder_mini_ade20k.py')
    torch.save({**torch.load(checkpoint), 'meta': dict(dataset_meta=dict(classes=('a', ), palette=[[0, 0, 0]]))},
               checkpoint)  # as a training writes it
    image = save_images(tmp_path / 'photos', a=(40, 60)) + '/a.jpg'
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', CODE, config, checkpoint, image], cwd=tmp_path,
                          text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    masks, scores, names = json.loads(done.stdout.rpartition('RESULT')[2])
    ours = inference_model(init_model(config, checkpoint, 'cpu'), image).mask
    lossless = inference_model(init_model(config, checkpoint, 'cpu'), cv2.imread(image)).mask
    for mask, expected in zip(masks, (ours, ours, lossless, lossless)):
        assert np.array_equal(mask, expected)
    classifier = init_model(ROOT / 'configs' / 'cbt/cbt_tiny_imagenet.py', str(tmp_path / 'cls.pth'), 'cpu')
    np.testing.assert_allclose(scores, inference_model(classifier, cv2.imread(image)).probabilities, atol=1e-5)
    assert 'cbt_tiny_imagenet' in names
