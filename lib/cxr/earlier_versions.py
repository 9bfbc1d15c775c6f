"""Read what earlier versions of this project wrote, under today's names. The only module that knows the old names.

Versions before triage give no TRIAGE. The first ones had two classes, NORMAL and PNEUMONIA, and named the probability
of the second P_PNEUMONIA. Versions of the model that were registered then go on answering so.
"""

import json

import pandas as pd

OLD_PROBABILITY = "P_PNEUMONIA"
OLD_LABELS = ("NORMAL", "PNEUMONIA")


def read_evaluation(found: dict) -> dict:
    """`evaluation.json` of a run: the count of positive images was called `pneumonia`."""
    return {
        name: part if "positive" in part else part | {"positive": part["pneumonia"]} for name, part in found.items()
    }


def read_scores(table: pd.DataFrame) -> pd.DataFrame:
    """`scores.csv` of a run, and any other table of probabilities: P_POSITIVE in the place of the old name."""
    return table.rename(columns={OLD_PROBABILITY: "P_POSITIVE"})


def read_answer(found: dict) -> dict:
    """One answer of a version: P_POSITIVE and PROBABILITIES in the place of the old name, and TRIAGE, null where the
    version gives none. An answer may lack nulls."""
    answer = {"TRIAGE": None} | found
    if OLD_PROBABILITY not in found:
        return answer
    positive = answer["P_POSITIVE"] = answer.pop(OLD_PROBABILITY)
    if positive is not None and not pd.isna(positive):
        answer["PROBABILITIES"] = json.dumps(dict(zip(OLD_LABELS, (1 - positive, positive), strict=True)))
    return answer


# The same in SQL, over a VARIANT column ANSWER; a JSON null becomes NULL. STATUS is what it always was.
_OLD = f"ANSWER:{OLD_PROBABILITY}::FLOAT"
ANSWER_IN_SQL = {
    "P_POSITIVE": f"COALESCE(ANSWER:P_POSITIVE::FLOAT, {_OLD})",
    "LABEL": "ANSWER:LABEL::STRING",
    "PROBABILITIES": (
        f"IFF({_OLD} IS NULL, ANSWER:PROBABILITIES::STRING, "
        f"TO_JSON(OBJECT_CONSTRUCT('{OLD_LABELS[0]}', 1 - {_OLD}, '{OLD_LABELS[1]}', {_OLD})))"
    ),
    "TRIAGE": "ANSWER:TRIAGE::STRING",
}


def read_answers(table: pd.DataFrame) -> pd.DataFrame:
    """A table of answers, as :func:`read_answer` of each row."""
    if OLD_PROBABILITY not in table:
        return table if "TRIAGE" in table else table.assign(TRIAGE=None)
    return pd.DataFrame([read_answer(row) for row in table.to_dict("records")], index=table.index)
