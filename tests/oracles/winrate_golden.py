"""Win-rate statistics by statsmodels and scipy, for tests/lab/winrate_test.ts.

pip install numpy scipy statsmodels
python tests/oracles/winrate_golden.py > tests/oracles/winrate_golden.json && deno fmt tests/oracles/winrate_golden.json
"""

import json

import numpy as np
import scipy
import statsmodels
import statsmodels.api as sm
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

draw = np.random.default_rng(2009)
golden = {"made_with": f"numpy {np.__version__}, scipy {scipy.__version__}, statsmodels {statsmodels.__version__}"}

golden["wilson"] = [
    [k, n, *map(float, proportion_confint(k, n, alpha=0.05, method="wilson"))]
    for k, n in [(0, 10), (10, 10), (1, 3), (320, 512), (4191, 6447), (7.5, 20)]
]

# Two policies, one longer than the reference and favoured for it; some outcomes are halves.
sizes = (150, 90)
ratios = np.round(np.concatenate([draw.normal(0.3, 0.35, sizes[0]), draw.normal(-0.05, 0.25, sizes[1])]), 4)
policy = np.repeat([0, 1], sizes)
log_odds = np.where(policy == 0, 0.2, -0.6) + 1.4 * ratios
outcomes = (draw.random(len(ratios)) < 1 / (1 + np.exp(-log_odds))).astype(float)
outcomes[draw.random(len(ratios)) < 0.15] = 0.5
rows = np.column_stack([policy == 0, policy == 1, ratios]).astype(float)
fit = sm.GLM(outcomes, rows, family=sm.families.Binomial()).fit(tol=1e-14)
ridge = 0.5


def penalised(b):
    s = rows @ b
    return np.sum(np.logaddexp(0, s) - outcomes * s) + 0.5 * ridge * b @ b


def gradient(b):
    return rows.T @ (1 / (1 + np.exp(-rows @ b)) - outcomes) + ridge * b


ridged = optimize.root(gradient, np.zeros(3), tol=1e-14).x
assert penalised(ridged) <= penalised(fit.params)
bands = 1 / (1 + np.exp(-(fit.params[:2, None] + stats.norm.ppf([0.025, 0.975]) * fit.bse[:2, None])))
golden["logistic"] = {
    "policy": policy.tolist(),
    "ratios": ratios.tolist(),
    "outcomes": outcomes.tolist(),
    "coefficients": fit.params.tolist(),
    "errors": fit.bse.tolist(),
    "bands": bands.tolist(),
    "ridge": ridge,
    "ridged": ridged.tolist(),
}

edges = np.linspace(ratios.min(), ratios.max(), 10)
which = np.minimum(np.digitize(ratios, edges) - 1, 8)
golden["bins"] = {
    "edges": edges.tolist(),
    "count": [int((which == i).sum()) for i in range(9)],
    "rate": [float(outcomes[which == i].mean()) if (which == i).any() else None for i in range(9)],
}

a = np.round(draw.normal(0.4, 1, 60), 3)
b = np.round(a - draw.normal(0.3, 0.8, 60), 3)
boot = stats.bootstrap((a - b,), np.mean, n_resamples=200_000, method="percentile", random_state=1)
golden["bootstrap"] = {
    "a": a.tolist(),
    "b": b.tolist(),
    "difference": float(np.mean(a - b)),
    "interval": [float(boot.confidence_interval.low), float(boot.confidence_interval.high)],
    "standard_error": float(boot.standard_error),
}
print(json.dumps(golden))
