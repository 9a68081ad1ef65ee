"""Tables for people: models and devices."""

from rich.table import Table

from streamtrack.errors import CheckpointError, SourceError
from streamtrack.media.devices import list_devices
from streamtrack.tracking.checkpoints import (
    ModelEntry,
    choose_model,
    device_memory,
    find_checkpoint,
    fit,
    registry,
)
from streamtrack.tracking.devices import resolve_device
from streamtrack.tracking.hardware import compute_devices


def models_table() -> tuple[Table, str]:
    """Return what is known of every model on this machine, and one sentence on `auto`."""
    device = resolve_device("auto")
    try:
        chosen, why = choose_model(device)
    except CheckpointError as exc:
        chosen, why = "", str(exc)
    table = Table("model", box=None, pad_edge=False)
    table.add_column("parameters", justify="right")
    table.add_column("J&F", justify="right")
    for heading in ("here", f"on {device}", "auto"):
        table.add_column(heading)
    for entry in registry().values():
        mark = "chosen" if entry.name == chosen else ""
        table.add_row(*_model_row(entry, device), mark)
    return table, f"{why} (J&F: published, SA-V test.)"


def devices_table() -> Table:
    """Return the cameras and compute devices of this machine."""
    table = Table("write", "device", box=None, pad_edge=False)
    try:
        cameras = list_devices()
    except SourceError as exc:
        table.add_row("", str(exc))
    else:
        for camera in cameras:
            table.add_row(camera.source, camera.name)
        if not cameras:
            table.add_row("", "no camera found")
    for device in compute_devices():
        table.add_row(f"--device {device.name}", device.description)
    return table


def _model_row(entry: ModelEntry, device: str) -> tuple[str, ...]:
    parameters = f"{entry.parameters / 1e6:.1f} M" if entry.parameters else ""
    quality = f"{entry.quality:.1f}" if entry.quality else ""
    where = f"{entry.approx_bytes / 1e6:.0f} MB to download"
    if find_checkpoint(entry.name) is not None:
        where = "yes"
    elif entry.url is None:
        where = "missing"
    return entry.name, parameters, quality, where, fit(entry, device, device_memory(device))
