"""Every output goes through `adadecode.profiles.atomic_write`: nothing else writes files."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.support.paths import ROOT

FOLDERS = ("profiles", "sim", "engine", "scripts", "benchmarks")

DAMAGING = "scripts/fuzz/"
"""What makes damaged files on purpose, in folders of its own."""

WRITER = {
    "profiles/atomic_write.py",
    "profiles/folder_lock.py",
    "profiles/output_folder.py",
    "profiles/output_stream.py",
    "profiles/part_file.py",
    "profiles/sealed_folder.py",
}
"""The one way to write. Only these call the functions of the operating system."""

METHODS = {
    "write_text", "write_bytes", "to_parquet", "to_excel", "to_pickle", "to_hdf", "to_feather",
    "tofile", "savefig", "write_image", "write_html", "save_pretrained", "extractall", "touch",
    "symlink_to", "hardlink_to", "mkdir", "write_table", "ZipFile",
}  # fmt: skip
"""Names of functions and methods that write, whatever they are called on."""

RETURNING = {"to_csv", "to_json", "to_html"}
"""Methods that return a text where they are given no place to write."""

FUNCTIONS = {
    "os": {
        "replace",
        "rename",
        "renames",
        "open",
        "link",
        "symlink",
        "mkfifo",
        "mkdir",
        "makedirs",
    },
    "shutil": {"copy", "copy2", "copyfile", "copyfileobj", "copytree", "move", "make_archive"},
    "np": {"save", "savez", "savez_compressed", "savetxt"},
    "torch": {"save"},
    "json": {"dump"},
    "pickle": {"dump"},
    "nbformat": {"write"},
}
"""Functions that write, by the name of their module."""

EXCEPTIONS = {
    ("profiles/store.py", "write_table"): "makes bytes in memory",
    ("sim/sweep/table.py", "write_table"): "makes bytes in memory",
    ("engine/profiling/piece_store.py", "write_table"): "makes bytes in memory",
    ("engine/loading/gguf_model.py", "save_pretrained"): "a library's own files, sealed later",
    ("engine/loading/smollm2.py", "ZipFile"): "reads",
    ("engine/runtime/timing_lock.py", "os.open"): "a lock, which stays empty",
    ("sim/cli/errors.py", "os.open"): "the null device",
    ("scripts/gpu_run/archive.py", "ZipFile"): "makes bytes in memory, or reads",
    ("scripts/gpu_run/runner.py", "open"): "a log, which the process that is started writes into",
    ("benchmarks/costs.py", "open"): "a log, which the process that is started writes into",
    ("scripts/gpu_run/runner.py", "mkdir"): "the folder of these logs",
    ("scripts/gpu_run/cli.py", "mkdir"): "reports by itself what is wrong with a folder",
    ("scripts/demo_model/train.py", "save_pretrained"): "a library's own files",
    ("scripts/demo_model/train.py", "mkdir"): "the folder of these files",
}
"""What may write by hand, and why."""


def test_nothing_else_writes_files() -> None:
    """A file that is written by hand is half there after a crash, or written through a link."""
    found = {
        (name, written): f"{name}:{line} calls {written}"
        for name, tree in sources()
        if name not in WRITER
        for line, written in writes_in(tree)
    }
    wrong = [text for key, text in found.items() if key not in EXCEPTIONS]
    assert not wrong, f"write with adadecode.profiles.atomic_write: {'; '.join(wrong)}"
    assert not EXCEPTIONS.keys() - found.keys(), "an exception that nothing needs any more"


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("path.write_text(text)", "write_text"),
        ("path.open('wb')", "open"),
        ("path.open(mode='a')", "open"),
        ("open(path, 'r+')", "open"),
        ("open(path, 'x', encoding='utf-8')", "open"),
        ("frame.to_csv(path)", "to_csv"),
        ("frame.to_csv(path_or_buf=path)", "to_csv"),
        ("frame.to_parquet(path)", "to_parquet"),
        ("pq.write_table(table, path)", "write_table"),
        ("np.save(path, array)", "np.save"),
        ("torch.save(tensors, path)", "torch.save"),
        ("save_file(tensors, path)", "save_file"),
        ("os.replace(old, new)", "os.replace"),
        ("old.replace(new)", "replace"),
        ("shutil.copy2(old, new)", "shutil.copy2"),
        ("json.dump(value, file)", "json.dump"),
        ("model.save_pretrained(folder)", "save_pretrained"),
        ("folder.mkdir(exist_ok=True)", "mkdir"),
        ("write_text(path, text)", None),
        ("path.open()", None),
        ("path.open('rb')", None),
        ("PieceStore.open(folder, settings)", None),
        ("frame.to_csv(index=False)", None),
        ("text.replace('a', 'b')", None),
        ("frame.replace({nan: None})", None),
        ("replace(design, cap=3)", None),
        ("functools.partial(torch.save, tensors)", None),
    ],
)
def test_a_call_that_writes_is_seen(code: str, written: str | None) -> None:
    assert [name for _, name in writes_in(ast.parse(code))] == (
        [] if written is None else [written]
    )


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Yield the name and the syntax of every file."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(DAMAGING):
                yield name, ast.parse(path.read_text(encoding="utf-8"))


def writes_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of every call that writes by hand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := written_by(node)) is not None:
            yield node.lineno, name


def written_by(call: ast.Call) -> str | None:
    """Return the name of a call that writes; None where it does not."""
    function = call.func
    if isinstance(function, ast.Name):
        writes = function.id == "save_file" or (function.id == "open" and opens(call, 1))
        return function.id if writes else None
    if not isinstance(function, ast.Attribute):
        return None
    name, owner = function.attr, function.value
    if isinstance(owner, ast.Name) and owner.id in FUNCTIONS:
        reads = name == "open" and "O_RDONLY" in ast.unparse(call)
        return f"{owner.id}.{name}" if name in FUNCTIONS[owner.id] and not reads else None
    places = [key.arg for key in call.keywords if key.arg in {"path_or_buf", "buf", "path"}]
    writes = {
        "open": opens(call, 0),
        "replace": len(call.args) == 1 and not isinstance(call.args[0], ast.Dict),
        **dict.fromkeys(RETURNING, bool(call.args or places)),
        **dict.fromkeys(METHODS, True),
    }
    return name if writes.get(name) else None


def opens(call: ast.Call, position: int) -> bool:
    """Return whether the mode of an ``open`` is one that writes."""
    named = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    modes = [ast.unparse(mode) for mode in (*call.args[position : position + 1], *named)]
    return any(mode[0] == "'" and set(mode) & set("wax+") for mode in modes)
