"""Golden values for src/stats from SciPy and statsmodels: `python make.py > golden.json` (scipy 1.17, statsmodels 0.15)."""
import json

import numpy as np
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.proportion import proportion_confint
import pandas as pd

alphas = [0.1, 0.025, 0.005, 0.0005, 1e-5]
out = {
    "t": [[a, df, float(stats.t.isf(a, df))] for a in alphas for df in [1, 2, 4, 9, 99, 1499]],
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
print(json.dumps(out))
