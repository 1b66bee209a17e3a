"""What is done in PyTorch's own environment, which has nothing else of this project: run as a script.

    python torch_side.py export job.json     a module that a function makes, as a saved torch.export program
    python torch_side.py onnx job.json       a program as an ONNX file
    python torch_side.py ask job.json        a program's answers to arrays

It prints why not on stderr, in a line, and exits with 2, where the model is not one that can be taken.
"""
import importlib
import inspect
import json
import os
import sys

import numpy as np
import torch

#: Version of ONNX' operators that programs are written with, and examples that are asked at once.
OPSET, TOGETHER = 18, 32


class RefusedError(Exception):
    """A model that cannot be taken, and why."""


def export(job):
    """Save the module that a function makes as a program, for any number of examples where it can be.

    The job has: function, module:function; inputs, an .npz file; program, the file to be made.
    """
    sys.path.insert(0, os.getcwd())
    where, _, name = job["function"].partition(":")
    try:
        made = getattr(importlib.import_module(where), name)()
    except (ImportError, AttributeError) as error:
        raise RefusedError(f"{job['function']} cannot be had: {error}") from error
    if not isinstance(made, torch.nn.Module):
        raise RefusedError(f"{job['function']} gives a {type(made).__name__}; it must give a torch.nn.Module")
    names = [one.name for one in inspect.signature(made.forward).parameters.values() if one.default is one.empty]
    arrays = _arrays(job["inputs"])
    if len(arrays) == len(names) == 1:
        arrays = {names[0]: next(iter(arrays.values()))}
    if missing := [one for one in names if one not in arrays]:
        raise RefusedError(f"{job['function']} takes {', '.join(names)}; the data have {', '.join(arrays)}, not "
                           f"{missing[0]}")
    made.eval()
    two = tuple(torch.from_numpy(arrays[one][:2]) for one in names)
    try:
        program = torch.export.export(made, two, dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in two))
    except Exception:  # whatever in the module takes the batch for a number
        program = torch.export.export(made, tuple(one[:1] for one in two))
    torch.export.save(program, job["program"])


def onnx(job):
    """Write a program as an ONNX file.

    The job has: program, the file; onnx, the file to be made.
    """
    program = _program(job)
    for name, tensor in _inputs(program):
        # PyTorch's own names of open sizes, s77, are nothing that anybody has given
        sizes = [str(size) if isinstance(size, int) else "any" if axis else "batch"
                 for axis, size in enumerate(tensor.shape)]
        shown = f"{name} ({', '.join(sizes)})"
        left = [str(axis) for axis, size in enumerate(sizes) if size == "any"]
        if left:
            axes = f"axes {' and '.join(left)} are" if len(left) > 1 else f"axis {left[0]} is"
            raise RefusedError(f"{job['program']} takes {shown}, whose {axes} open; files for phones have fixed sizes, "
                               "only the batch may be open. Export it for one size")
        if not sizes or (isinstance(tensor.shape[0], int) and tensor.shape[0] != 1):
            raise RefusedError(f"{job['program']} takes {shown}, which is not one example or any number of them; "
                               "export it with one, or with dynamic_shapes that have 0: torch.export.Dim(\"batch\")")
    torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False).save(job["onnx"])


def ask(job):
    """Write what a program answers to arrays, in the order of its outputs.

    The job has: program, the file; inputs, an .npz file by names; answers, the .npz file to be made.
    """
    program = _program(job)
    arrays = _arrays(job["inputs"])
    inputs = _inputs(program)
    given = [torch.from_numpy(arrays[name]).to(tensor.dtype) for name, tensor in inputs]
    step = TOGETHER if all(not isinstance(tensor.shape[0], int) for _, tensor in inputs) else 1
    module, parts = program.module(), []
    with torch.no_grad():
        for start in range(0, len(given[0]), step):
            outputs = torch.utils._pytree.tree_leaves(module(*(one[start:start + step] for one in given)))
            parts.append([one.float().numpy() if one.is_floating_point() else one.numpy() for one in outputs])
    np.savez(job["answers"], *(np.concatenate(values) for values in zip(*parts, strict=True)))


def _program(job):
    try:
        return torch.export.load(job["program"])
    except Exception as error:  # whatever a damaged file makes of its reader
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise RefusedError(f"{job['program']} cannot be read as a torch.export program: {first}") from error


def _inputs(program):
    """Return names and tensors of what a program is given, in its order."""
    given = set(program.graph_signature.user_inputs)
    return [(node.name, node.meta["val"]) for node in program.graph.nodes if node.op == "placeholder"
            and node.name in given]


def _arrays(path):
    with np.load(path, allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded}


def main():
    with open(sys.argv[2]) as file:
        job = json.load(file)
    try:
        {"export": export, "onnx": onnx, "ask": ask}[sys.argv[1]](job)
    except RefusedError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
