# Pascal VOC 2012, trained with the images that SBD annotates as well (aug.txt); else as without.
_base_ = './pascal_voc12.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            _base_.train_dataloader.dataset,
            dict(
                _base_.train_dataloader.dataset,
                ann_file='ImageSets/Segmentation/aug.txt',
                data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClassAug'))
        ]))
