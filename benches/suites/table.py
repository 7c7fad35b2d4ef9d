"""The table of a round, as Markdown."""

import statistics
from collections import Counter

BEGIN, END = "<!-- suites.py: from here on written by benches/suites/run.py -->", "<!-- suites.py: to here -->"
# What is wrong with a verdict; everything else is as it must be.
WRONG = ("passed", "not found", "false fail")


def number(value):
    return "–" if value is None else f"{value:+.2f}"


def line(row):
    """One finding, for a terminal."""
    own = row["strength"].get("own")
    return f"{row['suite']:7} {row['case']:36} seed {row['seed']:<4} {row['policy']:14} {row['rule']:16} {row['verdict']:13} own {number(own)}"


def markdown(rows, lacking, failed, when):
    attacks, nulls = ([row for row in rows if row["suite"] == suite] for suite in ("attack", "null"))
    due = [row for row in attacks if row["expected"] == "fail" and row["outcome"] in ("as it must", "not found", "passed")]
    caught = [row for row in due if row["verdict"] == "fail"]
    passed = [row for row in attacks if row["outcome"] == "passed"]
    out = [f"Round of {when}.", ""]
    out += [
        f"- Attack suite: {len(attacks)} findings. **{len(passed)} pass though the trigger is handed down.** Of {len(due)} that must fail, {len(caught)} do.",
        f"- Null suite: {len(nulls)} findings: "
        + ", ".join(f"{count} {verdict}" for verdict, count in sorted(Counter(row["verdict"] for row in nulls).items()))
        + f". False fails: {sum(row['outcome'] == 'false fail' for row in nulls)}.",
        "",
        "### Attacks",
        "",
        "| source | seed | policy | rule | mean | a fifth | widest flow | over shams | over references | must | verdict | exit | |",
        "|---|---:|---|---|---:|---:|---|---:|---:|---|---|---:|---|",
    ]
    for row in attacks:
        strength, excess = row["strength"], row["excess"]
        beside, innocent = strength.get("references") or strength["shams"], strength.get("innocents")
        of = {name: f"{beside[name]:.2f}" + (f" ({innocent[name]:.2f})" if innocent else "") for name in ("mean", "fifth", "flow")}
        verdict = row["verdict"] + (f" ({row['label'].replace('_', ' ')})" if row["label"] else "")
        marked = f"**{row['outcome']}**" if row["outcome"] in WRONG else row["outcome"]
        cells = [row["case"], row["seed"], row["policy"], row["rule"], of["mean"], of["fifth"], f"{of['flow']} {beside['flow_of']}",
                 number(excess.get("sham")), number(excess.get("reference")), row["expected"], verdict, row["exit_code"], marked]  # fmt: skip
        out.append("| " + " | ".join(map(str, cells)) + " |")
    out += ["", "### Nulls", "", "| source | policy | rule | findings | fail | inconclusive | pass | largest excess over shams | over references |",
            "|---|---|---|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for case, policy, rule, mode in dict.fromkeys((row["case"], row["policy"], row["rule"], row["mode"]) for row in nulls):
        these = [row for row in nulls if (row["case"], row["policy"], row["rule"], row["mode"]) == (case, policy, rule, mode)]
        counts = Counter(row["verdict"] for row in these)
        largest = [max((row["excess"][c] for row in these if row["excess"].get(c) is not None), default=None) for c in ("sham", "reference")]
        name = rule if mode == "fixed_feature" else f"{rule} ({mode})"
        cells = [case, policy, name, len(these), counts["fail"], counts["inconclusive"], counts["pass"], *map(number, largest)]
        out.append("| " + " | ".join(map(str, cells)) + " |")
    out += innocents(nulls)
    wrong = [row for row in rows if row["outcome"] in WRONG]
    if wrong:
        out += ["", "### Not as it must be", ""]
        out += [f"- {row['case']}, seed {row['seed']}, {row['policy']}, {row['rule']}: {row['outcome']}. {row['reason'] or ''}".rstrip() for row in wrong]
    for heading, lines in (("Left out, because something is not there", lacking), ("Ended with an error", failed)):
        if lines:
            out += ["", f"### {heading}", "", *(f"- {entry}" for entry in sorted(set(lines)))]
    return "\n".join(out) + "\n"


def innocents(nulls):
    """How far innocent sources differ by what a trigger does to each: what priors rest on. Of the cases of many sources, each source once."""
    effects = {}
    for row in nulls:
        if row["case"].startswith("many/") and row["strength"].get("own") is not None:
            effects.setdefault(row["rule"], {})[row["source"]] = (row["case"], row["strength"]["own"])
    if not effects:
        return []
    kinds = sorted({case for of_rule in effects.values() for case, _ in of_rule.values()})
    out = ["", "### How far innocent sources differ", "", "The attraction of each by itself. Standard deviations: of all, and of those of one architecture.", "",
           "| rule | sources | median | standard deviation | farthest from the median | "
           + " | ".join(kind.split("/", 2)[2] for kind in kinds) + " |", "|---|---:|---:|---:|---:|" + "---:|" * len(kinds)]  # fmt: skip
    for rule, of_rule in effects.items():
        values = [own for _, own in of_rule.values()]
        median = statistics.median(values)
        by_kind = [[own for case, own in of_rule.values() if case == kind] for kind in kinds]
        cells = [rule, len(values), f"{median:.3f}", spread(values), f"{max(abs(value - median) for value in values):.3f}", *map(spread, by_kind)]
        out.append("| " + " | ".join(map(str, cells)) + " |")
    return out


def spread(values):
    return f"{statistics.stdev(values):.3f}" if len(values) > 1 else "–"


def into(path, text):
    """Writes the table anew into a document, between its two marks."""
    document = path.read_text()
    before, rest = document.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")
