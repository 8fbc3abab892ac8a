import re
from pathlib import Path

from vballoond.http.openapi import openapi_document
from vballoond.http.reference import reference

ROOT = Path(__file__).parents[3]


def test_the_reference_is_what_the_document_says() -> None:
    written = (ROOT / "docs" / "api.md").read_text()
    made = reference(openapi_document())
    assert written == made, "make it anew: python -m vballoond.http.reference > docs/api.md"


def test_every_operation_and_model_has_a_heading() -> None:
    document = openapi_document()
    headings = {line for line in reference(document).splitlines() if line.startswith("### ")}
    assert headings == {
        *(f"### `{method.upper()} {path}`" for path, operations in document["paths"].items() for method in operations),
        *(f"### {name}" for name in document["components"]["schemas"]),
    }


def test_every_table_has_as_many_cells_in_each_row() -> None:
    cells = 0
    for line in reference(openapi_document()).splitlines():
        if line.startswith("|"):
            row = line.replace("\\|", "").count("|")
            assert cells in (0, row), line
            cells = row
        else:
            cells = 0


def test_links_lead_somewhere() -> None:
    text = reference(openapi_document())
    headings = {line.removeprefix("### ").lower() for line in text.splitlines() if line.startswith("### ")}
    assert set(re.findall(r"\(#(\w+)\)", text)) <= headings
