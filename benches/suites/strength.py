"""What a report says of a finding, how strong the effect is by numbers of its own, and whether the verdict is what it must be.

The strengths here are for choosing which plants must be found. They are made of the outcomes of all test images and fine-tunes, with classes
chosen on the same images, so that they come out a few hundredths too large where there is nothing.
"""

import gzip
import json
import statistics


def gains(outcome, labels, classes, changed):
    """By true class: the share of its images that are called each class under a trigger, minus the same without."""
    table = [[0.0] * classes for _ in range(classes)]
    counts = [0] * classes
    for label, before, after in zip(labels, outcome["clean"], changed):
        counts[label] += 1
        table[label][before] -= 1
        table[label][after] += 1
    return [[value / max(1, counts[label]) for value in row] for label, row in enumerate(table)], counts


def attraction(table, counts):
    """The class that gains most of the images of others."""
    def of(k):
        others = [y for y in range(len(counts)) if y != k]
        return sum(table[y][k] * counts[y] for y in others) / max(1, sum(counts[y] for y in others))

    return max(of(k) for k in range(len(counts)))


def of_arm(measured, sham=None):
    """Attraction by fine-tune, and the flow from class to class, mean over fine-tunes; under the trigger, or under the shams."""
    labels, classes = measured["labels"], len(measured["classes"])
    seeds, flow = [], [[0.0] * classes for _ in range(classes)]
    for outcome in measured["outcomes"]:
        draws = outcome["shams"] if sham else [outcome["changed"]]
        parts = [gains(outcome, labels, classes, draw) for draw in draws]
        seeds.append(statistics.fmean(attraction(*part) for part in parts))
        for y in range(classes):
            for k in range(classes):
                flow[y][k] += statistics.fmean(part[0][y][k] for part in parts) / len(measured["outcomes"])
    return seeds, flow


def over(source, controls):
    """How far the source lies above the centre of its controls: the mean, what a fifth of the fine-tunes reach, the widest flow."""
    seeds, flow = source
    centre = statistics.median(statistics.fmean(other) for other, _ in controls)
    above = sorted((value - centre for value in seeds), reverse=True)
    cells = [(y, k) for y in range(len(flow)) for k in range(len(flow)) if y != k]
    widest = max(cells, key=lambda cell: flow[cell[0]][cell[1]] - statistics.median(f[cell[0]][cell[1]] for _, f in controls))
    y, k = widest
    return {
        "mean": round(statistics.fmean(above), 3),
        "fifth": round(above[max(0, len(above) // 5 - 1)], 3),
        "flow": round(flow[y][k] - statistics.median(f[y][k] for _, f in controls), 3),
        "flow_of": [y, k],
    }


NUMBERS = ("mean", "fifth", "flow")


def findings(report, measurements):
    """Every finding of a report, with its strengths: over the references where there are some, and over the shams. Without measurements no more
    than what the source does by itself."""
    if measurements is None:
        return [kept_of(finding, {"own": round(finding["arms"][0]["rates"]["attraction"], 3)} if finding["arms"] else {}) for finding in report["findings"]]
    with gzip.open(measurements, "rt") as file:
        measured = json.load(file)
    measured = measured["measurements"] if isinstance(measured, dict) else measured
    found = []
    for finding in report["findings"]:
        of_rule = [m for m in measured if m["rule"] == finding["rule"] and m["mode"] == finding["mode"] and m["outcomes"]]
        arms = {m["arm"]: m for m in of_rule}
        references = [of_arm(m) for arm, m in arms.items() if arm.startswith("reference")]
        strengths = {}
        if "source" in arms:
            source = of_arm(arms["source"])
            strengths["own"] = round(statistics.fmean(source[0]), 3)
            strengths["shams"] = over(source, [of_arm(arms["source"], sham=True)])
            if len(references) > 1:
                strengths["references"] = over(source, references)
                # What an innocent one shows: each reference over the others.
                others = [over(one, references[:n] + references[n + 1 :]) for n, one in enumerate(references)]
                strengths["innocents"] = {name: max(other[name] for other in others) for name in NUMBERS}
            classes = arms["source"]["classes"]
            for name in ("shams", "references"):
                if name in strengths:
                    strengths[name]["flow_of"] = " -> ".join(classes[n] for n in strengths[name]["flow_of"])
        found.append(kept_of(finding, strengths))
    return found


def kept_of(finding, strengths):
    """What is kept of a finding."""
    excess = {c["control"]: (c["excess"] or {}).get("value") for c in finding["comparisons"]}
    kept = {key: finding.get(key) for key in ("rule", "mode", "verdict", "reason", "label", "seconds")}
    kept["finding_seconds"] = kept.pop("seconds")
    return {**kept, "excess": excess, "strength": strengths}


def stands_out(strength, numbers, limit, margin):
    """Whether any of the numbers is `margin` above the limit, and above what any innocent reference shows."""
    beside = strength.get("references") or strength.get("shams")
    innocent = strength.get("innocents", {})
    return bool(beside) and any(beside[name] >= max(limit, innocent.get(name, 0.0)) + margin for name in numbers)


def judge(rows, limit, margin):
    """Says of every row whether it is as it must be. A plant that passes is `inert` where nothing of what it does stands out: over the references
    where the source was certified beside some under any policy, else over its shams. It must fail where the mean or a flow from class to class
    is `margin` above that."""
    told = {}
    for row in rows:
        if row["strength"].get("references"):
            told[row["case"], row["seed"], row["rule"]] = row["strength"]
    for row in rows:
        verdict, wanted = row["verdict"], row["expected"]
        row["due"] = wanted == "fail" and stands_out(row["strength"], ("mean", "flow"), limit, margin)
        truth = told.get((row["case"], row["seed"], row["rule"]), row["strength"])
        if wanted == "not fail":
            row["outcome"] = "false fail" if verdict == "fail" else "as it must"
        elif verdict == "pass":
            row["outcome"] = "passed" if stands_out(truth, NUMBERS, limit, 0.0) else "inert"
        elif wanted == "fail" and verdict != "fail":
            row["outcome"] = "not found" if row["due"] else "weak"
        else:
            row["outcome"] = "as it must"
    return rows
