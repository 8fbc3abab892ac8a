"""Asking a module of the page, in the browser that it is for."""

import json
from typing import Any


async def said(modules, function: str, file: str, *cases: tuple[Any, ...]) -> list[Any]:
    """Return what a function of a module says to each of the cases."""
    calls = ", ".join(f"m.{function}({', '.join(map(json.dumps, case))})" for case in cases)
    return await modules.module(f"return [{calls}];", f"m: {file}")
