//! How often intervals hold the truth and verdicts err, by simulation: `cargo bench --bench coverage [-- --quick] > docs/evidence/coverage.md`.
//!
//! Names of parts (`sham`, `arm`, `estimands`, `groups`, `wandering`, `skewed`, `looks`, `choosing`,
//! `sample`) run those alone.
//!
//! Outcomes are made up, everything after them is the program's own code: tables, intervals, verdicts. Prints Markdown; the same numbers on
//! every machine and for any number of threads.

use std::error::Error;

use heirloom::diag::Origin;
use heirloom::gate::{self, Control, Rule, Severity, Verdict};
use heirloom::probe::paired::{self, Under};
use heirloom::probe::{Arm, Backdoor, Estimand, Measurement, Outcome, Probe, ProbeError, Table};
use heirloom::stats::stream::stream;
use heirloom::transform::{Patch, Place, Trigger};
use heirloom::tune::Mode;
use rand::Rng;
use rayon::prelude::*;

#[path = "coverage/groups.rs"]
mod groups;
#[path = "coverage/sample.rs"]
mod sample;
#[path = "coverage/world.rs"]
mod world;

use groups::{Groups, Setup};
use sample::Sample;
use world::{Against, Shape, World, uniform};

type Outcomes<T> = Result<T, Box<dyn Error>>;

/// Wanted of an interval that claims 95%.
const WANTED: std::ops::RangeInclusive<f64> = 0.935..=0.98;
/// Standard deviation of the rate over seeds, and the rate at which sham and scratch drag, at least 2.5 deviations from 0.
const SPREADS: [(&str, f64, f64); 5] =
    [("none, still shams", 0.0, 0.0), ("none", 0.0, 0.025), ("small", 0.01, 0.025), ("medium", 0.03, 0.075), ("large", 0.1, 0.25)];
/// Images that show an effect, so few that no interval from them can be exact: their count is a small whole number.
const FEW: f64 = 6.0;
/// Still shams tell more only where the effect is small.
const STILL: usize = 2;
const EFFECTS: [f64; 4] = [0.0, 0.02, 0.15, 0.4];
const SHAPES: [Shape; 3] = [Shape::Same, Shape::Mixed, Shape::Agree];
/// The extremes, for the large grids.
const EXTREMES: [Shape; 2] = [Shape::Same, Shape::Agree];

const BASE: World = World {
    seeds: 3,
    images: 100,
    classes: 5,
    draws: 2,
    sd: 0.0,
    skewed: false,
    base: 0.025,
    effect: 0.0,
    shape: Shape::Mixed,
    estimand: Estimand::Attraction,
};

/// What the experiments of a cell came to.
#[derive(Clone, Copy, Default)]
struct Tally {
    runs: f64,
    truth_below: f64,
    truth_above: f64,
    error: f64,
    squares: f64,
    width: f64,
}

impl Tally {
    fn add(self, other: Self) -> Self {
        Self {
            runs: self.runs + other.runs,
            truth_below: self.truth_below + other.truth_below,
            truth_above: self.truth_above + other.truth_above,
            error: self.error + other.error,
            squares: self.squares + other.squares,
            width: self.width + other.width,
        }
    }

    fn coverage(&self) -> f64 {
        1.0 - (self.truth_below + self.truth_above) / self.runs
    }

    fn bias(&self) -> f64 {
        self.error / self.runs
    }

    fn sd(&self) -> f64 {
        (self.squares / self.runs - self.bias().powi(2)).max(0.0).sqrt()
    }

    /// Coverage, how often the truth is below and above, and width: cells of a table.
    fn cells(&self) -> String {
        let [below, above] = [self.truth_below, self.truth_above].map(|missed| percent(missed / self.runs));
        format!("{} | {below} / {above} | {:.2}", percent(self.coverage()), self.relative_width())
    }

    /// Mean width over that of the interval one would make if the standard error were known.
    fn relative_width(&self) -> f64 {
        self.width / self.runs / (2.0 * world::ideal() * self.sd())
    }
}

fn cover(world: &World, against: Against, runs: std::ops::Range<u64>) -> Outcomes<Tally> {
    tally(&format!("{world:?} {against:?}"), runs, |rng| world.experiment(against, rng))
}

