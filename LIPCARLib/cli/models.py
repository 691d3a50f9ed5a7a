"""`lipcar models`: list, show and verify models."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from ..inverse import kind_of, list_models, read_manifest, verify_model
from ..study import limit_words
from .console import out
from .options import MODEL_HELP
from .tables import scores_table

models_app = typer.Typer(help="The models that are installed.", no_args_is_help=True)


@models_app.command("list")
def list_command() -> None:
    """The shipped models."""
    table = Table("name", "pre-dose", "trained on", "description", box=None)
    for entry in list_models():
        manifest = read_manifest(entry.folder)
        subjects = manifest.get("training", {}).get("training_subjects")
        trained = f"{len(subjects)} subjects" if subjects else "random examinations" if manifest["files"] else "nothing"
        cells = (entry.name, "yes" if manifest["uses_predose"] else "no", trained, manifest.get("description", ""))
        table.add_row(*cells)
    out.print(table)


@models_app.command("show")
def show_command(name: Annotated[str, typer.Argument(help=MODEL_HELP)]) -> None:
    """A model's card: what it is, what it was trained on, what was measured."""
    manifest = read_manifest(name)
    training = manifest.get("training", {})
    out.print(f"{manifest['name']}  {manifest.get('description', '')}", style="bold")
    out.print(f"kind: {kind_of(manifest).value}")
    for key in ("intended_use", "licence", "uses_predose", "architecture", "scale"):
        out.print(f"{key}: {manifest.get(key)}")
    if manifest["files"]:
        out.print(f"trained on: {training.get('cohort')}")
        out.print(f"training settings: {training.get('settings')}")
    else:
        out.print("trained on: nothing, it has no weights")
    for role, entry in manifest["files"].items():
        out.print(f"{role}: {entry['path']}, SHA-256 {entry['sha256']}")
    if manifest.get("controls"):
        out.print(limit_words(manifest["controls"]))
    measured = manifest.get("metrics", {})
    if measured:
        title = f"{len(measured['subjects'])} held-out subjects, {measured['slices']} slices"
        out.print(scores_table(measured["means_over_slices"], title))


@models_app.command("verify")
def verify_command(
    name: Annotated[str | None, typer.Argument(help=f"{MODEL_HELP} All shipped ones by default.")] = None,
) -> None:
    """Check every file of a model against its manifest."""
    for model in [name] if name is not None else [entry.name for entry in list_models()]:
        files = verify_model(model)
        for path, digest in files.items():
            out.print(f"{model}/{path}: OK, SHA-256 {digest}")
        if not files:
            out.print(f"{model}: OK, no weights")
