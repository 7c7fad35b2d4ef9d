use rand::RngExt;

use super::super::conv;
use super::super::patches::Way;
use super::*;
use crate::stats::stream::stream;

/// Both ways of computing a convolution, on sizes around those of tiles, vectors and blocks.
#[test]
fn agrees_with_products_of_patches() {
    let way = Way { forward, backward_input, backward_weight };
    for (n, ci, co, h, w, pad) in [
        (3, 3, 16, 32, 32, [1, 1]),
        (5, 5, 7, 7, 7, [1, 1]),
        (1, 4, 4, 9, 16, [0, 0]),
        (2, 1, 1, 8, 17, [1, 0]),
        (9, 2, 3, 12, 33, [2, 2]),
        (40, 6, 2, 4, 5, [1, 1]),
        (1, 2, 2, 70, 66, [0, 2]),
        (0, 2, 2, 8, 8, [1, 1]),
    ] {
        let (oh, ow) = (h + 2 * pad[0] - 2, w + 2 * pad[1] - 2);
        let g = Geometry { n, ci, h, w, co, oh, ow, kernel: [3, 3], stride: [1, 1], pad, dilation: [1, 1], groups: 1 };
        way.agrees(&g);
    }
}

/// Transforms lose some accuracy in single precision: no more than a digit.
#[test]
#[cfg_attr(miri, ignore = "fourteen million products take Miri an hour, and it is about rounding")]
fn single_precision_stays_close_to_double() {
    let g = Geometry {
        n: 2,
        ci: 64,
        h: 14,
        w: 14,
        co: 64,
        oh: 14,
        ow: 14,
        kernel: [3, 3],
        stride: [1, 1],
        pad: [1, 1],
        dilation: [1, 1],
        groups: 1,
    };
    assert!(suits(&g));
    let mut rng = stream(1, 0, "winograd single");
    let mut draw = |size: usize| (0..size).map(|_| rng.random_range(-1.0f32..1.0)).collect::<Vec<_>>();
    let (x, weight) = (draw(g.n * g.ci * g.in_map()), draw(g.co * g.ci * TAPS));
    let double = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let exact = conv::forward(&g, &double(&x), &double(&weight), Finish::NONE);
    let worst = |got: Vec<f32>| got.iter().zip(&exact).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    let (tiles, patches) = (worst(forward(&g, &x, &weight, Finish::NONE)), worst(conv::forward(&g, &x, &weight, Finish::NONE)));
    assert!(tiles < 10.0 * patches, "{tiles} against {patches}");
}
