# Adapting a pretrained ViT (CBSA, NeurIPS 2025): AdamW, 50 epochs at batch 512 (8 processes of 64), 10 of them warm-up.
# **reading**: the warm-up and the cosine have the form of CBT's.
_base_ = './finetune_200e.py'
param_scheduler = [dict(type='mmwhitebox.RampedCosineLR', total=50, warmup=10)]
train_cfg = dict(max_epochs=50)
auto_scale_lr = dict(base_batch_size=512)
