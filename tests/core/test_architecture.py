"""The code's imports go only where the table of rooms allows."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import hoirecon

ROOT = Path(hoirecon.__file__).resolve().parent.parent


def _table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "tools" / "draw_architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLE = _table()


def _modules() -> dict[str, Path]:
    found = {}
    for top, prefix in (("hoirecon", "hoirecon"), ("contact", "hoirecon.contact"), ("fitting", "hoirecon.fitting"),
                        ("data", "hoirecon.data")):  # fmt: skip
        for path in (ROOT / top).rglob("*.py"):
            relative = path.relative_to(ROOT / top).with_suffix("")
            if top == "hoirecon" and relative.parts[0] in {"contact", "fitting", "data"}:
                continue  # the links; seen through their real folders
            parts = [p for p in relative.parts if p != "__init__"]
            found[".".join([prefix, *parts])] = path
    return found


def _imports(path: Path, on_load: bool = False) -> set[str]:
    """Dotted names imported anywhere in a file, or only when it is loaded; type-checking blocks are left out."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    if on_load:
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.Lambda)]
        skipped |= {id(inner) for function in functions for inner in ast.walk(function)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "hoirecon"}


def _room(name: str) -> str | None:
    return next((room for room in TABLE.MAY_IMPORT if name == room or name.startswith(room + ".")), None)


def _is_door(name: str) -> bool:
    return any(name == door or name.startswith(door + ".") for door in TABLE.DOOR)


def test_rooms_import_only_what_the_table_allows() -> None:
    faults = []
    for name, path in _modules().items():
        if _is_door(name):
            continue
        here = _room(name)
        allowed = {here, None, *(TABLE.MAY_IMPORT[here] if here else ())}
        for target in _imports(path):
            if _room(target) not in allowed or (_is_door(target) and not target.startswith("hoirecon.scene")):
                faults.append(f"{name} imports {target}")
    assert not faults, "see docs/architecture.md: " + "; ".join(sorted(faults))


def test_parts_of_interactvlm_import_only_what_the_table_allows() -> None:
    table = TABLE.CONTACT_MAY_IMPORT

    def part(name: str) -> str | None:
        return next((p for p in table if name == p or name.startswith(p + ".")), None)

    def allowed(here: str, target: str) -> bool:
        if not target.startswith("hoirecon.contact.") or target.count(".") < 2:
            return True
        return part(target) in {here, *table[here]}

    faults = [
        f"{name} imports {target}"
        for name, path in _modules().items()
        if (here := part(name)) is not None
        for target in _imports(path)
        if not allowed(here, target)
    ]
    assert not faults, "see docs/architecture.md: " + "; ".join(sorted(faults))


def test_no_two_modules_import_each_other_in_a_circle() -> None:
    modules = _modules()
    graph = {
        name: {t for t in _imports(path, on_load=True) if t in modules and t != name}
        for name, path in modules.items()
        if name not in TABLE.DOOR
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, "circle: " + " -> ".join([*path[path.index(name) :], name])
        if name in graph and name not in done:
            for target in graph[name]:
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_the_picture_is_the_tables() -> None:
    assert (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8") == TABLE.draw(), (
        "run: python tools/draw_architecture.py"
    )
