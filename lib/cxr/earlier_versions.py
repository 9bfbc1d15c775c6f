"""What earlier versions of this project left behind, in today's names. The only place that knows the old ones."""


def read_evaluation(found: dict) -> dict:
    """`evaluation.json` of a run: the count of positive images was called `pneumonia`."""
    return {
        name: part if "positive" in part else part | {"positive": part["pneumonia"]} for name, part in found.items()
    }
