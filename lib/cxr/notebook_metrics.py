"""Named metrics that a notebook records for headless runs."""

METRICS_TYPE = "application/vnd.cxr.metrics+json"


def record(**metrics: float | None) -> None:
    """Show the metrics as a table and store them in the cell's output, where `python3 ci run` reads them.

    None (an undefined metric) is left out.
    """
    from IPython.display import display

    values = {name: float(value) for name, value in metrics.items() if value is not None}
    text = "\n".join(f"{name:<24}{value:10.4f}" for name, value in values.items())
    display({METRICS_TYPE: values, "text/plain": text}, raw=True)
