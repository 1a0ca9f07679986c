"""Fetches the fixture's two repositories with huggingface_hub, or finds them in a cache without any network.

Run by hub_cache.ts, with HF_ENDPOINT and HF_HOME set:  hub_cache.py fetch|find COMMIT
"""

import json
import os
import sys

from huggingface_hub import __version__, hf_hub_download, snapshot_download

what, commit = sys.argv[1:]
model_files = json.loads(os.environ["MODEL_FILES"])
dataset_files = json.loads(os.environ["DATASET_FILES"])

if what == "fetch":
    model = snapshot_download("owner/a-model", allow_patterns=model_files)
    data = snapshot_download("owner/a.data_set", repo_type="dataset", allow_patterns=dataset_files)
else:
    os.environ["HF_HUB_OFFLINE"] = "1"
    for revision in ["main", commit]:
        for path in model_files:
            found = hf_hub_download("owner/a-model", path, revision=revision, local_files_only=True)
            assert commit in found and os.path.getsize(found) > 0, found
        model = snapshot_download("owner/a-model", revision=revision, allow_patterns=model_files, local_files_only=True)
        data = snapshot_download(
            "owner/a.data_set", repo_type="dataset", revision=revision, allow_patterns=dataset_files, local_files_only=True
        )
assert sorted(os.listdir(model)) == sorted(model_files), os.listdir(model)
assert sorted(os.listdir(os.path.join(data, "data"))) == [
    "train-00000-of-00001.parquet",
    "validation-00000-of-00001.parquet",
], os.listdir(data)
print(__version__)
