//! Tests: a convolution against products of patches, which `exec::tests` holds against finite differences.

use rand::RngExt;

use super::conv::{self, Finish, Geometry};
use crate::stats::stream::stream;

type Forward = fn(&Geometry, &[f64], &[f64], Finish<f64>) -> Vec<f64>;
type Gradient = fn(&Geometry, &[f64], &[f64]) -> Vec<f64>;

/// One way of computing convolutions: forward, gradients of the input and of the weight.
pub(super) struct Way {
    pub forward: Forward,
    pub backward_input: Gradient,
    pub backward_weight: Gradient,
}

impl Way {
    /// Checks all three on random numbers, the output with a bias and bounds that cut some of it off.
    ///
    /// Miri takes minutes for a hundred thousand products: what has more than a few is left to the machine.
    pub(super) fn agrees(&self, g: &Geometry) {
        const MOST_INTERPRETED: usize = 20_000;
        if cfg!(miri) && g.n * g.co * g.out_map() * (g.ci / g.groups) * g.kernel[0] * g.kernel[1] > MOST_INTERPRETED {
            return;
        }
        let mut rng = stream(1, 0, "patches");
        let mut draw = |size: usize| (0..size).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f64>>();
        let taps = g.ci / g.groups * g.kernel[0] * g.kernel[1];
        let (x, weight, bias, dout) = (draw(g.n * g.ci * g.in_map()), draw(g.co * taps), draw(g.co), draw(g.n * g.co * g.out_map()));
        let finish = Finish { bias: Some(&bias), bounds: [-0.5, 0.7] };
        let same = |name: &str, a: Vec<f64>, b: Vec<f64>| {
            assert_eq!(a.len(), b.len());
            let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-10, "{name} of {g:?}: {worst}");
        };
        same("output", (self.forward)(g, &x, &weight, finish), conv::forward(g, &x, &weight, finish));
        same("input gradient", (self.backward_input)(g, &weight, &dout), conv::backward_input(g, &weight, &dout));
        same("weight gradient", (self.backward_weight)(g, &x, &dout), conv::backward_weight(g, &x, &dout));
    }
}
