"""Golden values for src/stats from SciPy, statsmodels and scikit-learn: `python make.py > golden.json`

(scipy 1.17, statsmodels 0.15, scikit-learn 1.9). DeLong's and Obuchowski's variances are written out from the papers: no package has both.
"""
import json

import numpy as np
from scipy import special, stats
from sklearn.metrics import roc_auc_score, roc_curve
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
import pandas as pd

alphas = [0.1, 0.025, 0.005, 0.0005, 1e-5]
out = {
    "t": [[a, df, float(stats.t.isf(a, df))] for a in alphas for df in [1, 2, 4, 9, 99, 1499]],
    "t_real": [[a, df, float(stats.t.isf(a, df))] for a in alphas for df in [0.79, 1.64, 2.58, 7.5, 11.64]],
    "normal": [[a, float(stats.norm.isf(a))] for a in alphas],
    "wilson": [
        [k, n, a, *map(float, proportion_confint(k, n, alpha=2 * a, method="wilson"))]
        for a in [0.025, 0.001]
        for k, n in [(0, 20), (1, 20), (10, 20), (20, 20), (37, 400), (3, 10000)]
    ],
    "crossed": [],
}
rng = np.random.default_rng(0)
for s, c in [(2, 3), (3, 10), (5, 40)]:
    table = (rng.normal(0, 0.1, (s, 1)) + rng.normal(0, 0.5, (1, c)) + rng.normal(0.2, 0.3, (s, c))).round(3)
    frame = pd.DataFrame([(i, j, table[i, j]) for i in range(s) for j in range(c)], columns=["s", "c", "y"])
    anova = anova_lm(ols("y ~ C(s) + C(c)", frame).fit())
    ms = anova["mean_sq"]
    out["crossed"].append({"table": table.tolist(), "ms": [float(ms["C(s)"]), float(ms["C(c)"]), float(ms["Residual"])]})
def logit_interval(area, se, q):
    half = q * se / (area * (1 - area))
    return [float(special.expit(special.logit(area) - half)), float(special.expit(special.logit(area) + half))]


def placements(x, y):
    """DeLong's structural components: of each planted score against all clean ones, and the other way round."""
    psi = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
    return psi.mean(1), psi.mean(0), psi.mean()


def delong(scores, planted):
    v10, v01, area = placements(scores[planted], scores[~planted])
    return area, float(np.sqrt(v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01)))


def obuchowski(scores, planted, cluster):
    """Obuchowski 1997, sections 2 and 3."""
    v10, v01, area = placements(scores[planted], scores[~planted])
    names = np.unique(cluster)
    x = np.array([(v10[cluster[planted] == c] - area).sum() for c in names])
    y = np.array([(v01[cluster[~planted] == c] - area).sum() for c in names])
    i10, i01, m, n = len(np.unique(cluster[planted])), len(np.unique(cluster[~planted])), len(v10), len(v01)
    s10, s01 = i10 / (i10 - 1) / m * (x**2).sum(), i01 / (i01 - 1) / n * (y**2).sum()
    s11 = len(names) / (len(names) - 1) * (x * y).sum()
    return area, float(np.sqrt(s10 / m + s01 / n + 2 * s11 / (m * n))), min(i10, i01)


out["exact"] = [
    [k, n, a, *(float(b) for b in (stats.beta.ppf(a, k, n - k + 1) if k else 0, stats.beta.isf(a, k + 1, n - k) if k < n else 1))]
    for a in [0.025, 0.001]
    for k, n in [(0, 20), (1, 20), (10, 20), (20, 20), (37, 400), (3, 10000), (2.5, 12.25)]
]
for k, n, a, low, high in out["exact"]:
    if k == int(k):
        assert np.allclose((low, high), proportion_confint(int(k), int(n), alpha=2 * a, method="beta"), rtol=1e-9, atol=1e-12)

