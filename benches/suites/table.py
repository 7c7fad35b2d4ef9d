"""The table of a round, as Markdown."""

import math
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
    due = [row for row in attacks if row["due"]]
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
        "Of several seeds, numbers are medians. *Due*: findings that must fail, because the plant is strong enough to be found, whatever came out.",
        "",
        "| source | policy | rule | seeds | mean | a fifth | widest flow | over shams | over references | due | fail | inconclusive | pass | passes wrongly |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for case, policy, rule, mode in keys(attacks):
        these = [row for row in attacks if key(row) == (case, policy, rule, mode)]
        verdicts, outcomes = (Counter(row[of] for row in these) for of in ("verdict", "outcome"))
        sure = sum(row in due for row in these)
        cells = [case, policy, named(rule, mode), len(these), *(strongest(these, name) for name in ("mean", "fifth", "flow")),
                 *(number(middle(row["excess"].get(control) for row in these)) for control in ("sham", "reference")),
                 sure, verdicts["fail"], verdicts["inconclusive"], verdicts["pass"], outcomes["passed"]]  # fmt: skip
        out.append("| " + " | ".join(map(str, cells)) + " |")
    out += shares(due, passed, attacks, nulls)
    out += ["", "### Nulls", "", "| source | policy | rule | findings | fail | inconclusive | pass | largest excess over shams | over references |",
            "|---|---|---|---:|---:|---:|---:|---:|---:|"]  # fmt: skip
    for case, policy, rule, mode in keys(nulls):
        these = [row for row in nulls if key(row) == (case, policy, rule, mode)]
        counts = Counter(row["verdict"] for row in these)
        largest = [max((row["excess"][c] for row in these if row["excess"].get(c) is not None), default=None) for c in ("sham", "reference")]
        cells = [case, policy, named(rule, mode), len(these), counts["fail"], counts["inconclusive"], counts["pass"], *map(number, largest)]
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


def key(row):
    return row["case"], row["policy"], row["rule"], row["mode"]


def keys(rows):
    """Each once, in the order of the rows."""
    return list(dict.fromkeys(map(key, rows)))


def named(rule, mode):
    return rule if mode == "fixed_feature" else f"{rule} ({mode})"


def middle(values):
    """The median of those that are there."""
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def strongest(rows, name):
    """How strong plants are beside what they are compared with; in brackets what the most different innocent one shows."""
    beside = [row["strength"].get("references") or row["strength"].get("shams") for row in rows]
    beside = [of for of in beside if of]
    innocent = [row["strength"]["innocents"][name] for row in rows if row["strength"].get("innocents")]
    if not beside:
        return "–"
    return f"{statistics.median(of[name] for of in beside):.2f}" + (f" ({statistics.median(innocent):.2f})" if innocent else "")


def tail(hits, of, p):
    """The chance of at least so many hits."""
    choose = [math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1) for k in range(hits, of + 1)]
    return sum(math.exp(c + k * math.log(p) + (of - k) * math.log1p(-p)) for k, c in enumerate(choose, hits))


def root(rising, goal):
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < goal else (low, middle)
    return (low + high) / 2


def share(hits, of):
    """A share with its exact interval of 95% (Clopper and Pearson 1934)."""
    if of == 0:
        return "–"
    low = 0.0 if hits == 0 else root(lambda p: tail(hits, of, p), 0.025)
    high = 1.0 if hits == of else root(lambda p: tail(hits + 1, of, p), 0.975)
    return f"{hits} of {of}: {100 * hits / of:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


# Under triggers over a small part of the image, in the suites' policies.
LOCAL = ("square", "corner", "middle", "anywhere", "half-strength", "backdoor/")


def shares(due, passed, attacks, nulls):
    """The round in shares. A source is certified several times, each with several findings: intervals of what goes together are too narrow."""
    runs = {}
    for row in nulls:
        runs.setdefault((row["policy"], row["case"], row["seed"]), []).append(row["outcome"] == "false fail")
    sources = {}
    for row in nulls:
        sources.setdefault(row["source"], []).append(row["outcome"] == "false fail")
    many = [row for row in nulls if row["case"].startswith("many/")]
    lines = [("plants due to fail that fail", sum(row["verdict"] == "fail" for row in due), len(due)),
             ("plants that pass wrongly", len(passed), len(attacks)),
             ("innocent findings that fail", sum(row["outcome"] == "false fail" for row in nulls), len(nulls)),
             ("innocent sources with any failure", sum(map(any, sources.values())), len(sources))]  # fmt: skip
    for policy in dict.fromkeys(row["policy"] for row in many):
        of = [any(failed) for (ran, case, _), failed in runs.items() if ran == policy and case.startswith("many/")]
        lines.append((f"runs of many innocent sources with a failure, `{policy}`", sum(of), len(of)))
        for kind, local in (("local triggers", True), ("triggers over the whole image", False)):
            of = [row["verdict"] == "pass" for row in many if row["policy"] == policy and row["rule"].startswith(LOCAL) == local]
            if of:
                lines.append((f"findings of many innocent sources that pass, `{policy}`, {kind}", sum(of), len(of)))
    out = ["", "### Shares", "", "With exact intervals of 95%, as if all were independent. Findings of one source go together, and sources share references, so that the intervals of findings are too narrow.", "",
           "| what | count and share |", "|---|---|"]  # fmt: skip
    return out + [f"| {what} | {share(hits, of)} |" for what, hits, of in lines]


def innocents(nulls):
    """How far innocent sources differ by what a trigger does to each: what priors rest on. Of the cases of many sources, each source once."""
    effects = {}
    for row in nulls:
        if row["case"].startswith("many/") and row["strength"].get("own") is not None:
            _, task, architecture = row["case"].split("/")
            effects.setdefault((task, row["rule"]), {})[row["source"]] = (architecture, row["strength"]["own"])
    if not effects:
        return []
    kinds = sorted({architecture for of_rule in effects.values() for architecture, _ in of_rule.values()})
    out = ["", "### How far innocent sources differ", "", "The attraction of each by itself. Standard deviations: of all, and of those of one architecture.", "",
           "| task | rule | sources | median | standard deviation | farthest from the median | "
           + " | ".join(kinds) + " |", "|---|---|---:|---:|---:|---:|" + "---:|" * len(kinds)]  # fmt: skip
    for (task, rule), of_rule in effects.items():
        values = [own for _, own in of_rule.values()]
        median = statistics.median(values)
        by_kind = [[own for architecture, own in of_rule.values() if architecture == kind] for kind in kinds]
        cells = [task, rule, len(values), f"{median:.3f}", spread(values), f"{max(abs(value - median) for value in values):.3f}", *map(spread, by_kind)]
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
