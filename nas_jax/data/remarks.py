"""What is odd about images that can be used all the same."""

from __future__ import annotations

import numpy as np

from nas_jax.data.dataset import Dataset, all_equal, image_digests


def remarks(dataset: Dataset) -> list[str]:
    """Sentences on copies of images that mislead training or its test."""
    said = []
    digests, labels = dataset.train_digests, dataset.y_train.tolist()
    classes: dict[bytes, set[int]] = {}
    members: list[set[bytes]] = [set() for _ in dataset.class_names]
    for digest, label in zip(digests, labels, strict=True):
        classes.setdefault(digest, set()).add(label)
        members[label].add(digest)
    for label, count in enumerate(np.bincount(labels)):
        if count > 1 and len(members[label]) == 1:
            name = dataset.class_names[label]
            said.append(f"all {count} training images of class {name!r} are equal")
    contradicting = sum(len(found) > 1 for found in classes.values())
    if contradicting:
        said.append(
            f"{contradicting} of {len(classes)} different training images stand in "
            "several classes, so no network can tell these"
        )
    seen = sum(digest in classes for digest in image_digests(dataset.x_test))
    if seen:
        said.append(
            f"{seen} of {dataset.num_test} test images are training images too, so "
            "the test accuracy is too high"
        )
    if all_equal(dataset.x_test):
        said.append(
            f"all {dataset.num_test} test images are equal, so the test accuracy says "
            "nothing"
        )
    return said
