"""Runs a notebook in the real Deno kernel of Jupyter and compares its outputs with those that are stored, cell by cell.

    python -m venv /tmp/venv && /tmp/venv/bin/pip install jupyter_client nbformat
    deno task notebook run tour.ipynb --out /tmp/tour.ipynb
    /tmp/venv/bin/python tests/oracles/jupyter.py /tmp/tour.ipynb

The plain texts of streams, displays and results are compared, and which other representations there are: the kernel prints values of its own
in its own way, so results (the value of the last expression) are told and not counted. The status is 1 if anything else differs.
"""

import json
import os
import re
import sys
import tempfile
from queue import Empty

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
notebook = nbformat.read(sys.argv[1], as_version=4)
cells = [cell for cell in notebook.cells if cell.cell_type == "code"]

folder = tempfile.mkdtemp()
os.makedirs(os.path.join(folder, "deno"))
with open(os.path.join(folder, "deno", "kernel.json"), "w") as file:
    argv = ["deno", "jupyter", "--kernel", "--conn", "{connection_file}"]
    json.dump({"argv": argv, "display_name": "Deno", "language": "typescript"}, file)
specs = KernelSpecManager(kernel_dirs=[folder], ensure_native_kernel=False)
manager = KernelManager(kernel_name="deno", kernel_spec_manager=specs)
manager.start_kernel(cwd=root)
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=60)


def execute(source):
    """The outputs of a cell. The kernel may say that it is idle before its last output is there: half a second is waited for more."""
    request = client.execute(source)
    outputs, shown, idle = [], {}, False
    while True:
        try:
            message = client.get_iopub_msg(timeout=0.5 if idle else 120)
        except Empty:
            if idle:
                return outputs
            raise
        if message["parent_header"].get("msg_id") != request:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "status":
            idle = content["execution_state"] == "idle"
        elif kind == "update_display_data":
            shown[content["transient"]["display_id"]]["data"] = content["data"]
        elif kind in ("stream", "display_data", "execute_result", "error"):
            output = {"output_type": kind, **content}
            outputs.append(output)
            if "display_id" in content.get("transient", {}):
                shown[content["transient"]["display_id"]] = output


def words(outputs, kinds):
    """Plain text and other types of each output; streams of a name that follow each other are one."""
    merged = []
    for output in outputs:
        if output["output_type"] not in kinds:
            continue
        if output["output_type"] == "stream":
            if merged and merged[-1][0] == output["name"]:
                merged[-1][1] += output["text"]
            else:
                merged.append([output["name"], output["text"]])
        elif output["output_type"] == "error":
            merged.append(["error", output["ename"] + ": " + output["evalue"].split("\n")[0]])
        else:
            text = re.sub(r"\x1b\[[0-9;]*m", "", "".join(output["data"].get("text/plain", "")))
            merged.append([" ".join(sorted(output["data"])), text])
    return merged


differing = 0
for number, cell in enumerate(cells, 1):
    before, now = [dict(output) for output in cell.outputs], execute(cell.source)
    kinds = ("stream", "display_data", "error")
    ours, theirs = words(before, kinds), words(now, kinds)
    results = [words(outputs, ("execute_result",)) for outputs in (before, now)]
    print(f"cell {number}: {'same' if ours == theirs else 'DIFFERS'}, {len(theirs)} outputs", end="")
    if results[0] or results[1]:
        print(f"; result {results[0][0][1] if results[0] else None!r} there {results[1][0][1] if results[1] else None!r}", end="")
    print()
    if ours != theirs:
        differing += 1
        for one in ours:
            print("   ours   ", json.dumps(one)[:300])
        for one in theirs:
            print("   theirs ", json.dumps(one)[:300])
manager.shutdown_kernel(now=True)
print("all the same" if differing == 0 else f"{differing} cells differ")
sys.exit(1 if differing else 0)