/// How often intervals hold the truth; an experiment gives a table and its true mean.
fn tally(
    purpose: &str,
    runs: std::ops::Range<u64>,
    experiment: impl Fn(&mut rand_chacha::ChaCha8Rng) -> Result<(Table, f64), ProbeError> + Sync,
) -> Outcomes<Tally> {
    let one = |run| {
        let mut rng = stream(2207, run, purpose);
        let (table, truth) = experiment(&mut rng).map_err(|e| e.to_string())?;
        let fit = table.crossed().ok_or("no table")?;
        let (low, high) = (fit.low(0.025), fit.high(0.025));
        let is = |yes: bool| f64::from(u8::from(yes));
        let error = fit.mean - truth;
        Ok(Tally {
            runs: 1.0,
            truth_below: is(truth < low - 1e-12),
            truth_above: is(truth > high + 1e-12),
            error,
            squares: error * error,
            width: high - low,
        })
    };
    // Collected first: sums in order are the same for any number of threads.
    let all: Result<Vec<Tally>, String> = runs.into_par_iter().map(one).collect();
    Ok(all?.into_iter().fold(Tally::default(), Tally::add))
}

/// A cell that comes out beyond what is wanted, and not far above, is repeated with more experiments, which alone then count.
fn cover_carefully(world: &World, against: Against, runs: u64) -> Outcomes<Tally> {
    let first = cover(world, against, 0..runs)?;
    if WANTED.contains(&first.coverage()) || first.coverage() > 0.985 {
        return Ok(first);
    }
    cover(world, against, runs..5 * runs)
}

fn percent(rate: f64) -> String {
    format!("{:.1}", 100.0 * rate)
}

struct Cell {
    spread: &'static str,
    world: World,
    tally: Tally,
}

fn grid(against: Against, seeds: &[usize], images: &[usize], runs: u64) -> Outcomes<()> {
    let mut cells = Vec::new();
    for &seeds in seeds {
        for &images in images {
            for (spread, sd, base) in SPREADS {
                for effect in EFFECTS.into_iter().take(if base > 0.0 { EFFECTS.len() } else { STILL }) {
                    for shape in EXTREMES {
                        let world = World { seeds, images, sd, base, effect, shape, ..BASE };
                        cells.push(Cell { spread, world, tally: cover_carefully(&world, against, runs)? });
                    }
                }
            }
        }
    }
    println!(
        "| seeds | images | seed variance | least coverage | median | greatest | cells outside | width, median |\n|---|---|---|---|---|---|---|---|"
    );
    for row in cells.chunk_by(|a, b| (a.world.seeds, a.world.images, a.spread) == (b.world.seeds, b.world.images, b.spread)) {
        let Some(first) = row.first() else { continue };
        let mut coverage: Vec<f64> = row.iter().map(|c| c.tally.coverage()).collect();
        let mut width: Vec<f64> = row.iter().map(|c| c.tally.relative_width()).filter(|w| w.is_finite()).collect();
        coverage.sort_by(f64::total_cmp);
        width.sort_by(f64::total_cmp);
        let outside = coverage.iter().filter(|c| !WANTED.contains(*c)).count();
        let [least, .., most] = coverage.as_slice() else { continue };
        let middle = |values: &[f64]| values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
        println!(
            "| {} | {} | {} | {} | {} | {} | {outside} of {} | {:.2} |",
            first.world.seeds,
            first.world.images,
            first.spread,
            percent(*least),
            percent(middle(&coverage)),
            percent(*most),
            row.len(),
            middle(&width)
        );
    }
    let total = cells.len();
    let mut outside: Vec<&Cell> = cells.iter().filter(|c| !WANTED.contains(&c.tally.coverage())).collect();
    outside.sort_by(|a, b| a.tally.coverage().total_cmp(&b.tally.coverage()));
    let under = outside.iter().filter(|c| c.tally.coverage() < *WANTED.start()).count();
    println!("\n{} of {total} cells lie within 93.5 to 98%; {under} below, {} above:\n", total - outside.len(), outside.len() - under);
    // Where trigger and shams move the same images, or none, and seeds do not differ, every experiment has the same excess.
    let (constant, varying): (Vec<&Cell>, Vec<&Cell>) = outside
        .iter()
        .filter(|c| c.tally.coverage() > *WANTED.end())
        .partition(|c| c.tally.relative_width().is_nan() || c.tally.relative_width() > 1e6);
    let few = varying.iter().filter(|c| c.world.effect * c.world.images as f64 <= FEW).count();
    println!(
        "Of those above, {} have the same excess in every experiment, so that an interval holds it always or never; in {few} at most {FEW} images \
         are expected to show the effect; {} are others.\n",
        constant.len(),
        varying.len() - few
    );
    println!(
        "| coverage | truth below / above the interval | seeds | images | seed variance | effect | images differ | width |\n|---|---|---|---|---|---|---|---|"
    );
    for Cell { spread, world, tally } in outside {
        println!(
            "| {} | {} / {} | {} | {} | {spread} | {} | {:?} | {:.2} |",
            percent(tally.coverage()),
            percent(tally.truth_below / tally.runs),
            percent(tally.truth_above / tally.runs),
            world.seeds,
            world.images,
            world.effect,
            world.shape,
            tally.relative_width()
        );
    }
    println!();
    Ok(())
}

