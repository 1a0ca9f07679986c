"""Holds notebooks against nbformat's own JSON schema and checks, each by itself.

Run by nbformat.ts:  nbformat_check.py FOLDER  prints {"nbformat": version, "refused": {file: reason}} as JSON.
"""

import json
import os
import sys
import warnings

import nbformat

# Of ids that are missing or the same nbformat only warns, for now.
warnings.simplefilter("error")
folder = sys.argv[1]
refused = {}
for name in sorted(os.listdir(folder)):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        notebook = json.load(file)
    try:
        assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
        nbformat.validate(notebook, ref=None, version=4, version_minor=5, relax_add_props=False)
    except Exception as error:
        refused[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
print(json.dumps({"nbformat": nbformat.__version__, "refused": refused}))