rng = np.random.default_rng(1)
values = [rng.uniform(0, 1, 12) ** p for p in (1, 3, 6)] + [np.array([0.01, 0.01, 0.04, 0.04, 0.5]), np.array([0.3])]
values = [v.round(5) for v in values]
out["multiple"] = {"values": [v.tolist() for v in values]}
for method in ["fdr_bh", "holm"]:
    out["multiple"][method] = [multipletests(v, method=method)[1].tolist() for v in values]

out["clustered"] = []
for k in (3, 12):
    trials = rng.integers(2, 15, k)
    hits = rng.binomial(trials, rng.beta(1, 2, k))
    m, r, a = trials.sum(), hits.sum() / trials.sum(), 0.025
    effect = max(1.0, k / (k - 1) * ((hits - r * trials) ** 2).sum() / m**2 / (r * (1 - r) / m))
    n = m / effect * min(1.0, (stats.t.isf(a, m - 1) / stats.t.isf(a, k - 1)) ** 2)
    bounds = stats.beta.ppf(a, r * n, n - r * n + 1), stats.beta.isf(a, r * n + 1, n - r * n)
    out["clustered"].append(
        {"tallies": np.stack([hits, trials], 1).tolist(), "want": [[float(v) for v in (r, effect, n, *bounds)]]}
    )

out["roc"] = []
for size, clusters, decimals in [(40, 8, 6), (60, 10, 1)]:
    cluster = rng.integers(0, clusters, size)
    planted = rng.uniform(0, 1, size) < 0.45
    scores = (rng.normal(0, 1, size) + 0.7 * rng.normal(0, 1, clusters)[cluster] + 1.2 * planted).round(decimals)
    area, se = delong(scores, planted)
    assert np.isclose(area, roc_auc_score(planted, scores))
    _, clustered, least = obuchowski(scores, planted, cluster)
    fpr, tpr, thresholds = roc_curve(planted, scores, drop_intermediate=False)
    rows = []
    for rate in (0.05, 0.1):
        at = np.flatnonzero(fpr <= rate)[-1]
        low, high = proportion_confint(round(tpr[at] * planted.sum()), int(planted.sum()), alpha=0.05, method="beta")
        rows.append([rate, *(float(v) for v in (thresholds[at], fpr[at], tpr[at], low, high))])
    out["roc"].append({
        "items": [[float(s), int(p), int(c)] for s, p, c in zip(scores, planted, cluster)],
        "want": [
            [float(area), se, *logit_interval(area, se, stats.norm.isf(0.025))],
            [float(area), clustered, *logit_interval(area, clustered, stats.t.isf(0.025, least - 1))],
        ],
        "curve": np.stack([fpr, tpr], 1).tolist(),
        "operating": rows,
    })

# Innocents of a registry: moderated predictive t against median and MAD, and which of many count.
def placed(value, others, prior):
    count, centre = len(others), float(np.median(others))
    mad = float(stats.median_abs_deviation(others, scale="normal")) * count / (count - 0.8)
    own, (before, sd) = 0.37 * (count - 1), ((10.0, 0.06) if prior else (0.0, 0.0))
    sd = float(np.sqrt((before * sd**2 + own * mad**2) / (before + own)))
    p = float(stats.t.sf((value - centre) / (sd * np.sqrt(1 + np.pi / 2 / count)), min(before + own, 5)))
    return {"value": value, "others": list(map(float, others)), "prior": prior, "center": centre, "sd": sd, "p": p}


registry = np.random.default_rng(24)
out["population"] = [
    placed(value, registry.normal(0.05, 0.07, count).round(4), prior)
    for count, value, prior in [(8, 0.3, True), (9, 0.3, False), (40, 0.45, True), (63, 0.1, False), (200, 0.6, False)]
]
out["benjamini_yekutieli"] = [
    {"p": p.tolist(), "q": stats.false_discovery_control(p, method="by").tolist()}
    for p in [np.array([0.001, 0.03, 0.03, 0.8]), np.array([0.2]), (registry.random(200) ** 4).round(6)]
]
print(json.dumps(out))
