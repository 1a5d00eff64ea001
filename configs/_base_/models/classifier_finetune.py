# The classifier as it is fine-tuned: cross entropy without label smoothing.
_base_ = './classifier.py'
model = dict(head=dict(loss=dict(_delete_=True, type='CrossEntropyLoss')))
