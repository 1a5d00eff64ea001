# CRATE-alpha's fine-tuning: as the pre-training, at a learning rate of 1e-5 * batch / 256.
_base_ = './crate_alpha_91e.py'
optim_wrapper = dict(optimizer=dict(lr=1.6e-4))
