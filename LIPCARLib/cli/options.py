"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..inverse import ALPHA, AUTO_DESCRIPTION


def _folder(name: str) -> Path:
    """A folder that was named: an unset variable in a script would else name the one that is worked in."""
    if not name:
        raise typer.BadParameter("it is empty; the name of a folder is expected.")
    return Path(name)


NewModelOption = Annotated[
    Path, typer.Option("--output", parser=_folder, metavar="PATH", help="Folder of the model to make.")
]
CohortArgument = Annotated[Path, typer.Argument(help="Folder of the cohort, one folder a subject.")]
MODEL_HELP = "A shipped model's name, or a model's folder; a folder of such a name as ./name."
ModelOption = Annotated[str | None, typer.Option("--model", help=MODEL_HELP)]
ModelsOption = Annotated[list[str] | None, typer.Option("--model", help=f"{MODEL_HELP} May be given several times.")]
AlphaOption = Annotated[str, typer.Option(help=f"A number, the paper's is {ALPHA}, or {AUTO_DESCRIPTION}.")]
AlphasOption = Annotated[
    list[str] | None, typer.Option("--alpha", help="As in lipcar enhance; may be given several times.")
]
TellDoseOption = Annotated[
    bool, typer.Option("--tell-dose", help="Tell the models the dose fraction, as lipcar enhance --dose-fraction does.")
]
TellAcquisitionOption = Annotated[
    bool,
    typer.Option(
        help="Tell the models how the images were acquired, as sidecars or a simulated cohort's parameters have it."
    ),
]
SolverOption = Annotated[str, typer.Option(help="proximal or adam.")]
HeldOutOption = Annotated[
    bool, typer.Option("--held-out", help="Only the subjects that the training of all models kept out.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
DevicesOption = Annotated[
    int, typer.Option(min=1, max=1024, help="Processes on this machine that train together, one a device (Fabric).")
]
NodesOption = Annotated[
    int, typer.Option(min=1, max=1024, help="Machines; each gives the same command, or torchrun starts it (docs).")
]
BATCH_HELP = "a step and process: two processes take the steps of one with twice as many."