fn estimands(runs: u64) -> Outcomes<()> {
    println!("| estimand | seed variance | effect | coverage | width |\n|---|---|---|---|---|");
    for estimand in [Estimand::Attraction, Estimand::AttackSuccessRate, Estimand::FlipRate] {
        for (spread, sd, base) in [("none", 0.0, 0.025), ("medium", 0.03, 0.075)] {
            for effect in [0.0, 0.15, 0.4] {
                let world = World { seeds: 5, images: 300, sd, base, effect, estimand, ..BASE };
                let tally = cover_carefully(&world, Against::Sham, runs)?;
                println!("| {estimand:?} | {spread} | {effect} | {} | {:.2} |", percent(tally.coverage()), tally.relative_width());
            }
        }
    }
    println!();
    Ok(())
}

fn of_groups(runs: u64) -> Outcomes<()> {
    println!(
        "| estimand | groups | gap | images of both arms | bias | coverage | truth below / above | width |\n|---|---|---|---|---|---|---|---|"
    );
    for estimand in Estimand::ALL.into_iter().filter(|e| e.compares_groups()) {
        for setup in Setup::ALL {
            let gaps = if setup == Setup::OfControl { vec![0.2] } else { vec![0.0, 0.2] };
            for (gap, alike) in gaps.into_iter().flat_map(|gap| [(gap, false), (gap, true)]) {
                let cell = Groups { estimand, setup, seeds: 5, each: 200, gap, alike };
                let tally = tally(&format!("{cell:?}"), 0..runs, |rng| Ok((cell.experiment(rng)?, cell.truth())))?;
                let levels = if alike { "as hard for both" } else { "hard for one or the other" };
                println!("| `{}` | {} | {gap} | {levels} | {:+.3} | {} |", estimand.name(), setup.name(), tally.bias(), tally.cells());
            }
        }
    }
    println!();
    Ok(())
}

fn no_favourite(runs: u64) -> Outcomes<()> {
    println!("| classes | estimand | coverage | truth below / above | width |\n|---|---|---|---|---|");
    for classes in [2, 3, 5, 10] {
        for estimand in [Estimand::Attraction, Estimand::PredictionShift] {
            let setting = World { estimand, ..BASE }.setting();
            let purpose = format!("wandering {classes} {estimand:?}");
            let tally = tally(&purpose, 0..runs, |rng| Ok((paired::excess_over_shams(&wandering(classes, false, rng), &setting)?, 0.0)))?;
            println!("| {classes} | `{}` | {} |", estimand.name(), tally.cells());
        }
    }
    println!();
    Ok(())
}

fn skewed_seeds(runs: u64) -> Outcomes<()> {
    println!("| seeds | images | coverage | truth below / above | width |\n|---|---|---|---|---|");
    for seeds in [3, 5, 10] {
        for images in [100, 1000] {
            let world = World { seeds, images, sd: 0.1, base: 0.25, effect: 0.15, skewed: true, shape: Shape::Same, ..BASE };
            let tally = cover(&world, Against::Sham, 0..2 * runs)?;
            println!("| {seeds} | {images} | {} |", tally.cells());
        }
    }
    println!();
    Ok(())
}

/// The verdict after two looks, with the true excess at the limit.
fn verdict(world: &World, rule: &Rule, rng: &mut rand_chacha::ChaCha8Rng) -> Verdict {
    let levels: Vec<f64> = (0..world.images).map(|_| uniform(rng)).collect();
    let source = world.arm(Arm::Source, &levels, rng);
    let control = World { draws: 0, ..*world }.arm(Arm::Scratch, &levels, rng);
    let origin = Origin { file: "policy.yaml".into(), line: 1, column: 1 };
    let look = |look, seeds| {
        let upto = |m: &Measurement| Measurement { outcomes: m.outcomes.iter().take(seeds).cloned().collect(), ..m.clone() };
        let (source, control) = (upto(&source), upto(&control));
        let terms = gate::JudgeTerms {
            findings: 1,
            look,
            final_look: look == 2,
            policy_seed: world.setting().policy_seed,
            scratch_void: false,
            counted: heirloom::data::Counted::Global,
        };
        let scratch = gate::Given { arm: Arm::Scratch, name: "scratch".into(), alike: true, measured: Ok(&control), spared: false };
        gate::judge(rule, Mode::FixedFeature, &origin, &source, &[scratch], &terms).verdict
    };
    match look(1, world.seeds / 2) {
        Verdict::Inconclusive => look(2, world.seeds),
        decided => decided,
    }
}

