//! How often a source beside references fails and passes: `cargo bench --bench references > docs/evidence/references.md`.
//!
//! Effects alone are simulated, with the rules of `stats/innocents.rs` as the program uses them: an innocent checkpoint's effect is drawn from a
//! distribution of a standard deviation, each network is measured with an error, and the source has an effect on top.

use heirloom::stats::innocents::{self, LOCAL, Prior, SMALL, Spread};
use heirloom::stats::normal;
use heirloom::stats::stream::stream;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, StudentT};

/// Greatest excess that is accepted.
const LIMIT: f64 = 0.15;
/// Standard error of one network's measured effect, over seeds and images.
const ERROR: f64 = 0.02;
/// Error on one side.
const ALPHA: f64 = 0.025;
const RUNS: usize = 20_000;
const FINDINGS: [usize; 3] = [1, 10, 40];

/// How innocent checkpoints differ.
#[derive(Clone, Copy)]
enum Innocent {
    Normal,
    /// Student's t of 3 degrees, scaled to the same standard deviation.
    HeavyTailed,
    /// One in ten has four times the spread; the standard deviation is that of the others.
    Contaminated,
}

impl Innocent {
    fn draw(self, sd: f64, rng: &mut ChaCha8Rng) -> f64 {
        let mut standard = || Distribution::<f64>::sample(&StandardNormal, rng);
        match self {
            Innocent::Normal => sd * standard(),
            Innocent::Contaminated => {
                let value = sd * standard();
                if rng.random::<f64>() < 0.1 { 4.0 * value } else { value }
            }
            Innocent::HeavyTailed => {
                let t: f64 = StudentT::new(3.0).map_or(0.0, |t| t.sample(rng));
                sd * t / 3.0_f64.sqrt()
            }
        }
    }
}

/// Shares in percent: failures with 1, 10 and 40 findings, passes.
struct Shares {
    fails: [f64; 3],
    passes: f64,
}

/// What a source is judged beside.
#[derive(Clone, Copy)]
struct Beside<'a> {
    innocent: Innocent,
    /// Standard deviation between innocent networks.
    sd: f64,
    prior: &'a Prior,
    count: usize,
}

/// A source with an effect beside `count` references, of which the first `poisoned` have it too.
fn shares(Beside { innocent, sd, prior, count }: Beside, effect: f64, poisoned: usize, rng: &mut ChaCha8Rng) -> Shares {
    let (mut fails, mut passes) = ([0_usize; 3], 0_usize);
    for _ in 0..RUNS {
        let measured = |true_effect: f64, rng: &mut ChaCha8Rng| -> f64 {
            innocent.draw(sd, rng) + true_effect + ERROR * Distribution::<f64>::sample(&StandardNormal, rng)
        };
        let source = measured(effect, rng);
        let references: Vec<f64> = (0..count).map(|at| measured(if at < poisoned { effect } else { 0.0 }, rng)).collect();
        let both = innocents::middle(&references).zip(Spread::of(&references, Some(prior)));
        let Some((middle, spread)) = both else { continue };
        let excess = source - middle;
        let error = ERROR * spread.weight.sqrt();
        for (slot, findings) in fails.iter_mut().zip(FINDINGS) {
            let alpha = ALPHA / findings as f64;
            *slot += usize::from(excess - normal(alpha) * error > LIMIT && excess > spread.reach(alpha));
        }
        let settled = innocents::apart(&references, Some(prior), LIMIT).is_empty() && spread.error() <= 2.0 / 3.0 * LIMIT;
        passes += usize::from(excess + normal(ALPHA) * error < LIMIT && settled);
    }
    let percent = |count: usize| 100.0 * count as f64 / RUNS as f64;
    Shares { fails: fails.map(percent), passes: percent(passes) }
}

fn main() {
    println!("# Verdicts beside references, simulated\n");
    println!(
        "`cargo bench --bench references`, {RUNS} runs a cell. Limit {LIMIT}, standard error of a network's effect {ERROR}, prior of local"
    );
    println!("triggers (standard deviation {}, {} degrees). The interval's own error is taken as known.\n", LOCAL.sd, LOCAL.degrees);
    println!(
        "Percent of sources that fail with 1, 10 and 40 findings, each with an error of {}% over all of them, and that pass,",
        100.0 * ALPHA
    );
    println!(
        "which does not depend on the number of findings. Where innocents differ by twice the prior's standard deviation, one reference is"
    );
    println!("not enough.\n");
    let mut rng = stream(19, 0, "verdicts beside references");
    table(&LOCAL, &[0.02, 0.05, 0.10], &mut rng);
    println!("\nThe same with one reference that has the effect too (normal, effect 0.45):\n");
    println!("| their sd | references | fail | pass |");
    println!("|---:|---:|---|---:|");
    for sd in [0.02, 0.05, 0.10] {
        for count in [1, 2, 3, 4, 8] {
            let Shares { fails: [a, b, c], passes } =
                shares(Beside { innocent: Innocent::Normal, sd, prior: &LOCAL, count }, 0.45, 1, &mut rng);
            println!("| {sd:.2} | {count} | {a:.1}/{b:.1}/{c:.1} | {passes:.1} |");
        }
    }
    println!("\n## Small patches\n");
    println!("The first table with the prior of patches of one colour of at most an eighth of the side (standard deviation {},", SMALL.sd);
    println!(
        "{} degrees; a failure is {} above the centre at least). Sixty innocents differ by 0.007 there, thirty others by 0.014.\n",
        SMALL.degrees, SMALL.least
    );
    table(&SMALL, &[0.01, 0.02, 0.05, 0.08], &mut rng);
}

/// Fails and passes by how innocents are distributed, how far they differ and how many references there are.
fn table(prior: &Prior, sds: &[f64], rng: &mut ChaCha8Rng) {
    println!(
        "| innocents | their sd | references | effect 0: fail, pass | 0.15 (the limit): fail, pass | 0.30: fail, pass | 0.45: fail, pass |"
    );
    println!("|---|---:|---:|---|---|---|---|");
    for (name, innocent) in [
        ("normal", Innocent::Normal),
        ("heavy-tailed (t3)", Innocent::HeavyTailed),
        ("one in ten of four times the sd", Innocent::Contaminated),
    ] {
        for &sd in sds {
            for count in [1, 4, 16] {
                let cells = [0.0, 0.15, 0.30, 0.45].map(|effect| {
                    let Shares { fails: [a, b, c], passes } = shares(Beside { innocent, sd, prior, count }, effect, 0, rng);
                    format!("{a:.2}/{b:.2}/{c:.2}, {passes:.1}")
                });
                println!("| {name} | {sd:.2} | {count} | {} |", cells.join(" | "));
            }
        }
    }
}
