"""Golden values of group metrics: `python groups.py > fairlearn.json` (fairlearn 0.15).

Random labels, predictions that lean on the attribute, 2 and 3 attribute values. `binary` holds two-class cases; `classes` holds
three- and four-class cases with the demographic-parity and equalised-odds differences of each class against the rest, in class order.
"""
import json

import numpy as np
from fairlearn.metrics import MetricFrame, demographic_parity_difference, equalized_odds_difference
from sklearn.metrics import accuracy_score


def draw(rng, n, classes, groups, lean):
    truth = rng.integers(0, classes, n)
    group = rng.integers(0, groups, n)
    guess = np.where(rng.uniform(0, 1, n) < 0.7, truth, rng.integers(0, classes, n))
    return truth, np.where(rng.uniform(0, 1, n) < lean * group / groups, classes - 1, guess), group


def case(truth, guess, group):
    accuracy = MetricFrame(metrics=accuracy_score, y_true=truth, y_pred=guess, sensitive_features=group)
    return {
        "y_true": truth.tolist(),
        "y_pred": guess.tolist(),
        "attribute": group.tolist(),
        "accuracy_by_group": [float(accuracy.by_group[g]) for g in sorted(set(group.tolist()))],
        "accuracy_min": float(accuracy.group_min()),
        "accuracy_difference": float(accuracy.difference(method="between_groups")),
    }


def differences(truth, guess, group):
    arguments = {"y_true": truth, "y_pred": guess, "sensitive_features": group}
    return {
        "demographic_parity_difference": float(demographic_parity_difference(**arguments)),
        "equalized_odds_difference": float(equalized_odds_difference(**arguments)),
    }


rng = np.random.default_rng(7)
out = {"binary": [], "classes": []}
for n, groups, lean in [(60, 2, 0.0), (200, 2, 0.5), (200, 3, 0.4), (300, 3, 0.9)]:
    columns = draw(rng, n, 2, groups, lean)
    out["binary"].append(case(*columns) | differences(*columns))
for n, classes, groups, lean in [(150, 3, 2, 0.4), (300, 3, 3, 0.6), (400, 4, 2, 0.3), (400, 4, 3, 0.8)]:
    truth, guess, group = draw(rng, n, classes, groups, lean)
    rest = [differences((truth == c).astype(int), (guess == c).astype(int), group) for c in range(classes)]
    out["classes"].append(case(truth, guess, group) | {"one_vs_rest": rest})
print(json.dumps(out))