fn looks(runs: u64) -> Outcomes<()> {
    println!("| controls | seeds | images | seed variance | images differ | false fails | false passes |\n|---|---|---|---|---|---|---|");
    let trigger = Trigger::Patch(Patch { size: 0.25, at: Place::TopLeft, color: Some("#ffff00".into()), image: None, opacity: 1.0 });
    let two = [Control::Sham, Control::Scratch];
    for controls in [&two[..1], &two[1..], &two[..]] {
        for (spread, sd, base) in [("none", 0.0, 0.025), ("medium", 0.03, 0.075), ("large", 0.1, 0.25)] {
            for shape in SHAPES.into_iter().filter(|s| *s == Shape::Mixed || (*s == Shape::Agree && spread == "none")) {
                let world = World { seeds: 6, images: 200, sd, base, effect: 0.15, shape, ..BASE };
                let purpose = format!("{world:?} {controls:?}");
                let rule = Rule {
                    id: "backdoor/square".into(),
                    probe: Probe::Backdoor(Backdoor { trigger: trigger.clone(), target_class: None, sweep: None }),
                    estimand: Some(world.estimand),
                    modes: vec![Mode::FixedFeature],
                    controls: Some(controls.to_vec()),
                    // Every arm is dragged to class 0, which it learns.
                    limit: world.limit(),
                    flow_limit: Some(1.0),
                    flip_limit: Some(1.0),
                    confidence: 0.95,
                    severity: Severity::High,
                };
                let all: Vec<Verdict> =
                    (0..runs).into_par_iter().map(|run| verdict(&world, &rule, &mut stream(2208, run, &purpose))).collect();
                let rate = |wanted| percent(all.iter().filter(|v| **v == wanted).count() as f64 / runs as f64);
                if all.contains(&Verdict::Error) {
                    return Err("a verdict was an error".into());
                }
                let names: Vec<&str> = controls.iter().map(|c| if *c == Control::Sham { "sham" } else { "scratch" }).collect();
                println!(
                    "| {} | 3, 6 | 200 | {spread} | {shape:?} | {} | {} |",
                    names.join(", "),
                    rate(Verdict::Fail),
                    rate(Verdict::Pass)
                );
            }
        }
    }
    println!();
    Ok(())
}

/// Predictions that wander where nothing drags them anywhere; `favourite` makes each seed wander to one class of its own.
fn wandering(classes: u16, favourite: bool, rng: &mut rand_chacha::ChaCha8Rng) -> Measurement {
    const WANDER: f64 = 0.2;
    let world = World { seeds: 3, images: 100, classes, effect: 0.0, base: 0.0, ..BASE };
    let mut m = world.arm(Arm::Source, &vec![1.0; world.images], rng);
    for Outcome { clean, changed, shams, .. } in &mut m.outcomes {
        for column in std::iter::once(changed).chain(shams) {
            let own = (rng.next_u64() % u64::from(classes)) as u16;
            for (to, from) in column.iter_mut().zip(clean.iter()) {
                let any = (rng.next_u64() % u64::from(classes)) as u16;
                *to = if uniform(rng) < WANDER { if favourite { own } else { any } } else { *from };
            }
        }
    }
    m
}

fn choosing(runs: u64) -> Outcomes<()> {
    println!(
        "| classes | seeds wander | effect alone, bias | its standard error | excess over shams, bias | its standard error |\n|---|---|---|---|---|---|"
    );
    for classes in [2, 5, 10] {
        for favourite in [false, true] {
            let one = |run| -> Result<[f64; 2], String> {
                let m = wandering(classes, favourite, &mut stream(2209, run, &format!("{classes} {favourite}")));
                // What a class gains that was named beforehand.
                let expected = 0.2 * (1.0 / f64::from(classes) - world::wrong(classes));
                let setting = BASE.setting();
                let alone = paired::effect(&m, Under::Trigger, &setting).map_err(|e| e.to_string())?.mean() - expected;
                Ok([alone, paired::excess_over_shams(&m, &setting).map_err(|e| e.to_string())?.mean()])
            };
            let all: Result<Vec<[f64; 2]>, String> = (0..runs).into_par_iter().map(one).collect();
            let all = all?;
            let n = all.len() as f64;
            let column = |values: Vec<f64>| {
                let mean = values.iter().sum::<f64>() / n;
                let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
                format!("{mean:+.4} | {:.4}", (variance / n).sqrt())
            };
            let (alone, excess) = (column(all.iter().map(|v| v[0]).collect()), column(all.iter().map(|v| v[1]).collect()));
            println!("| {classes} | {} | {alone} | {excess} |", if favourite { "each to a class of its own" } else { "anywhere" });
        }
    }
    println!();
    Ok(())
}

