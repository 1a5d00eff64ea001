"""ViTs as DINO, DINOv2, DINOv3 and SimDINO store them -> the layout of timm."""
import re

from mmengine.logging import print_log
from torch import Tensor

from mmwhitebox.errors import joined

BACKBONE = 'backbone.'
CHUNKED = re.compile(r'^blocks\.\d+\.(?=\d+\.)')  # DINOv2 groups its blocks while it trains
UNUSED = re.compile(r'mask_token$|rope_embed\.periods$|.*\.bias_mask$|local_cls_norm\.')
RENAMES_V2 = ((r'\.mlp\.w12\.', '.mlp.fc1.'), (r'\.mlp\.w3\.', '.mlp.fc2.'))
RENAMES_V3 = ((r'^storage_tokens$', 'reg_token'), (r'\.ls(\d)\.gamma$', r'.gamma_\1'), (r'\.mlp\.w1\.', '.mlp.fc1_g.'),
              (r'\.mlp\.w2\.', '.mlp.fc1_x.'), (r'\.mlp\.w3\.', '.mlp.fc2.'))


def timm_layout(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The backbone in a state dict of the DINO family under timm's keys; one of timm itself stays as it is.

    Of a training, the heads beside the backbone are left out, with a log line. Register tokens of DINOv2 have a
    position table with a row for the class token, which timm adds to the token. DINOv3's bias of q, k and v becomes
    timm's of q and v, or nothing where it is zero, as in the distilled models.
    """
    if f'{BACKBONE}cls_token' in state_dict:
        others = [key for key in state_dict if not key.startswith(BACKBONE)]
        if others:
            print_log(f'Left out, since they are of the training: {joined(others)}', logger='current')
        state_dict = {key.removeprefix(BACKBONE): value for key, value in state_dict.items() if key not in others}
    is_v3 = 'storage_tokens' in state_dict
    found = {CHUNKED.sub('blocks.', key): value for key, value in state_dict.items() if not UNUSED.match(key)}
    if 'register_tokens' in found:
        positions = found.pop('pos_embed')
        found['reg_token'] = found.pop('register_tokens')
        found['cls_token'] = found['cls_token'] + positions[:, :1]
        found['pos_embed'] = positions[:, 1:]
    biased = is_v3 and any(key.endswith('.qkv.bias') and value.any() for key, value in found.items())
    renamed = {}
    for key, value in found.items():
        for pattern, name in RENAMES_V3 if is_v3 else RENAMES_V2:
            key = re.sub(pattern, name, key)
        if is_v3 and key.endswith('.qkv.bias'):
            if biased:
                q, _, v = value.chunk(3)
                renamed |= {key.replace('qkv.bias', 'q_bias'): q.clone(), key.replace('qkv.bias', 'v_bias'): v.clone()}
            continue
        renamed[key] = value
    return renamed
