"""Real images in, batches out: files, folders, named datasets, transforms, the loader."""

from . import transforms
from .cifar import cifar10
from .dataset import Dataset
from .digits import digits
from .folders import FolderParts, ImageFolder, folder_parts, folder_splits
from .idx import read_idx
from .images import load_image
from .loader import DataLoader
from .mnist import fashion_mnist, mnist
from .transforms import (
    Normalize,
    Transform,
    compose,
    normalize,
    random_crop,
    random_flip,
    resize,
    scale,
    standardize,
    to_gray,
)

__all__ = [
    "DataLoader",
    "Dataset",
    "FolderParts",
    "ImageFolder",
    "Normalize",
    "Transform",
    "cifar10",
    "compose",
    "digits",
    "fashion_mnist",
    "folder_parts",
    "folder_splits",
    "load_image",
    "mnist",
    "normalize",
    "random_crop",
    "random_flip",
    "read_idx",
    "resize",
    "scale",
    "standardize",
    "to_gray",
    "transforms",
]