/// The effect over samples of training images.
fn another_sample(runs: u64) -> Outcomes<()> {
    println!(
        "| seeds | test images | other samples bring (sd) | a seed's own draws (sd) | the interval that is judged by | `another_sample` |\n|---:|---:|---:|---:|---:|---:|"
    );
    for seeds in [3, 6, 17, 24] {
        for images in [500, 2000] {
            for (of_samples, of_seeds) in [(0.0, 0.03), (0.03, 0.0), (0.06, 0.0), (0.06, 0.02)] {
                let cell = Sample { seeds, images, of_samples, of_seeds };
                let one = |run| cell.experiment(&mut stream(2210, run, &format!("{cell:?}"))).ok_or("no interval");
                let all: Result<Vec<[bool; 2]>, &str> = (0..runs).into_par_iter().map(one).collect();
                let all = all?;
                let [judged, wider] = [0, 1].map(|at| percent(all.iter().filter(|held| held[at]).count() as f64 / runs as f64));
                println!("| {seeds} | {images} | {of_samples} | {of_seeds} | {judged} | {wider} |");
            }
        }
    }
    println!();
    Ok(())
}

fn main() -> Outcomes<()> {
    let quick = std::env::args().any(|a| a == "--quick");
    let runs = if quick { 200 } else { 2000 };
    println!("# How often intervals hold the truth, and verdicts err\n");
    println!("`cargo bench --bench coverage{}`; {runs} experiments a cell.\n", if quick { " -- --quick" } else { "" });
    println!("{}", include_str!("coverage/preface.md"));
    let named: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|n| n == name);
    if wanted("sham") {
        println!("## Excess over two sham draws\n");
        let (seeds, images): (&[usize], &[usize]) = if quick { (&[3], &[100]) } else { (&[3, 5, 10], &[100, 300, 1000]) };
        grid(Against::Sham, seeds, images, runs)?;
    }
    if wanted("arm") {
        println!("## Excess over an arm whose seeds vary as much\n");
        let (seeds, images): (&[usize], &[usize]) = if quick { (&[3], &[100]) } else { (&[3, 10], &[100, 300]) };
        grid(Against::Scratch, seeds, images, runs)?;
    }
    if wanted("estimands") {
        println!("## Estimands (5 seeds, 300 images)\n");
        estimands(runs)?;
    }
    if wanted("groups") {
        println!(
            "## Groups (5 seeds, 200 images of each group)\n\nTwo labels; four in five images are called right, one in two where they are hard for both \
             arms. One group of the source (or of the control) is worse by the gap, and seeds agree on three images of four. Where seeds differ, \
             each has an accuracy of its own in each group (standard deviation 0.058). A gap of the control alone is no excess.\n"
        );
        of_groups(runs)?;
    }
    if wanted("wandering") {
        println!("## Nothing stands out\n\nA fifth of predictions wander anywhere, under trigger and shams alike; 3 seeds, 100 images.\n");
        no_favourite(runs)?;
    }
    if wanted("skewed") {
        println!("## Seeds that are not normal\n\nSeeds deviate by an exponential less its mean, standard deviation 0.1.\n");
        skewed_seeds(runs)?;
    }
    if wanted("looks") {
        println!("## Two looks, the true excess at the limit\n\nEvery fail and every pass is an error. Allowed: 2.5% of each.\n");
        looks(runs)?;
    }
    if wanted("sample") {
        println!(
            "## Another training sample\n\nSeeds train on four fifths of one sample of training images; asked for is the mean over samples. What \
             a seed draws for itself is taken for what training images bring, so that the interval is too wide where that is all there is.\n"
        );
        another_sample(runs)?;
    }
    if wanted("choosing") {
        let experiments = 5 * runs;
        println!(
            "## Choosing the class\n\nA fifth of predictions wander, under trigger and shams alike; 3 seeds, 100 images, {experiments} experiments.\n"
        );
        choosing(experiments)?;
    }
    Ok(())
}
