"""Named metrics that a notebook leaves behind for whoever runs it headless."""

METRICS_TYPE = "application/vnd.cxr.metrics+json"


def record(**metrics: float | None) -> None:
    """Show the metrics as a table and store them in the executed notebook's output, where the runner finds them.

    None, an undefined figure, is left out.
    """
    from IPython.display import display

    values = {name: float(value) for name, value in metrics.items() if value is not None}
    text = "\n".join(f"{name:<24}{value:10.4f}" for name, value in values.items())
    display({METRICS_TYPE: values, "text/plain": text}, raw=True)
