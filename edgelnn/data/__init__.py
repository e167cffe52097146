"""The data room: datasets by name or by path, as uint8 images and labels by split."""

from edgelnn.data.catalogue import DatasetInfo as DatasetInfo
from edgelnn.data.catalogue import list_datasets as list_datasets
from edgelnn.data.dataset import SPLITS as SPLITS
from edgelnn.data.dataset import Dataset as Dataset
from edgelnn.data.dataset import Split as Split
from edgelnn.data.dataset import SplitName as SplitName
from edgelnn.data.dataset import Task as Task
from edgelnn.data.loading import load_dataset as load_dataset

__all__ = ["SPLITS", "Dataset", "DatasetInfo", "Split", "SplitName", "Task", "list_datasets", "load_dataset"]
